"""What is seen of real workers, and what the doctor says of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import signals

from redis_optimizer.doctor import Evidence, Finding, examine, look
from redis_optimizer.doctor.celery import chatter, results, transport, workers
from redis_optimizer.doctor.celery.evidence import Broker
from redis_optimizer.doctor.celery.watch import watching
from redis_optimizer.embedded import EmbeddedServer
from tests.doctor.celery.sites import add_task, make_app, with_profile
from tests.doctor.sites import Clock
from tests.servers import connect, wait_until
from tests.tasks.processes import Site
from tests.tasks.quiet import TASKS, wait_for_wait

NOTE = "tests.tasks.site.quiet.note"
DAY = 86_400
EXAMINATIONS = [
    each for module in (chatter, workers, transport, results) for each in module.EXAMINATIONS
]


class Ground:
    """A broker, and the app of a site on it that is not the tests' own."""

    def __init__(self, server: EmbeddedServer, app: Any) -> None:
        self.server = server
        self.app = app
        self.redis = connect(server, timeout=30)

    def look(self, seconds: int, during: Callable[[], Any] = lambda: None) -> Evidence:
        """Look until a worker has asked for a job so many times, which it does each second."""
        clock = Clock()

        def sleep(length: float) -> None:
            before = self.polls()
            during()
            wait_until(lambda: self.polls() >= before + seconds)
            clock.at += length

        self.app.set_current()
        return look(seconds, sleep=sleep, now=clock)

    def polls(self) -> int:
        """Return how often workers have asked for a job."""
        return int(self.redis.info("commandstats").get("cmdstat_brpop", {}).get("calls", 0))

    def seen(self) -> Broker:
        """Return what is seen at once."""
        unknown: list[str] = []
        with watching(self.app, unknown) as watch:
            broker = watch.broker()
        assert not unknown, unknown
        assert broker is not None
        return broker


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A worker as Celery comes, but with -E, which does nothing."""
    with EmbeddedServer() as server:
        site = Site(tmp_path_factory.mktemp("plain"), server.port, tasks=[TASKS])
        app = make_app(server.url, task_ignore_result=True)
        with site.worker("-c", "1", "-E", plain=True):
            ground = Ground(server, app)
            wait_for_wait(ground.redis)
            yield ground
            ground.redis.close()
            app.close()


def diagnose(evidence: Evidence) -> dict[str, Finding]:
    report = examine(evidence, through=EXAMINATIONS)
    assert not report.unknown, report.unknown
    return {finding.id: finding for finding in report.findings}


def test_a_worker_as_celery_comes(plain: Ground) -> None:
    beats = plain.redis.pubsub()
    beats.psubscribe("/0.celeryev/worker.heartbeat")

    def wait_for_a_heartbeat_and_a_job() -> None:
        plain.app.send_task(NOTE)
        wait_until(lambda: (beats.get_message(timeout=1) or {}).get("type") == "pmessage")

    found = diagnose(plain.look(4, wait_for_a_heartbeat_and_a_job))
    beats.close()
    assert set(found) == {"idle-polling", "heartbeats", "gossip", "job-events"}
    # The doctor's clock says 4 s. One BRPOP brought the job; a busy machine may have seen one more.
    assert found["idle-polling"].saves == pytest.approx(DAY, rel=0.3)
    assert found["heartbeats"].saves == DAY / 2
    assert "w" in found["heartbeats"].what
    assert found["job-events"].saves in [DAY / 4, DAY / 2, DAY * 3 / 4]


def test_a_monitor_that_listens(plain: Ground) -> None:
    with plain.app.connection_for_read() as connection:
        receiver = plain.app.events.Receiver(connection)
        with connection.Consumer(receiver.queue, no_ack=True):
            assert plain.seen().monitors == 1
            found = diagnose(plain.look(2, lambda: plain.app.send_task(NOTE)))
    assert not {"heartbeats", "job-events"} & set(found)
    assert {"idle-polling", "gossip"} <= set(found)


def test_a_job_that_waits_for_longer_than_the_visibility_timeout(plain: Ground) -> None:
    plain.app.send_task(NOTE, countdown=300)
    plain.app.send_task(NOTE, countdown=7_300)
    try:
        wait_until(lambda: plain.redis.hlen("unacked") == 2)
        waits = [round(each.wait, -2) for each in plain.seen().due]
        assert sorted(waits) == [300, 7_300]
        found = diagnose(plain.look(1))
        assert NOTE in found["visibility-timeout"].what
        assert '"visibility_timeout": 10800' in found["visibility-timeout"].change
    finally:
        plain.redis.delete("unacked", "unacked_index")


def test_what_an_acl_forbids_is_said_beside_the_rest(plain: Ground) -> None:
    user = plain.server.url.replace("//", "//limited:secret@")
    for rule, says in [("-psubscribe", "the events of workers"), ("-sscan", "what workers do")]:
        rights = ("reset", "on", ">secret", "~*", "&*", "+@all", rule)
        plain.redis.execute_command("ACL", "SETUSER", "limited", *rights)
        unknown: list[str] = []
        with watching(make_app(user), unknown) as watch:
            seen = watch.broker()
        assert (seen is None) == (rule == "-sscan")
        (each,) = unknown
        assert each.startswith(says)
        assert "secret" not in each


def test_what_is_no_event_is_not_read(plain: Ground) -> None:
    with watching(plain.app, []) as watch:
        for message in ("", "{}", "[]", '{"body": "x", "properties": {}}'):
            plain.redis.publish("/0.celeryev/task.multi", message)
        seen = watch.broker()
    assert seen is not None
    assert seen.events == 0


def test_a_broker_that_is_down_is_said_once() -> None:
    with EmbeddedServer() as gone:
        app = make_app(gone.url)
    unknown: list[str] = []
    with watching(app, unknown) as watch:
        assert watch.broker() is None
    (each,) = unknown
    assert each.startswith("the events of workers: OperationalError")
    unknown = ["broker_url: it is down"]
    with watching(app, unknown):
        assert len(unknown) == 1


def test_the_tasks_of_a_site_are_known_as_to_its_workers() -> None:
    app = make_app("memory://")
    unknown: list[str] = []

    def discover(**kwargs: Any) -> None:  # as `autodiscover_tasks` waits for it
        add_task(app, "t.late")

    signals.import_modules.connect(discover, sender=app)
    with watching(app, unknown):
        assert "t.late" in app.tasks
    assert unknown == []


def test_a_module_of_tasks_that_cannot_be_imported_is_said() -> None:
    unknown: list[str] = []
    with watching(make_app("memory://", imports=["no_such_tasks"]), unknown):
        (each,) = unknown
    assert each.startswith("the tasks of the site: ModuleNotFoundError: No module")


@pytest.mark.slow
def test_a_worker_with_the_metered_profile(tmp_path: Path) -> None:
    with EmbeddedServer() as server:
        site = Site(tmp_path, server.port, tasks=[TASKS], settings={"PROFILE": "metered"})
        ground = Ground(server, with_profile("metered", server.url))
        with site.worker("-c", "1"):
            wait_for_wait(ground.redis)
            ground.app.set_current()
            evidence = look(1)
        assert evidence.broker is not None
        assert (evidence.broker.equipped, evidence.broker.gossips) == (1, 0)
        assert diagnose(evidence) == {}
        ground.redis.close()
        ground.app.close()
