"""Commands that switch parts, flush buffers and clear one process, as an operator runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from django.test import override_settings

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.commands import redis_optimizer_clear as clear_command
from redis_optimizer.management.commands import redis_optimizer_flush as flush_command
from redis_optimizer.management.commands import redis_optimizer_switch as switch_command
from redis_optimizer.stats.gathered import Gathered, Process, Silent
from redis_optimizer.switches import PARTS, State
from tests.cache.caches import counted
from tests.stats.processes import ROOT, Reader, readers

from .test_stats import FACTS, manage

ON = dict.fromkeys(PARTS, True)


@pytest.fixture(scope="module")
def two(server: EmbeddedServer) -> Iterator[list[Reader]]:
    with readers(2) as processes:
        yield processes


@pytest.fixture
def site(two: list[Reader]) -> Iterator[list[Reader]]:
    yield two
    for reader in two:
        reader.do("from redis_optimizer import switches; switches.reset()")


class Run:
    """Runs a command and keeps what it says."""

    def __call__(self, name: str, *arguments: str) -> str:
        out, err = StringIO(), StringIO()
        try:
            call_command(name, *arguments, stdout=out, stderr=err)
        finally:
            self.out, self.err = out.getvalue(), err.getvalue()
        return self.out


@pytest.fixture
def run() -> Run:
    return Run()


def process(number: int = 0, **totals: Any) -> Process:
    return Process(FACTS | {"id": f"{number:032x}", "pid": 17 + number}, totals, None, 0.1)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what says what will be gathered, and what Redis keeps."""

    def set_found(gathered: Gathered, **states: State) -> None:
        kept = dict.fromkeys(PARTS, State()) | states
        for name in ("switch", "flush", "clear"):
            monkeypatch.setattr(switch_command.orders, name, lambda *args, **options: gathered)
        monkeypatch.setattr(switch_command.orders, "read_states", lambda: kept)
        monkeypatch.setattr(switch_command, "gather", lambda: gathered)
        monkeypatch.setattr(clear_command, "gather", lambda: gathered)

    return set_found


def test_a_part_is_switched_off_and_shown_and_on_again(site: list[Reader]) -> None:
    done = manage("redis_optimizer_switch", "cache", "off")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": cache off\n") == 2
    assert "cache off: 2 processes answered" in done.stdout
    for reader in site:
        reader.do("from redis_optimizer import switches; assert not switches.is_on('cache')")
    shown = manage("redis_optimizer_switch")
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = {line.split()[0]: line.split() for line in shown.stdout.splitlines() if line.strip()}
    assert rows["cache"][1] == "off"
    assert rows["cache"][-2:] == ["2", "off"]
    assert "(command)" in rows["cache"]
    assert rows["dedup"][1:4] == ["on", "-", "-"]
    assert rows["dedup"][-2:] == ["2", "on"]


def test_all_parts_are_switched_by_one_command(
    site: list[Reader], admin: redis.Redis, run: Run
) -> None:
    run("redis_optimizer_switch", "all", "off")
    for reader in site:
        reader.do(
            "from redis_optimizer import switches as s; assert not any(map(s.is_on, s.PARTS))"
        )
    with counted(admin) as calls:
        seen = json.loads(run("redis_optimizer_switch", "--json"))
    assert seen["commands"] == sum(calls.values())
    assert [part["on"] for part in seen["parts"].values()] == [False] * len(PARTS)
    assert {each["process"]["pid"] for each in seen["processes"]} == {r.pid for r in site}
    lines = run("redis_optimizer_switch", "all", "on", "--json").splitlines()
    assert [json.loads(line)["part"] for line in lines] == list(PARTS)
    assert all(len(json.loads(line)["confirmed"]) == 2 for line in lines)
    for reader in site:
        reader.do("assert all(map(s.is_on, s.PARTS))")


