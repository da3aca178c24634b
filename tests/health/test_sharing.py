"""One verdict for all processes, which never holds one up nor is believed blindly."""

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.core.cache import caches

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.health import Observation, Report, Result, Status
from redis_optimizer.health.audience import Audience
from redis_optimizer.health.ledger import Ledger
from redis_optimizer.health.packing import pack, unpack
from tests.cache.caches import QUIET, command_calls
from tests.health.told import Told, raising
from tests.servers import wait_until

PUBLIC, STAFF = Audience.PUBLIC, Audience.STAFF
KEYS = "t:1:redis_optimizer:default:health:*"
REPORT = Report(
    [
        Result("a", "system", Status.OK, 0.1, 5.0, {"x": Observation(3, "s")}),
        Result("b", "component", Status.DEGRADED, 0.2, 6.0, {"y": Observation("z")}, "slow"),
    ],
    0.3,
    4.0,
)


def share(settings: Any, url: str, **options: Any) -> None:
    """Have a shared verdict, with the time that a busy machine needs."""
    settings.CACHES = {
        "share": {
            "BACKEND": "redis_optimizer.cache.TieredCache",
            "LOCATION": url,
            "KEY_PREFIX": "t",
            "OPTIONS": {"L1": {**QUIET, "SINGLE_FLIGHT": "fleet"}},
        }
    }
    settings.REDIS_OPTIMIZER = {
        "HEALTH_TIMEOUT": 60,
        "HEALTH_CHECK_TIMEOUT": 60,
        "HEALTH_SHARE": "share",
        **options,
    }


@pytest.fixture(autouse=True)
def _shared(settings: Any, server: EmbeddedServer) -> Iterator[None]:
    share(settings, server.url)
    yield
    wait_until(lambda: not talks())  # what is told late, the next test would find


class Fleet:
    """Processes that know nothing of each other; each is a ledger with the same check."""

    def __init__(self) -> None:
        self.runs = 0
        self.ahead = 0.0
        self.act: Callable[[], Any] = lambda: {"x": 1}
        self.name = uuid.uuid4().hex

    def run(self) -> Any:
        self.runs += 1
        return self.act()

    def process(self, part: Any = "health") -> Ledger:
        checks = [Told(label=self.name, act=self.run)]
        return Ledger(part, lambda: checks, clock=lambda: time.time() + self.ahead)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def talks() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "redis_optimizer:share"]


def wait_told(admin: redis.Redis) -> str:
    """Wait until the shared verdict is written, and return its key."""
    wait_until(lambda: not talks())
    (key,) = admin.keys(KEYS)
    return str(key)


# Between processes

PROCESS = """if True:
    import os, sys
    import django, redis
    from django.conf import settings
    settings.CACHES["share"] = {
        **settings.CACHES["default"], "OPTIONS": {"L1": {"SINGLE_FLIGHT": "fleet"}}
    }
    settings.REDIS_OPTIMIZER = {
        "HEALTH_CHECKS": [], "HEALTH_SHARE": "share",
        "HEALTH_TIMEOUT": 60, "HEALTH_CHECK_TIMEOUT": 60,
    }
    django.setup()
    from redis_optimizer.health import get_verdict, health_check
    client = redis.Redis.from_url(settings.REDIS_TEST_URL)

    @health_check
    def slow():
        client.incr("runs")
        client.blpop("go", 60)
        return {"by": os.getpid()}

    print("ready", flush=True)
    sys.stdin.readline()
    verdict = get_verdict()
    print(verdict.report.status, verdict.report.results[0].observed["by"].value, flush=True)
"""


@pytest.fixture
def start() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start processes that ask for the verdict when told to, and end them with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start_one() -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", PROCESS],
                env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        )
        return processes[-1]

    yield start_one
    for process in processes:
        process.kill()
        process.communicate()


def scripts(admin: redis.Redis) -> int:
    """Return how often the right to run the checks was asked for, or given back."""
    return command_calls(admin)["evalsha"]


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")


