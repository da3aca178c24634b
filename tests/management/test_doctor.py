"""``redis_optimizer_doctor``, as an operator runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from redis_optimizer.doctor import Evidence, Finding, Report, Severity
from redis_optimizer.doctor.evidence import Server
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.commands import redis_optimizer_doctor as command
from redis_optimizer.management.doctor import as_text
from tests.stats.processes import ROOT

FULL = Evidence(
    servers=(
        Server(
            address="h:1",
            after={"used_memory": "99", "maxmemory": "100", "maxmemory_policy": "noeviction"},
        ),
    ),
    unknown=("the moon: it is cloudy",),
    looked_at=("the settings", "h:1"),
    seconds=5.0,
    commands=14,
)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[[Evidence], None]:
    """Return what says what will be seen."""

    def set_seen(evidence: Evidence) -> None:
        monkeypatch.setattr(command, "look", lambda seconds, **options: evidence)

    return set_seen


def run(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("redis_optimizer_doctor", *arguments, stdout=out, **options)
    return out.getvalue()


def manage(settings: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        [sys.executable, "-m", "django", "redis_optimizer_doctor", *arguments],
        cwd=ROOT,
        env=os.environ | given,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_of_the_example_site_nothing_is_found() -> None:
    limits = ("--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")
    with EmbeddedServer(args=limits) as server:
        done = manage(
            "example_project.settings",
            *("--json", "--seconds", "0.1", "--fail-on", "warning"),
            REDIS_URL=server.url,
        )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["findings"], seen["unknown"]) == ([], [])
    address = f"127.0.0.1:{server.port}"
    assert f'{address} (CACHES["default"], broker_url)' in seen["looked_at"]
    assert "Watching 1 server for 0.1 s" in done.stderr


def test_text_says_what_why_and_what_to_change(seen: Callable[[Evidence], None]) -> None:
    seen(FULL)
    text = run("--skip", "middleware-missing")
    assert text.startswith("1. ERROR  memory-full\n   h:1 uses 99 % of its maxmemory")
    assert "   Change: CONFIG SET maxmemory" in text
    assert "Could not look at the moon: it is cloudy" in text
    assert "Looked at: the settings, h:1;" in text
    assert "watched for 5.0 s. The look cost 14 commands." in text


def test_nothing_found_is_said_with_what_was_looked_at(seen: Callable[[Evidence], None]) -> None:
    seen(FULL)
    text = run("--only", "plain-backend")
    assert text.startswith("Nothing was found in what could be looked at.\n")
    assert "Looked at: the settings, h:1;" in text


def test_json_is_one_object(seen: Callable[[Evidence], None]) -> None:
    seen(FULL)
    told = json.loads(run("--json", "--only", "memory-full"))
    (finding,) = told.pop("findings")
    assert (finding["id"], finding["severity"], finding["docs"]) == (
        "memory-full",
        "error",
        "doctor.html#memory-full",
    )
    assert told == {
        "unknown": ["the moon: it is cloudy"],
        "looked_at": ["the settings", "h:1"],
        "seconds": 5.0,
        "commands": 14,
    }


def test_what_a_change_saves_is_shown() -> None:
    finding = Finding(
        id="a",
        severity=Severity.WARNING,
        what="What.",
        why="Why.",
        change="Change.",
        saves=257_126.4,
        at_most=True,
        arithmetic="3 x 4",
    )
    text = as_text(Report(findings=(finding,)))
    assert text.startswith("1. WARNING  a  saves up to 257,126 commands a day\n")
    assert "   Gain: 3 x 4\n" in text


@pytest.mark.parametrize(
    ("arguments", "fails"),
    [
        (("--fail-on", "error"), True),
        (("--fail-on", "warning"), True),
        (("--fail-on", "error", "--skip", "memory-full"), False),
        ((), False),
    ],
)
def test_a_script_is_told_by_the_exit_code(
    seen: Callable[[Evidence], None], arguments: tuple[str, ...], fails: bool
) -> None:
    seen(FULL)
    if not fails:
        assert run(*arguments)
        return
    with pytest.raises(CommandError, match="memory-full") as raised:
        run(*arguments)
    assert raised.value.returncode == 1


def test_a_script_is_told_when_no_server_could_be_looked_at(
    seen: Callable[[Evidence], None],
) -> None:
    seen(Evidence(unknown=("broker_url: it is down",)))
    with pytest.raises(CommandError, match="No server") as raised:
        run("--fail-on", "error")
    assert raised.value.returncode == 3
    assert "Nothing was found in what could be looked at." in run("--skip", "middleware-missing")
    seen(Evidence())  # a site without Redis
    run("--fail-on", "error")


def test_ctrl_c_ends_it_as_a_shell_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(seconds: float, **options: Any) -> Evidence:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "look", stopped)
    with pytest.raises(SystemExit) as raised:
        run()
    assert raised.value.code == 130


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "nothing"), "--only: there is no 'nothing'. There are: jobs-in-cache-database"),
        (("--skip", "nothing"), "--skip: there is no"),
        (("--seconds", "0"), "--seconds takes"),
        (("--seconds", "nan"), "--seconds takes"),
        (("--seconds", "86401"), "--seconds takes"),
    ],
)
def test_options_that_are_wrong(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words) as raised:
        run(*arguments)
    assert raised.value.returncode == 2


def test_what_it_looks_for_is_listed() -> None:
    assert "plain-backend" in run("--list")


def test_its_help_has_examples() -> None:
    words = command.Command().create_parser("manage.py", "redis_optimizer_doctor").format_help()
    assert "--fail-on error" in words
    assert "exit codes:" in words
