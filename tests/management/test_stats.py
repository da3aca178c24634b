"""``redis_optimizer_stats`` and ``redis_optimizer_clear``, as an operator runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.commands import redis_optimizer_clear as clear_command
from redis_optimizer.management.commands import redis_optimizer_stats as stats_command
from redis_optimizer.management.stats.prometheus import as_prometheus
from redis_optimizer.stats.gathered import Gathered, Process, Silent
from redis_optimizer.stats.rates import RATES
from tests.servers import wait_until
from tests.stats.processes import ROOT, Reader, readers

FACTS = {
    "id": "0" * 32,
    "pid": 17,
    "kind": "web",
    "host": "one",
    "started": 0.0,
    "command": "gunicorn",
    "version": "0.1.0",
    "python": "3.13.0",
}

TIERED = "redis_optimizer.cache.TieredCache"

UNSURE = [Silent(17, "h:1", is_certain=False), Silent(18, "h:2", is_certain=False)]


@pytest.fixture(scope="module")
def site(server: EmbeddedServer) -> Iterator[list[Reader]]:
    # The server is emptied after each test, which does the processes no harm.
    with readers(2) as processes:
        yield processes


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=ROOT,
        env=os.environ | given,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gathered], None]:
    """Return what says what will be gathered."""

    def set_found(gathered: Gathered) -> None:
        monkeypatch.setattr(stats_command, "gather", lambda *args, **options: gathered)
        monkeypatch.setattr(clear_command.orders, "clear", lambda **options: gathered)

    return set_found


def run(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def test_a_table_says_what_all_counted(site: list[Reader]) -> None:
    done = manage("redis_optimizer_stats", "--timeout", "20")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 processes answered" in done.stdout
    assert "4 commands were sent for it" in done.stdout
    assert "without a channel are not seen" in done.stdout
    for reader in site:
        assert f" {reader.pid} " in done.stdout
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("default ")]
    assert row.endswith(" 12 s")


def test_json_is_one_object(site: list[Reader]) -> None:
    seen = json.loads(run("redis_optimizer_stats", "--json", "--history", "--timeout", "20"))
    assert {each["process"]["pid"] for each in seen["processes"]} == {r.pid for r in site}
    assert seen["totals"]["caches"]["default"]["hits"] >= 200
    assert seen["history"]["step"] == 10
    assert (seen["commands"], seen["silent"], seen["unreachable"]) == (4, [], [])


def test_prometheus_reads_its_text(site: list[Reader]) -> None:
    text = run("redis_optimizer_stats", "--prometheus", "--timeout", "20")
    lines = text.splitlines()
    for reader in site:
        (line,) = [
            line
            for line in lines
            if line.startswith("redis_optimizer_cache_hits_total") and f'"{reader.pid}"' in line
        ]
        assert 'cache="default"' in line
        assert int(line.split()[-1]) >= 100
    assert "redis_optimizer_processes 2" in lines
    assert "# TYPE redis_optimizer_cache_hits_total counter" in lines
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert text.endswith("\n")


def test_it_looks_again_until_it_is_stopped(site: list[Reader]) -> None:
    command = [sys.executable, "-m", "django", "redis_optimizer_stats", "--json", "--watch", "0.1"]
    given = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | given, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert all(look["processes"] for look in looks)
        assert looks[0]["rates"] is None
        assert looks[2]["rates"].keys() == RATES.keys()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_watch_shows_rates_and_outlives_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(hits: int) -> Gathered:
        totals = {"caches": {"default": {"hits": hits}}, "commands": {"sent": 1, "avoided": hits}}
        return Gathered([Process(FACTS, totals, None, 0.1)])

    looks = iter([ConnectionError("refused"), counted(10), ConnectionError("gone"), counted(30)])
    clock = iter([0.0, 10.0, 20.0, 30.0])
    naps: list[float] = []

    def look(*args: Any, **options: Any) -> Gathered:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(stats_command, "gather", look)
    passed = SimpleNamespace(
        sleep=sleep, monotonic=lambda: next(clock), time=time.time, strftime=time.strftime
    )
    monkeypatch.setattr(stats_command, "time", passed)
    out, errors = StringIO(), StringIO()
    call_command("redis_optimizer_stats", "--watch", "5", stdout=out, stderr=errors)
    assert naps == [5.0] * 4
    assert [line.partition(" ")[2] for line in errors.getvalue().splitlines()] == [
        "Redis cannot be asked: refused",
        "Redis cannot be asked: gone",
    ]
    (line,) = [line for line in out.getvalue().splitlines() if line.startswith("Per second")]
    assert "commands sent 0.0, commands avoided 2.0, hits 2.0, misses 0.0" in line


def test_a_watch_ends_where_no_cache_can_ever_be_asked() -> None:
    plain = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    with (
        override_settings(CACHES={"default": plain}),
        pytest.raises(CommandError, match="No cache"),
    ):
        run("redis_optimizer_stats", "--watch", "5")


@pytest.mark.parametrize(
    ("gathered", "code", "words"),
    [
        (Gathered(silent=[Silent(17, "h:1")], missing=1), 3, "Did not answer: pid 17 (h:1)."),
        (Gathered([Process(FACTS, {}, None, 0.1)], [Silent(None)], 1), 3, "does not name"),
        (Gathered([Process(FACTS, {}, None, 0.1)], UNSURE, 1), 3, "1 of these did not answer: pid"),
        (Gathered(unreachable=["ConnectionError: refused"]), 3, "refused"),
        (Gathered(), 4, "No process has a channel."),
    ],
)
def test_scripts_are_told_who_did_not_answer(
    found: Callable[[Gathered], None], gathered: Gathered, code: int, words: str
) -> None:
    found(gathered)
    with pytest.raises(CommandError, match=words.replace("(", r"\(").replace(")", r"\)")) as raised:
        run("redis_optimizer_stats")
    assert raised.value.returncode == code


def test_scripts_are_told_that_nobody_could_be_asked() -> None:
    with EmbeddedServer() as own:
        gone = own.port
    done = manage("redis_optimizer_stats", REDIS_TEST_PORT=str(gone))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Redis cannot be asked" in done.stderr
    plain = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    with (
        override_settings(CACHES={"default": plain}),
        pytest.raises(CommandError, match="No cache") as raised,
    ):
        run("redis_optimizer_stats")
    assert raised.value.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--watch", "0"),
        ("--watch", "nan"),
        ("--watch", "86401"),
        ("--timeout", "-1"),
        ("--timeout", "1e300"),
        ("--timeout", "inf"),
        ("--watch", "5", "--prometheus"),
    ],
)
def test_wrong_options_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as raised:
        run("redis_optimizer_stats", *arguments)
    assert raised.value.returncode == 2


@pytest.mark.parametrize("name", ["redis_optimizer_stats", "redis_optimizer_clear"])
def test_help_has_examples_and_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command(name, "--help")
    out = capsys.readouterr().out
    assert f"\n  manage.py {name} " in out
    assert "\n  3  a process did not answer" in out


def test_totals_of_any_form_are_shown(found: Callable[[Gathered], None]) -> None:
    strange: list[dict[str, Any]] = [
        {"caches": {"a": 7}, "jobs": {"tasks": 1, "sent": "x"}, "views": {"v": []}},
        {"caches": {"a": {"hits": {}}}, "jobs": {"waiting": 1, "reasons": []}, "endpoints": {}},
        {"caches": {}, "jobs": {}, "views": {}, "endpoints": {"e": None}},
    ]
    for totals in strange:
        found(Gathered([Process(FACTS, totals, None, 0.1)]))
        assert "web gunicorn" in run("redis_optimizer_stats")
        run("redis_optimizer_stats", "--prometheus")
        json.loads(run("redis_optimizer_stats", "--json"))


def test_all_parts_are_shown(found: Callable[[Gathered], None]) -> None:
    jobs = {
        "sent": 200,
        "messages": 2,
        "sendings": 2,
        "duplicates": 5,
        "commands_avoided": 198,
        "reasons": {"size": 1, "age": 1},
        "tasks": {"site.send": {"buffered": 200, "sent": 200, "duplicates": 5}},
        "waiting": {"total_queued_jobs": 3},
    }
    endpoints = {"health": {"hits": 99, "runs": 1, "joined": 0, "stale": 0}}
    views = {'say "hi"': {"requests": 10, "seconds": 0.5, "responses": {"5xx": 2}}}
    commands = {"sent": 50, "avoided": 150, "by": {"cache": 40, "broker": 10}}
    totals = {"jobs": jobs, "endpoints": endpoints, "views": views, "commands": commands}
    totals["connections"] = {"open": 7}
    found(Gathered([Process(FACTS, totals, None, 0.1)], commands=4))
    text = run("redis_optimizer_stats")
    assert "200 jobs left in 2 messages, by 2 commands; 5 duplicates were not sent." in text
    assert "Why batches left: age 1, size 1." in text
    assert (
        "50 commands were sent (cache 40, broker 10), 150 were not: 75.0 % were avoided. "
        "7 connections are open." in text
    )
    rows = [line.split() for line in text.splitlines()]
    assert ["site.send", "200", "200", "5", "0", "0", "0"] in rows
    assert ["health", "99", "1", "0", "0"] in rows
    assert ["say", '"hi"', "10", "2", "50.0"] in rows
    endpoints['a "b"\\'] = endpoints["health"]
    text = run("redis_optimizer_stats", "--prometheus")
    assert 'endpoint="a \\"b\\"\\\\"} 99' in text
    assert "redis_optimizer_jobs_waiting" in text


def test_clear_lets_all_processes_forget(site: list[Reader], admin: redis.Redis) -> None:
    site[0].do("cache.set('kept', 1)")
    for reader in site:
        reader.do("[cache.get('kept') for _ in range(3)]")
    done = manage("redis_optimizer_clear")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" entries\n") == 2
    for reader in site:
        reader.do("assert cache.stats()['valid_entries'] == 0")
    assert admin.exists("t:1:kept")


def test_clear_empties_a_cache_once_that_is_confirmed(
    found: Callable[[Gathered], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    found(Gathered())
    caches["plain"].set("a", 1)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    with pytest.raises(CommandError, match="Nothing was cleared"):
        run("redis_optimizer_clear", "--cache", "plain")
    assert caches["plain"].get("a") == 1
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    assert "'plain' is cleared" in run("redis_optimizer_clear", "--cache", "plain")
    assert caches["plain"].get("a") is None
    caches["plain"].set("a", 1)
    monkeypatch.delattr("builtins.input")
    run("redis_optimizer_clear", "--cache", "plain", "--no-input")
    assert caches["plain"].get("a") is None


def test_clear_touches_no_cache_before_all_are_known_and_confirmed(
    found: Callable[[Gathered], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    found(Gathered())
    caches["plain"].set("a", 1)
    with pytest.raises(CommandError, match="nowhere"):
        run("redis_optimizer_clear", "--cache", "plain", "--cache", "nowhere", "--no-input")
    answers = iter(["yes", "no"])
    monkeypatch.setattr("builtins.input", lambda question: next(answers))
    with pytest.raises(CommandError, match="Nothing was cleared"):
        run("redis_optimizer_clear", "--cache", "plain", "--cache", "default")

    def end(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    with pytest.raises(CommandError, match="Nothing was cleared"):
        run("redis_optimizer_clear", "--cache", "plain")
    assert caches["plain"].get("a") == 1


@pytest.mark.parametrize("backend", ["django_redis.cache.RedisCache", TIERED])
@pytest.mark.parametrize("is_ignored", [False, True])
def test_clear_says_that_a_cache_is_down(
    found: Callable[[Gathered], None], backend: str, is_ignored: bool
) -> None:
    found(Gathered())
    with EmbeddedServer() as own:
        gone = own.url
    down = {
        "BACKEND": backend,
        "LOCATION": gone,
        "OPTIONS": {"IGNORE_EXCEPTIONS": is_ignored},
    }
    with (
        override_settings(CACHES={"default": down}),
        pytest.raises(CommandError, match="'default' could not be cleared"),
    ):
        run("redis_optimizer_clear", "--cache", "default", "--no-input")


@pytest.mark.parametrize(
    ("gathered", "words"),
    [
        (Gathered(silent=[Silent(17, "h:1")], missing=1), "pid 17"),
        (Gathered(silent=UNSURE, missing=1), "1 of these did not answer"),
        (Gathered(unreachable=["ConnectionError: refused"]), "refused"),
    ],
)
def test_clear_says_who_did_not(
    found: Callable[[Gathered], None], gathered: Gathered, words: str
) -> None:
    found(gathered)
    with pytest.raises(CommandError, match=words) as raised:
        run("redis_optimizer_clear")
    assert raised.value.returncode == 3


def test_prometheus_tells_containers_apart(found: Callable[[Gathered], None]) -> None:
    totals = {"caches": {"default": {"hits": 1}}}
    twin = Process(FACTS | {"id": "1" * 32}, totals, None, 0.1)
    found(Gathered([Process(FACTS, totals, None, 0.1), twin], missing=0))
    lines = run("redis_optimizer_stats", "--prometheus").splitlines()
    assert len(lines) == len(set(lines))
    assert sum('process="11111111"' in line and "cache_hits" in line for line in lines) == 1


def test_prometheus_counts_answers_that_did_not_come() -> None:
    text = as_prometheus(Gathered(silent=UNSURE, missing=1))
    assert "redis_optimizer_processes_silent 1\n" in text


def test_the_asking_process_opens_no_channel(site: list[Reader], admin: redis.Redis) -> None:
    from tests.cache.caches import channels

    wait_until(lambda: len(channels(admin)) == 2)
    run("redis_optimizer_stats")
    assert len(channels(admin)) == 2
