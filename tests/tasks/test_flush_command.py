"""``redis_optimizer_flush``: what is queued, and envelopes made into plain messages."""

import json
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import redis
from celery import Celery
from django.core.management import CommandError, call_command

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks.envelope import envelope_message
from redis_optimizer.tasks.explode import explode
from redis_optimizer.tasks.kombu.sending import send
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import enveloped, runs
from tests.tasks.site.enveloped import make_job, send_envelope


def queues(printed: str) -> list[dict[str, Any]]:
    """Return what ``--json`` says of the queues."""
    found: list[dict[str, Any]] = json.loads(printed)["queues"]
    return found


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    app = Celery("flush", broker=f"redis://{HOST}:{server.port}/0", set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def flush(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what runs the command and returns its output, which it keeps as `out`, too."""
    monkeypatch.setattr(
        "redis_optimizer.management.commands.redis_optimizer_flush.app_or_default", lambda: app
    )

    class Flush:
        out = ""

        def __call__(self, *arguments: str) -> str:
            out = StringIO()
            try:
                call_command("redis_optimizer_flush", *arguments, stdout=out, stderr=StringIO())
            finally:
                self.out = out.getvalue()
            return self.out

    return Flush()


def jobs(app: Celery, count: int, **options: Any) -> list[Any]:
    return [make_job(app, enveloped.double, number, **options) for number in range(count)]


def test_it_says_what_is_queued(app: Celery, flush: Any, admin: redis.Redis) -> None:
    send(app, jobs(app, 2))
    send_envelope(app, *jobs(app, 3))
    send_envelope(app, *jobs(app, 4, queue="mail", priority=6))
    admin.lpush("celery.batches", "no message")
    assert queues(flush("--json")) == [
        {
            **{"queue": "celery", "priority": 0, "plain": 2},
            **{"envelopes": 2, "jobs": 3, "unreadable": 1, "unacked": 0},
        },
        {
            **{"queue": "mail", "priority": 6, "plain": 0},
            **{"envelopes": 1, "jobs": 4, "unreadable": 0, "unacked": 0},
        },
    ]
    assert flush().splitlines() == [
        "celery, priority 0: 2 plain messages, 2 envelopes with 3 jobs; 1 envelopes cannot be read",
        "mail, priority 6: 0 plain messages, 1 envelopes with 4 jobs",
    ]


def test_nothing_queued_is_said(flush: Any) -> None:
    assert flush() == "Nothing is queued.\n"


def test_envelopes_become_plain_messages(app: Celery, flush: Any, admin: redis.Redis) -> None:
    send_envelope(app, *jobs(app, 3))
    send_envelope(app, *jobs(app, 4, priority=6))
    send_envelope(app, *jobs(app, 5, queue="mail"))
    assert "would become 3" in flush("--explode", "--dry-run")
    assert admin.llen("celery.batches") == 1
    assert flush("--explode", "--queue", "celery") == (
        "celery, priority 0: 1 envelopes became 3 plain messages\n"
        "celery, priority 6: 1 envelopes became 4 plain messages\n"
    )
    assert (admin.llen("celery"), admin.llen("celery\x06\x166")) == (3, 4)
    assert admin.llen("mail.batches") == 1
    before = {"queue": "mail", "priority": 0, "plain": 0, "envelopes": 1, "jobs": 5}
    rest = {"unreadable": 0, "unacked": 0}
    arguments = ("--explode", "--json", "--queue", "mail")
    assert queues(flush(*arguments, "--dry-run")) == [before | rest]
    assert queues(flush(*arguments)) == [before | rest | {"plain": 5}]
    assert admin.llen("mail") == 5


def test_what_cannot_be_read_stays(app: Celery, flush: Any, admin: redis.Redis) -> None:
    admin.lpush("celery.batches", "no message", '{"properties": {}}')
    send_envelope(app, *jobs(app, 3))
    admin.lpush("celery.batches", "[]")
    with pytest.raises(CommandError, match="3 envelopes are left") as raised:
        flush("--explode")
    assert raised.value.returncode == 1
    assert "1 envelopes became 3 plain messages; 3 envelopes cannot be read" in flush.out
    assert admin.llen("celery.batches") == 3


def take(app: Celery, queue: str) -> Any:
    """Take a message from a queue, as a worker does that is then killed."""
    connection = app.connection_for_write()
    message = connection.SimpleQueue(queue).get(timeout=60)
    connection.default_channel.qos.restore_at_shutdown = False
    return connection, message


def test_what_killed_workers_had_is_said(app: Celery, flush: Any, admin: redis.Redis) -> None:
    send(app, jobs(app, 1))
    send_envelope(app, *jobs(app, 3, queue="elsewhere", priority=6))
    taken = [take(app, "celery"), take(app, "elsewhere.batches")]
    admin.hset("unacked", "none of kombu's", "[]")
    report = {"queue": "elsewhere", "priority": 6, "plain": 0, "envelopes": 0, "jobs": 0}
    assert queues(flush("--json")) == [report | {"unreadable": 0, "unacked": 1}]
    assert "1 envelopes are with workers, or were left by killed ones" in flush()
    with pytest.raises(CommandError, match=r"come back within the visibility timeout \(3,600 s\)"):
        flush("--explode", "--json")
    assert queues(flush.out) == [report | {"unreadable": 0, "unacked": 1}]
    for _, message in taken:
        message.ack()
    flush("--explode")
    for connection, _ in taken:
        connection.release()


def test_a_queue_that_nobody_knows_is_an_error(app: Celery, flush: Any, admin: redis.Redis) -> None:
    for name in ("mial", "ail"):
        admin.sadd("_kombu.binding.mail", "mail\x06\x16\x06\x16mail")
        with pytest.raises(CommandError, match=f"Queue {name} is unknown"):
            flush("--queue", name)
    assert "Nothing is queued" in flush("--queue", "mail", "--queue", "celery.batches")
    send(app, jobs(app, 1, queue="other", priority=6))
    assert "1 plain" in flush("--queue", "other")


def test_a_worker_of_old_runs_them(app: Celery, flush: Any, make_site: Any) -> None:
    site: Site = make_site(tasks=["tests.tasks.site.basic"])
    ids = send_envelope(app, *[make_job(app, "tests.tasks.site.basic.plain", n) for n in range(5)])
    flush("--explode")
    with site.worker("-c", "1", plain=True):
        wait_until(lambda: runs.counts(site.runs) == dict.fromkeys(ids, 1))


def test_those_that_came_again_leave_out_what_is_done(
    app: Celery, flush: Any, admin: redis.Redis
) -> None:
    envelope = envelope_message(app, jobs(app, 10))
    envelope.headers["redelivered"] = True
    send(app, [envelope])
    admin.set(f"redis_optimizer:default:progress:{envelope.id}", bytes([0b11]))
    assert "1 envelopes became 8 plain messages" in flush("--explode")


def test_several_at_once_neither_lose_nor_double(app: Celery, admin: redis.Redis) -> None:
    ids = {identity for _ in range(40) for identity in send_envelope(app, *jobs(app, 25))}
    threads = [threading.Thread(target=explode, args=(app, "celery")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queued = [json.loads(raw)["headers"]["id"] for raw in admin.lrange("celery", 0, -1)]
    assert sorted(queued) == sorted(ids)
    assert not admin.exists("celery.batches")


def test_its_time_may_be_limited(app: Celery) -> None:
    send_envelope(app, *jobs(app, 3))
    done = explode(app, "celery", seconds=-1)
    assert (done.envelopes, done.is_complete) == (0, False)


def test_a_key_prefix_of_the_broker_is_honoured(
    app: Celery, flush: Any, admin: redis.Redis
) -> None:
    app.conf.broker_transport_options = {"global_keyprefix": "site:"}
    send_envelope(app, *jobs(app, 3))
    assert admin.llen("site:celery.batches") == 1
    flush("--explode")
    assert admin.llen("site:celery") == 3


def test_another_broker_is_an_error(flush: Any, app: Celery) -> None:
    app.conf.broker_url = "memory://"
    with pytest.raises(CommandError, match="is not Redis"):
        flush()


def test_a_broker_that_is_down_is_an_error(flush: Any, app: Celery) -> None:
    app.conf.broker_url = "redis://127.0.0.1:1/0"
    with pytest.raises(CommandError, match="cannot be reached"):
        flush()
