"""A process says who it is, and no secret."""

import json
import os
import subprocess
import sys

import pytest

from redis_optimizer.stats import process
from redis_optimizer.stats.process import facts, set_kind


@pytest.fixture(autouse=True)
def _kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_kind", None)
    for name in ("wsgi", "asgi"):
        monkeypatch.delitem(sys.modules, f"django.core.{name}", raising=False)


def test_it_is_found_by_pid_and_host() -> None:
    seen = facts()
    assert (seen["pid"], seen["kind"]) == (os.getpid(), "other")
    assert seen["host"]
    assert json.loads(json.dumps(seen)) == seen
    assert facts()["id"] == seen["id"]


@pytest.mark.parametrize(
    ("arguments", "command", "kind"),
    [
        (["/srv/site/manage.py", "migrate", "--database=x"], "manage.py migrate", "command"),
        (["/srv/site/manage.py", "runserver", "8000"], "manage.py runserver", "other"),
        (["/v/bin/gunicorn", "--env", "REDIS=redis://:secret@h"], "gunicorn", "other"),
        (["/v/site-packages/django/__main__.py", "shell"], "django shell", "command"),
        (["/v/site-packages/celery/__main__.py", "worker"], "celery", "other"),
        (["manage.py", "redis://:secret@h"], "manage.py", "other"),
        (["-c", "secret"], "python", "other"),
        ([], "python", "other"),
    ],
)
def test_of_the_arguments_only_a_commands_name_is_told(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], command: str, kind: str
) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    assert (facts()["command"], facts()["kind"]) == (command, kind)
    assert "secret" not in json.dumps(facts())


def test_who_has_a_site_to_serve_is_a_web_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gunicorn"])
    monkeypatch.setitem(sys.modules, "django.core.wsgi", object())
    assert facts()["kind"] == "web"
    set_kind("worker")
    assert facts()["kind"] == "worker"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_child_is_another_process() -> None:
    code = """if True:
        import os
        from redis_optimizer.stats.process import facts
        before = facts()
        pid = os.fork()
        if not pid:
            now = facts()
            os._exit(now["id"] == before["id"] or now["pid"] == before["pid"])
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_so_is_one_that_was_forked_behind_pythons_back() -> None:
    code = """if True:
        import ctypes, os
        from redis_optimizer.stats.process import facts
        before = facts()
        pid = ctypes.PyDLL(None).fork()  # as uWSGI does
        if not pid:
            now = facts()
            same = now["id"] == before["id"] or now["started"] <= before["started"]
            os._exit(same or now["id"] != facts()["id"])
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
