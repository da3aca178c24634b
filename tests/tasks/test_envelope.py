"""What an envelope is made of."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from kombu.serialization import dumps

from redis_optimizer.tasks.envelope import (
    NAME,
    SUFFIX,
    SUFFIXES,
    batch_queue,
    envelope_message,
    pack,
    plain_queue,
    read,
    unpack,
)
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.packed import VERSION


@pytest.fixture(scope="module")
def app() -> Celery:
    return Celery("envelopes", set_as_current=False)


def make(app: Celery, number: int, **options: Any) -> Message:
    made = app.amqp.as_task_v2(f"job-{number:036}", "site.task", (number,), {}, **options)
    content_type, content_encoding, body = dumps(made.body, "json")
    return Message(
        id=made.headers["id"],
        task="site.task",
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        headers=made.headers,
        properties=made.properties | {"delivery_mode": 2},
        exchange="",
        routing_key="mail",
        priority=3,
    )


def travel(packed: Any) -> Any:
    return json.loads(json.dumps(packed))


def test_jobs_come_out_as_they_went_in(app: Celery) -> None:
    jobs = [
        make(app, 1),
        make(app, 2, expires="2030-01-01T00:00:00+00:00", root_id="another"),
        replace(make(app, 3), task="site.other", routing_key="post", priority=0),
        replace(make(app, 4), body=b"\x80\x04", content_encoding="binary"),
        replace(make(app, 5), id="job", headers={"id": "job", "own": [1, None]}),
    ]
    assert unpack(travel(pack(jobs))) == jobs


def test_values_that_are_equal_but_not_the_same_are_kept_apart(app: Celery) -> None:
    values = [1, True, 1.0, [1], [True], {"a": 1}, {"a": 1.0}, "", None, 0, False]
    jobs = [
        replace(make(app, n), id=str(n), headers={"id": str(n), "own": value})
        for n, value in enumerate(values)
    ]
    out = unpack(travel(pack(jobs)))
    assert [repr(job.headers["own"]) for job in out] == list(map(repr, values))


def test_what_jobs_have_in_common_is_written_once(app: Celery) -> None:
    jobs = [make(app, n, argsrepr="(1,)") for n in range(100)]
    packed = json.dumps(pack(jobs))
    assert packed.count("site.task") == 2  # as a field and as a header
    assert packed.count('"argsrepr"') == 1
    assert packed.count(jobs[7].id) == 1  # of id, root_id and correlation_id
    assert len(packed) < 100 * (len(jobs[0].body) + len(jobs[0].id) + 50)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: None,
        lambda packed: [],
        lambda packed: "text",
        lambda packed: packed | {"version": 2},
        lambda packed: packed | {"jobs": []},
        lambda packed: packed | {"jobs": None},
        lambda packed: packed | {"jobs": [1]},
        lambda packed: packed | {"jobs": [["id", "body"]]},
        lambda packed: packed | {"jobs": [["id", "body", {}, {}, {}, {}]]},
        lambda packed: packed | {"jobs": [[7, "body", {}, {}, {}]]},
        lambda packed: packed | {"jobs": [["id", 7, {}, {}, {}]]},
        lambda packed: packed | {"jobs": [["id", {"base64": "%"}, {}, {}, {}]]},
        lambda packed: packed | {"jobs": [["id", "body", {"priority": "0"}, {}, {}]]},
        lambda packed: packed | {"jobs": [["id", "body", [], None, {}]]},
        lambda packed: packed | {"jobs": [["id", "body", {}, {"id": "another"}, {}]]},
        lambda packed: packed | {"common": []},
        lambda packed: packed | {"common": [[{}, []], [{}, []], [{}, []]]},
        lambda packed: packed | {"common": [[{}, 7], [{}, []], [{}, []]]},
        lambda packed: {"version": 1},
    ],
)
def test_what_is_malformed_is_a_value_error(app: Celery, damage: Callable[[Any], Any]) -> None:
    packed = travel(pack([make(app, 1), make(app, 2)]))
    with pytest.raises(ValueError):  # noqa: PT011  # the texts differ, as the damages do
        unpack(damage(packed))


def test_its_message_is_an_ordinary_one_for_the_queue_beside(app: Celery) -> None:
    jobs = [make(app, n) for n in range(3)]
    message = envelope_message(app, jobs)
    assert (message.task, message.headers["task"]) == (NAME, NAME)
    assert message.id == message.headers["id"] == message.properties["correlation_id"]
    assert (message.exchange, message.routing_key, message.priority) == ("", "mail.batches", 3)
    assert message.headers["ignore_result"] is True
    assert message.headers["argsrepr"] == "(3 x site.task)"
    assert message.properties["delivery_mode"] == 2
    assert list(read(message.body, message.content_type, message.content_encoding)) == jobs


@pytest.mark.parametrize(
    ("body", "kind"), [("{", "application/json"), ("[[]]", "application/json"), ("", "text/odd")]
)
def test_a_body_that_is_no_envelope_is_a_value_error(body: str, kind: str) -> None:
    with pytest.raises(ValueError, match="cannot be decoded"):
        read(body, kind, "utf-8")


def test_it_is_never_unpickled() -> None:
    kind, encoding, body = dumps(([{}], {}, {}), "pickle")
    with pytest.raises(ValueError, match="cannot be decoded"):
        read(body, kind, encoding)


def test_queues_of_envelopes_are_told_from_others() -> None:
    assert plain_queue(batch_queue("mail")) == "mail"
    assert plain_queue("mail") is None


def test_each_version_of_the_format_has_queues_of_its_own() -> None:
    assert SUFFIXES[VERSION] == SUFFIX
    assert len(set(SUFFIXES.values())) == len(SUFFIXES) == VERSION