@pytest.mark.parametrize(
    ("gathered", "words"),
    [
        (Gathered([process(done={"part": "cache", "on": True})]), "Did not switch cache: web gu"),
        (Gathered([process()]), "Did not switch cache: web gunicorn, pid 17 on one"),
        (Gathered(silent=[Silent(17, "h:1")], missing=1), "Did not answer: pid 17"),
        (Gathered(unreachable=["ConnectionError: refused"]), "Not asked: ConnectionError"),
    ],
)
def test_who_did_not_confirm_is_named(
    found: Callable[..., None], run: Run, gathered: Gathered, words: str
) -> None:
    found(gathered)
    for arguments in ((), ("--json",)):
        with pytest.raises(CommandError, match=words) as raised:
            run("redis_optimizer_switch", "cache", "off", *arguments)
        assert raised.value.returncode == 1


def test_what_is_not_kept_is_said_and_the_order_is_done(
    found: Callable[..., None], run: Run
) -> None:
    done = {"part": "cache", "on": False}
    found(Gathered([process(done=done)], unkept=["NoPermissionError: no"]))
    run("redis_optimizer_switch", "cache", "off")
    assert "processes to come may not learn of it. NoPermissionError" in run.err


def test_a_process_that_is_switched_another_way_is_named(
    found: Callable[..., None], run: Run
) -> None:
    found(
        Gathered([process(0, switches=ON), process(1, switches=ON | {"cache": False})]),
        cache=State(on=False, at=1e9, by="root"),
    )
    with pytest.raises(CommandError, match="cache is on in web gunicorn, pid 17 on") as raised:
        run("redis_optimizer_switch")
    assert raised.value.returncode == 1
    assert "1 on, 1 off" in run.out
    with pytest.raises(CommandError, match="cache is on in"):
        run("redis_optimizer_switch", "--json")
    (differs,) = json.loads(run.out)["parts"]["cache"]["differ"]
    assert differs["pid"] == 17


def test_totals_of_any_form_are_shown(found: Callable[..., None], run: Run) -> None:
    for switches in (None, 7, [], {"cache": "off"}, {"cache": None}):
        found(Gathered([process(switches=switches)]))
        assert "cache" in run("redis_optimizer_switch")


@pytest.mark.parametrize(
    "arguments", [("cache",), ("cash", "off"), ("cache", "of"), ("cache", "off", "on")]
)
def test_wrong_options_are_refused(run: Run, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match=r"Say on or off|invalid choice|unrecognized"):
        run("redis_optimizer_switch", *arguments)


def test_scripts_are_told_that_nobody_could_be_asked(run: Run) -> None:
    plain = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    for arguments in ((), ("cache", "off")):
        with (
            override_settings(CACHES={"default": plain}),
            pytest.raises(CommandError, match="No cache") as raised,
        ):
            run("redis_optimizer_switch", *arguments)
        assert raised.value.returncode == 2


@pytest.mark.parametrize("name", ["redis_optimizer_switch", "redis_optimizer_flush"])
def test_help_has_examples_and_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command(name, "--help")
    out = capsys.readouterr().out
    assert f"\n  manage.py {name} " in out
    assert "\nexit codes:\n  0  " in out


def test_one_process_forgets_what_it_keeps(site: list[Reader], admin: redis.Redis) -> None:
    for reader in site:
        reader.do("cache.set('kept', 1); [cache.get('kept') for _ in range(3)]")
    done = manage("redis_optimizer_clear", "--process", str(site[0].pid))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" entries\n") == 1
    assert f"pid {site[0].pid} on" in done.stdout
    site[0].do("assert cache.stats()['valid_entries'] == 0")


@pytest.mark.parametrize("named", ["17", "0" * 31 + "2", "0" * 32])
def test_a_process_is_found_by_its_number_or_id(
    found: Callable[..., None], run: Run, named: str
) -> None:
    found(Gathered([process(0, done={"entries": 3}), process(1), process(2)]))
    assert "3 entries" in run("redis_optimizer_clear", "--process", named)


def test_what_processes_forgot_is_told_as_json(found: Callable[..., None], run: Run) -> None:
    found(Gathered([process(0, done={"entries": 3}), process(1)], commands=5))
    told = json.loads(run("redis_optimizer_clear", "--json"))
    assert [each["process"]["pid"] for each in told["processes"]] == [17, 18]
    assert [each["entries"] for each in told["processes"]] == [3, 0]
    rest = {"caches": [], "silent": [], "missing": 0, "unreachable": [], "commands": 5}
    assert told == {"processes": told["processes"], **rest}
    with pytest.raises(CommandError, match="--no-input"):
        run("redis_optimizer_clear", "--json", "--cache", "default")