def test_two_processes_share_one_run(
    start: Callable[[], subprocess.Popen[str]], admin: redis.Redis
) -> None:
    first, second, third = start(), start(), start()  # each ends once it has said what it was told
    assert {hear(first), hear(second), hear(third)} == {"ready"}
    tell(first)
    wait_until(lambda: admin.get("runs") == "1")
    asked = scripts(admin)
    tell(second)  # while the first one's checks run
    wait_until(lambda: scripts(admin) > asked)
    admin.rpush("go", 1)
    told = f"ok {first.pid}"
    assert (hear(first), hear(second)) == (told, told)
    tell(third)  # afterwards
    assert hear(third) == told
    assert admin.get("runs") == "1"


# What is shared, and for how long


def test_it_is_told_to_others_as_it_is(fleet: Fleet, admin: redis.Redis) -> None:
    fleet.act = lambda: {"x": Observation(3, "s"), "y": "z"}
    first = fleet.process().get(PUBLIC)
    assert (first.is_cached, first.kept_for > 100) == (False, True)
    wait_told(admin)
    second = fleet.process().get(STAFF)
    assert second.report == first.report
    assert (second.is_cached, 0 < second.kept_for < 60) == (True, True)
    assert fleet.runs == 1


def test_its_age_goes_on_in_other_processes(fleet: Fleet, admin: redis.Redis) -> None:
    fleet.process().get(PUBLIC)
    wait_told(admin)
    fleet.ahead = 40
    process = fleet.process()
    verdict = process.get(PUBLIC)
    assert 40 <= verdict.age < 60
    assert 60 < verdict.kept_for <= 80
    assert process.get(PUBLIC).is_cached
    assert fleet.runs == 1


@pytest.mark.parametrize(("is_good", "seconds"), [(True, 60), (False, 10)])
def test_it_lives_as_long_as_nobody_finds_it_too_old(
    fleet: Fleet, admin: redis.Redis, is_good: bool, seconds: float
) -> None:
    if not is_good:
        fleet.act = raising(OSError())
    fleet.process().get(PUBLIC)
    key = wait_told(admin)
    assert seconds - 5 < admin.pttl(key) / 1000 <= seconds
    assert (fleet.process().get(PUBLIC).report.status is Status.OK) is is_good
    fleet.ahead = seconds  # whatever Redis still has
    assert not fleet.process().get(PUBLIC).is_cached
    assert fleet.runs == 2


def test_one_from_a_clock_that_is_ahead_is_not_believed(fleet: Fleet, admin: redis.Redis) -> None:
    fleet.ahead = 30
    fleet.process().get(PUBLIC)
    wait_told(admin)
    fleet.ahead = 0
    assert not fleet.process().get(PUBLIC).is_cached


def test_those_who_check_something_else_do_not_share(admin: redis.Redis) -> None:
    one, other = Fleet(), Fleet()
    one.process().get(PUBLIC)
    wait_told(admin)
    assert not other.process().get(PUBLIC).is_cached
    wait_until(lambda: len(admin.keys(KEYS)) == 2)


def test_whether_a_process_is_ready_is_its_own_matter(fleet: Fleet, admin: redis.Redis) -> None:
    for _ in range(2):
        fleet.process("ready").get(PUBLIC)
    assert fleet.runs == 2
    assert admin.keys(KEYS) == []


@pytest.mark.parametrize("options", [{"HEALTH_STAFF_TTL": 0}, {"ENABLED": False}])
def test_what_is_not_kept_is_not_shared(
    fleet: Fleet, settings: Any, server: EmbeddedServer, admin: redis.Redis, options: Any
) -> None:
    share(settings, server.url, **options)
    fleet.process().get(PUBLIC)
    assert not talks()
    assert admin.keys("*") == []


def test_the_verdict_of_a_broken_check_is_not_shared(fleet: Fleet, admin: redis.Redis) -> None:
    fleet.act = raising(SystemExit())
    fleet.process().get(PUBLIC)
    wait_until(lambda: not talks())
    assert admin.keys(KEYS) == []


# A run of one's own


def test_a_refresh_runs_the_checks_and_tells_the_others(fleet: Fleet, admin: redis.Redis) -> None:
    fleet.process().get(PUBLIC)
    wait_told(admin)
    fleet.act = raising(OSError())
    assert fleet.process().get(STAFF, anew=True).report.status is Status.FAILING
    key = wait_told(admin)
    assert admin.pttl(key) <= 10_000
    assert fleet.process().get(PUBLIC).report.status is Status.FAILING
    assert fleet.runs == 2


