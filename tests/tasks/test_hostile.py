"""Whatever is queued or kept on the broker's server: it is understood, or left, or told of."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery, states
from celery.app.task import Context
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kombu.exceptions import OperationalError
from kombu.transport.virtual import Message as Received
from kombu.utils.json import dumps

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks import OptimizedTask, announce, progress
from redis_optimizer.tasks.divide import divide
from redis_optimizer.tasks.envelope import LEAST_BOUND, batch_queue, envelope_message, read
from redis_optimizer.tasks.explode import explode
from redis_optimizer.tasks.headers import is_sound
from redis_optimizer.tasks.heartbeat import hear
from redis_optimizer.tasks.kombu.producers import broker_client
from redis_optimizer.tasks.kombu.sending import send
from redis_optimizer.tasks.lists import Lists
from redis_optimizer.tasks.packed import Jobs, NewerVersion, named, pack
from redis_optimizer.tasks.progress import Bits
from redis_optimizer.tasks.queued import count_queued, count_unacked
from redis_optimizer.tasks.results import RedisBackend
from tests.anything import ANY_JSON, near
from tests.tasks.site.enveloped import make_job

pure = Celery("pure", set_as_current=False)
JOBS = [make_job(pure, "site.task", n, headers={"own": n}) for n in range(3)]
PACKED = json.loads(json.dumps(pack(JOBS)))
CHANNEL = SimpleNamespace(Message=Received, priority_steps=[0], no_ack_consumers=None)
LISTS = Lists(None, CHANNEL)  # type: ignore[arg-type]  # what is read needs no server


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    url = f"redis://{HOST}:{server.port}/0"
    app = Celery("hostile", broker=url, backend=url, set_as_current=False)
    yield app
    app.close()


@settings(max_examples=150)
@given(st.data())
def test_jobs_of_an_envelope_that_is_nearly_right_can_be_begun_and_sent(
    data: st.DataObject,
) -> None:
    changed = near(data.draw, PACKED)
    named(changed)
    try:
        jobs = Jobs(changed)
    except ValueError:
        return
    for index, job in enumerate(jobs):
        assert job.id == jobs.id(index)
        assert all(is_sound(*header) for header in job.headers.items()) == (
            index not in jobs.unsound
        )
        dumps([job.headers, job.properties])
        for text in (job.id, job.task, job.routing_key, job.exchange, job.body):
            text if isinstance(text, bytes) else text.encode()
        assert isinstance(job.priority, int)
        assert jobs.field(index, "task") == job.task
        assert jobs.body(index) == job.body
        assert job.again().headers["redelivered"] is True


@given(ANY_JSON)
@example("[" * 10**6)
@example("[[" + "[]," * 100_000 + "[]]]")
@example("x" * (LEAST_BOUND + 1))
@example('[[{"version": NaN}], {}, {}]')
def test_any_body_is_a_value_error(body: Any) -> None:
    for given_body in (body, json.dumps([[body], {}, {}])):
        with pytest.raises(ValueError):  # noqa: PT011  # the texts differ
            read(given_body, "application/json", "utf-8")


def test_an_envelope_is_read_up_to_a_size_that_follows_the_settings(settings: Any) -> None:
    long = JOBS[0].__class__(**{n: getattr(JOBS[0], n) for n in JOBS[0].__slots__} | {"body": "x"})
    object.__setattr__(long, "body", "x" * LEAST_BOUND)
    message = envelope_message(pure, [long])
    with pytest.raises(ValueError, match="more than 8388608 bytes"):
        read(message.body, message.content_type, message.content_encoding)
    settings.REDIS_OPTIMIZER = {"MAX_MESSAGE_BYTES": 1024**2}
    assert len(read(message.body, message.content_type, message.content_encoding)) == 1


@pytest.mark.parametrize("version", [2, 10**30])
def test_one_of_a_later_release_is_told_from_rubbish(version: int) -> None:
    with pytest.raises(NewerVersion):
        Jobs({"version": version, "whatever": 1})


@pytest.mark.parametrize("version", [0, -1, 2.0, True, "2", None, [2]])
def test_a_version_that_is_none_is_rubbish(version: Any) -> None:
    with pytest.raises(ValueError, match="no version") as raised:
        Jobs({**PACKED, "version": version} | ({"version": 0} if version is True else {}))
    assert raised.type is ValueError


@given(st.data())
def test_an_element_of_a_list_is_a_message_or_a_value_error(data: st.DataObject) -> None:
    message = {
        "body": "",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"id": "1", "task": "t"},
        "properties": {"delivery_info": {"routing_key": "q"}, "delivery_tag": "1"},
    }
    content = json.dumps(near(data.draw, message))
    for part in (content, content[: len(content) // 2], "[" * 100_000, b"\xff"):
        try:
            assert isinstance(LISTS.read(part).headers, dict)  # type: ignore[arg-type]
        except ValueError:
            continue


@given(st.integers(0, 70), st.binary(max_size=20))
def test_a_record_of_progress_of_any_bytes(size: int, content: bytes) -> None:
    bits = Bits(size, content)
    assert bits.left == size - len([n for n in range(size) if n in bits])
    assert len(bytes(bits)) == (size + 7) // 8
    for index in range(size):
        bits.add(index)
    assert bits.left == 0


class TestServer:
    """Keys of ours that hold something else."""

    def test_rubbish_among_envelopes_stays_and_holds_up_nobody(
        self, app: Celery, admin: redis.Redis
    ) -> None:
        poisoned = make_job(app, "t", 2, headers={"timelimit": 7})
        poisoned.headers["timelimit"] = 7
        for rubbish in ("", "{", "[" * 10**5, "[]", '{"headers": 1, "body": ""}', b"\xff"):
            admin.rpush(batch_queue("celery"), rubbish)
        send(app, [envelope_message(app, [make_job(app, "t", 1)])])
        send(app, [envelope_message(app, [poisoned])])
        admin.hset("unacked", mapping={"1": "[" * 10**5, "2": "{}", "3": "\xff"})
        (queued,) = count_queued(app, "celery")
        assert (queued.envelopes, queued.jobs, queued.unreadable) == (8, 2, 6)
        assert not count_unacked(app)
        divide(app, "celery")  # what a producer does, in the midst of a request
        assert admin.llen("celery") == 1
        assert explode(app, "celery").unreadable == 7
        assert admin.llen(batch_queue("celery")) == 7

    def test_a_record_of_another_type_is_none(self, app: Celery, admin: redis.Redis) -> None:
        admin.lpush("redis_optimizer:default:progress:one", "x")
        admin.set("redis_optimizer:default:progress:two", b"\xff" * 10**6)
        with broker_client(app) as client:
            assert client is not None
            assert progress.load(app, client, "one", 9).left == 9
            assert progress.load(app, client, "two", 9).left == 0

    def test_who_opens_envelopes_is_nobody_where_that_cannot_be_read(
        self, app: Celery, admin: redis.Redis
    ) -> None:
        admin.set("redis_optimizer:default:openers:celery.batches", "x")
        assert not announce.is_opened(app, "celery")
        envelope = envelope_message(app, [make_job(app, "t", 1)])
        assert not announce.push(app, "celery", envelope)
        with pytest.raises(OperationalError, match="WRONGTYPE"):
            announce.announce(app, "w", ["celery"])

    def test_workers_of_another_type_are_an_error_of_the_broker(
        self, app: Celery, admin: redis.Redis
    ) -> None:
        admin.set("redis_optimizer:default:workers", "x")
        with pytest.raises(OperationalError, match="WRONGTYPE"):
            hear(app, 2)

    @pytest.mark.parametrize("held", [b"\xff\xfe", b" ", b"x" * 10**6])
    def test_whatever_a_lock_holds_stands_for_a_call_until_it_lapses(
        self, app: Celery, admin: redis.Redis, held: bytes
    ) -> None:
        @app.task(base=OptimizedTask, shared=False, dedup="until_executed", name="once")
        def once() -> None: ...

        once.delay()
        (lock,) = admin.keys("*:dedup:*")
        admin.set(lock, held, px=60_000)
        assert once.delay().id == held.decode(errors="replace")
        admin.delete(lock)
        assert len(once.delay().id) == 36

    def test_results_of_others_do_not_keep_ours_from_being_stored(
        self, app: Celery, admin: redis.Redis
    ) -> None:
        backend = RedisBackend(app=app, url=app.conf.result_backend)
        admin.lpush("celery-task-meta-list", "x")
        admin.set("celery-task-meta-cut", '{"status": "SUC')
        admin.set("celery-task-meta-deep", "[" * 10**5)
        admin.set("redis_optimizer:default:kept:t:SUCCESS", "x")
        ids = ["first", "list", "cut", "deep", "last"]
        request = Context(task="t")
        outcomes = [(id, 1, states.SUCCESS, None, request) for id in ids]
        assert set(backend.store_many(outcomes)) == {"cut", "deep"}  # which may be successes
        for id in ("first", "list", "last"):
            assert backend.get_task_meta(id)["status"] == states.SUCCESS
        assert admin.get("celery-task-meta-cut") == '{"status": "SUC'
