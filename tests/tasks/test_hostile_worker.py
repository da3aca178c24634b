"""A real worker, to which anything may be sent: it tells of it, and does its next job."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import InvalidTaskError

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks.envelope import batch_queue, envelope_message
from redis_optimizer.tasks.kombu.sending import send
from redis_optimizer.tasks.message import Message
from tests.servers import wait_until
from tests.tasks.ground import TASKS, WAIT, Ground
from tests.tasks.processes import Worker
from tests.tasks.site import enveloped
from tests.tasks.site.enveloped import make_job, send_envelope

PRODUCE = """
import json
from tests.tasks.site.hostile import batched, plain
from tests.tasks.site.values import make_values

def call(task, value):
    try:
        return "sent", task.delay(value).id
    except Exception as error:
        return "error", type(error).__name__

print(json.dumps({
    name: [call(plain, value), call(batched, value)] for name, value in make_values().items()
}))
"""
QUEUE = batch_queue("celery")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with EmbeddedServer() as server:
        ground = Ground(tmp_path_factory.mktemp("site"), server)
        ground.site.tasks = (*TASKS, "tests.tasks.site.hostile")
        yield ground
        ground.close()


@pytest.fixture(scope="module")
def worker(ground: Ground) -> Iterator[Worker]:
    with ground.site.worker("-c", "1") as worker:
        yield worker


@pytest.fixture(autouse=True)
def _lives(ground: Ground, worker: Worker) -> Iterator[None]:
    """After each test the same worker opens an envelope, as ever."""
    yield
    (identity,) = ground.send(enveloped.double, 21)
    assert ground.get(identity) == 42
    ground.wait_done()
    assert worker.process.poll() is None


def spoil(app: Any, change: Any, *jobs: Message) -> tuple[Message, list[str]]:
    """Return an envelope whose body has been changed, and the ids of its jobs."""
    made = jobs or [make_job(app, enveloped.double, n) for n in range(2)]
    envelope = envelope_message(app, made)
    object.__setattr__(envelope, "body", change(envelope.body))
    return envelope, [job.id for job in made]


def resident(worker: Worker) -> int:
    """Return the MiB that the worker's main process takes, on Linux; elsewhere 0."""
    status = Path(f"/proc/{worker.process.pid}/status")
    text = status.read_text() if status.exists() else "VmRSS: 0"
    return int(text.split("VmRSS:")[1].split()[0]) >> 10


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body[: len(body) // 2],
        lambda body: "",
        lambda body: "[" * 10**6,
        lambda body: "[[" + "[]," * 10**6 + "[]], {}, {}]",
        lambda body: "x" * 9 * 1024**2,
        lambda body: json.dumps([[None], {}, {}]),
    ],
    ids=["cut", "empty", "deep", "wide", "huge", "none"],
)
def test_a_body_that_is_no_envelope(ground: Ground, worker: Worker, change: Any) -> None:
    for _ in range(3):
        envelope, _ = spoil(ground.app, change)
        send(ground.app, [envelope])
        worker.wait_log(f"envelope {envelope.id} cannot be read")
        ground.wait_done()
        assert resident(worker) < 300  # what one took is there for the next


def test_jobs_of_a_broken_envelope_are_recorded_as_failed(ground: Ground, worker: Worker) -> None:
    envelope, ids = spoil(ground.app, lambda body: body.replace('"utf-8"', "8"))
    send(ground.app, [envelope])
    for identity in ids:
        with pytest.raises(InvalidTaskError, match="cannot be read"):
            ground.get(identity)
        worker.wait_log(f"Job {enveloped.double.name}[{identity}] is lost")
    assert not any(map(ground.notes, ids))


@pytest.mark.parametrize(
    "headers",
    [
        {"timelimit": 7},
        {"timelimit": ["a", [2]]},
        {"stamped_headers": 5},
        {"stamped_headers": ["a"], "stamps": 5},
        {"group": []},
        {"retries": "x"},
        {"task": 5},
        {"redis_optimizer_dedup": 5},
        {"compression": {}},
    ],
    ids=str,
)
@pytest.mark.parametrize("redelivered", [False, True])
def test_a_poisoned_job_harms_only_itself(
    ground: Ground, headers: dict[str, Any], redelivered: bool
) -> None:
    """Plain Celery's main process would end."""
    good, bad = (make_job(ground.app, enveloped.double, n) for n in (1, 2))
    bad.headers.update(headers)
    envelope = envelope_message(ground.app, [good, bad])
    send(ground.app, [envelope.again() if redelivered else envelope])
    assert ground.get(good.id) == 2
    with pytest.raises(InvalidTaskError, match="not as Celery makes them"):
        ground.get(bad.id)
    assert not ground.notes(bad.id)


@pytest.mark.parametrize(
    "headers", [{"eta": "x"}, {"expires": "x"}, {"compression": "none"}, {"id": "é" * 100}], ids=str
)
def test_what_celery_refuses_is_refused_alone(ground: Ground, headers: dict[str, Any]) -> None:
    good, bad = (make_job(ground.app, enveloped.double, n) for n in (1, 2))
    bad.headers.update(headers)
    object.__setattr__(bad, "id", bad.headers["id"])
    send_envelope(ground.app, good, bad)
    assert ground.get(good.id) == 2


def test_one_of_a_later_release_is_left_in_its_queue(ground: Ground, worker: Worker) -> None:
    envelope, ids = spoil(ground.app, lambda body: body.replace('"version": 1', '"version": 2'))
    send(ground.app, [envelope])
    worker.wait_log(f"Envelope {envelope.id} is left in the queue")
    wait_until(lambda: ground.redis.llen(QUEUE) == 1, WAIT)
    wait_until(lambda: not ground.redis.exists("unacked"), WAIT)
    plain = make_job(ground.app, enveloped.double, 4)
    send(ground.app, [plain])
    assert ground.get(plain.id) == 8  # meanwhile it does what else there is
    content = ground.redis.lpop(QUEUE)
    assert worker.log.count(f"Envelope {envelope.id} is left") <= 2  # one look in REST seconds
    assert json.loads(content)["headers"]["id"] == envelope.id
    assert "redelivered" not in json.loads(content)["headers"]
    assert not any(map(ground.notes, ids))


def test_a_record_of_progress_that_is_rubbish_is_none(ground: Ground) -> None:
    envelope, ids = spoil(ground.app, lambda body: body)
    ground.redis.lpush(f"redis_optimizer:default:progress:{envelope.id}", "x")
    send(ground.app, [envelope.again()])
    assert [ground.get(identity) for identity in ids] == [0, 2]


def test_arguments_of_any_kind_arrive_as_with_plain_celery(ground: Ground, worker: Worker) -> None:
    printed = ground.site.produce(PRODUCE).stdout
    calls: dict[str, Any] = json.loads(printed.splitlines()[-1])
    ended = {}
    for name, ((plain, one), (batched, other)) in calls.items():
        assert plain == batched, (name, one, other)
        if plain == "error":
            assert one == other, name
            continue
        if name == "badly marked":  # no worker can decode it: it is dropped, with a line in the log
            continue
        ended[name] = ground.get(one)
        assert ground.get(other) == ended[name], name
    assert len(ended) > 20
    assert worker.log.count("badly") == 0