def test_after_a_drop_a_process_believes_its_own_checks_alone(
    fleet: Fleet, admin: redis.Redis
) -> None:
    process = fleet.process()
    process.get(PUBLIC)
    wait_told(admin)
    process.drop()
    assert not process.get(PUBLIC).is_cached
    assert fleet.runs == 2
    wait_told(admin)
    process.reset()
    assert process.get(PUBLIC).is_cached
    assert fleet.runs == 2


def test_a_drop_during_a_run_keeps_it_from_the_others(fleet: Fleet, admin: redis.Redis) -> None:
    process = fleet.process()
    fleet.act = lambda: {"x": process.drop()}
    process.get(PUBLIC)
    wait_until(lambda: not talks())
    assert admin.keys(KEYS) == []


def test_one_that_is_too_old_for_the_caller_is_not_told(fleet: Fleet, admin: redis.Redis) -> None:
    fleet.process().get(PUBLIC)
    wait_told(admin)
    fleet.ahead = 30
    process = fleet.process()
    assert process.get(PUBLIC, max_age=20).age < 20
    assert fleet.runs == 2


# A cache that fails


@pytest.mark.parametrize("rubbish", ["ok", {}, {**pack(REPORT)}, 3])
def test_rubbish_is_replaced(fleet: Fleet, admin: redis.Redis, rubbish: Any) -> None:
    fleet.process().get(PUBLIC)
    key = wait_told(admin).removeprefix("t:1:")
    caches["share"].set(key, rubbish)
    assert not fleet.process().get(PUBLIC).is_cached
    wait_told(admin)
    assert fleet.process().get(PUBLIC).is_cached
    assert fleet.runs == 2


@pytest.mark.parametrize("alias", ["share", "no such cache"])
def test_without_the_cache_each_process_runs_its_checks(
    fleet: Fleet, settings: Any, alias: str
) -> None:
    share(settings, "redis://127.0.0.1:1/0", HEALTH_SHARE=alias)
    for _ in range(2):
        assert fleet.process().get(PUBLIC).report.status is Status.OK
    assert fleet.runs == 2


def test_a_frozen_cache_holds_up_one_run_for_a_moment_and_the_next_not_at_all(
    fleet: Fleet, settings: Any
) -> None:
    with EmbeddedServer() as own:
        share(settings, own.url, HEALTH_TIMEOUT=8)  # it may take 2 s of them
        own.freeze()
        assert fleet.process().get(PUBLIC).report.status is Status.OK
        (talk,) = talks()
        for _ in range(3):
            assert fleet.process().get(PUBLIC, anew=True).report.status is Status.OK
        assert fleet.process().get(PUBLIC).report.status is Status.OK
        assert talks() == [talk]
        assert fleet.runs == 5
        own.thaw()
        wait_until(lambda: not talks())


# Packing


def test_a_report_is_packed_as_plain_data() -> None:
    import json

    assert unpack(json.loads(json.dumps(pack(REPORT))), ["a", "b"]) == REPORT


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "text",
        {"results": []},
        {**pack(REPORT), "seconds": "1"},
        {**pack(REPORT), "seconds": float("nan")},
        {**pack(REPORT), "checked_at": 10**400},
        {**pack(REPORT), "results": pack(REPORT)["results"][:1]},
        {**pack(REPORT), "results": "ab"},
        {**pack(REPORT), "results": [{}, {}]},
        *(
            {**pack(REPORT), "results": [{**pack(REPORT)["results"][0], **wrong}, *rest]}
            for rest in [pack(REPORT)["results"][1:]]
            for wrong in (
                {"status": "fine"},
                {"status": None},
                {"name": 1},
                {"error": None},
                {"observed": []},
                {"observed": {"x": [1]}},
                {"observed": {"x": [None, "s"]}},
                {"observed": {1: [1, "s"]}},
            )
        ),
    ],
)
def test_what_is_no_report_is_not_taken_for_one(wrong: Any) -> None:
    assert unpack(wrong, ["a", "b"]) is None