@pytest.mark.parametrize(
    ("named", "words"),
    [("0000", "More than one process"), ("99", "No process"), ("000", "No process")],
)
def test_a_process_that_is_not_found_is_an_error(
    found: Callable[..., None], run: Run, named: str, words: str
) -> None:
    found(Gathered([process(0), process(1)]))
    with pytest.raises(CommandError, match=words) as raised:
        run("redis_optimizer_clear", "--process", named)
    assert "0" * 31 + "1  web gunicorn, pid 18 on one" in str(raised.value)


class TestFlush:
    @pytest.fixture(autouse=True)
    def _app(self, monkeypatch: pytest.MonkeyPatch, server: EmbeddedServer) -> Iterator[None]:
        from celery import Celery

        app = Celery("switch", broker=server.url, set_as_current=False)
        monkeypatch.setattr(flush_command, "app_or_default", lambda: app)
        yield
        app.close()

    def test_what_processes_sent_is_said_before_the_queues(
        self, found: Callable[..., None], run: Run
    ) -> None:
        jobs = process(0, done={"jobs": 3, "left": 0})
        found(Gathered([jobs, process(1, done={"jobs": 1, "left": 2}), process(2)]))
        assert run("redis_optimizer_flush").splitlines() == [
            "web gunicorn, pid 17 on one: 3 jobs sent",
            "web gunicorn, pid 18 on one: 1 jobs sent, 2 are left",
            "web gunicorn, pid 19 on one: 0 jobs sent",
            "Nothing is queued.",
        ]
        told = json.loads(run("redis_optimizer_flush", "--json"))
        assert (told["queues"], told["missing"]) == ([], 0)
        sent = [(each["process"]["pid"], each["jobs"], each["left"]) for each in told["processes"]]
        assert sent == [(17, 3, 0), (18, 1, 2), (19, 0, 0)]

    @pytest.mark.parametrize("arguments", [("--dry-run",), ("--explode",)])
    def test_a_dry_run_asks_nobody(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
    ) -> None:
        monkeypatch.setattr(flush_command.orders, "flush", lambda: pytest.fail("asked"))
        assert run("redis_optimizer_flush", *arguments) == "Nothing is queued.\n"

    def test_where_there_is_no_channel_the_queues_are_shown(self, run: Run) -> None:
        plain = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
        with override_settings(CACHES={"default": plain}):
            assert run("redis_optimizer_flush") == "Nothing is queued.\n"
        assert "No process was asked to send what it holds. No cache" in run.err

    @pytest.mark.parametrize(
        ("gathered", "words"),
        [
            (Gathered(silent=[Silent(17, "h:1")], missing=1), "pid 17"),
            (Gathered(unreachable=["ConnectionError: refused"]), "refused"),
        ],
    )
    def test_who_did_not_is_named_after_the_queues(
        self, found: Callable[..., None], run: Run, gathered: Gathered, words: str
    ) -> None:
        found(gathered)
        with pytest.raises(CommandError, match=words) as raised:
            run("redis_optimizer_flush")
        assert raised.value.returncode == 3
        assert run.out == "Nothing is queued.\n"


@pytest.mark.parametrize(
    "arguments",
    [("redis_optimizer_clear", "--cache", "default", "--no-input"), ("redis_optimizer_switch",)],
)
def test_that_nobody_reads_is_not_blamed_on_redis(site: list[Reader], arguments: Any) -> None:
    assert "Redis cannot be asked" not in manage_unread(*arguments).stderr


def test_all_is_switched_though_nobody_reads_what_is_said(site: list[Reader]) -> None:
    manage_unread("redis_optimizer_switch", "all", "off")
    for reader in site:
        reader.do(
            "from redis_optimizer import switches as s; assert not any(map(s.is_on, s.PARTS))"
        )


def manage_unread(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that has nobody to read what it prints."""
    reading, writing = os.pipe()
    os.close(reading)
    given = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    try:
        return subprocess.run(
            [sys.executable, "-u", "-m", "django", *arguments],
            cwd=ROOT,
            env=os.environ | given,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    finally:
        os.close(writing)
