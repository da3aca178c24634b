"""What is read of uWSGI's options, and the hook of its forks; uWSGI itself: tests/processes."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from redis_optimizer import uwsgi
from redis_optimizer.core import forks

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uwsgi, "_server", None)
    monkeypatch.setattr(uwsgi, "_has_threads", True)
    monkeypatch.setattr(uwsgi, "_is_graceful", True)
    monkeypatch.setattr(forks, "_in_child", [])
    monkeypatch.setitem(sys.modules, "uwsgidecorators", None)  # cannot be imported


GRACEFUL = {"hook-master-start": b"unix_signal:15 gracefully_kill_them_all"}


def run_under(monkeypatch: pytest.MonkeyPatch, worker: int = 1, **options: Any) -> SimpleNamespace:
    """Make this process look like one of uWSGI's, which stops gracefully unless it is told not."""
    given = GRACEFUL | {name.replace("_", "-"): value for name, value in options.items()}
    server = SimpleNamespace(opt=given, worker_id=lambda: worker)
    monkeypatch.setitem(sys.modules, "uwsgi", server)
    uwsgi.prepare()
    return server


def test_elsewhere_jobs_can_wait() -> None:
    uwsgi.prepare()
    assert uwsgi.can_wait()
    assert uwsgi.has_threads()


@pytest.mark.parametrize(
    "options", [{"enable_threads": True}, {"enable_threads": b"true"}, {"threads": b"2"}]
)
def test_with_threads_jobs_can_wait(monkeypatch: pytest.MonkeyPatch, options: Any) -> None:
    run_under(monkeypatch, **options)
    assert uwsgi.has_threads()
    assert uwsgi.can_wait()


@pytest.mark.parametrize("options", [{}, {"enable_threads": b"false"}, {"threads": b"1"}])
def test_without_threads_they_cannot_and_the_log_names_the_option(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, options: Any
) -> None:
    run_under(monkeypatch, **options)
    assert not uwsgi.has_threads()
    assert not uwsgi.can_wait()
    assert "Set enable-threads = true." in caplog.text


@pytest.mark.parametrize("hook", [b"", b"chdir:/", None])
def test_where_a_request_may_be_cut_off_they_cannot_either(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hook: Any
) -> None:
    run_under(monkeypatch, threads=b"2", hook_master_start=hook)
    assert uwsgi.has_threads()
    assert not uwsgi.can_wait()
    assert "Set hook-master-start = unix_signal:15 gracefully_kill_them_all." in caplog.text


def test_by_a_fifo_a_site_may_stop_gracefully(monkeypatch: pytest.MonkeyPatch) -> None:
    run_under(monkeypatch, threads=b"2", hook_master_start=b"", master_fifo=b"/run/site.fifo")
    assert uwsgi.can_wait()


def test_what_a_site_has_of_that_name_is_not_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Such as a directory with the server's configuration, or a module that holds the site."""
    monkeypatch.delitem(sys.modules, "uwsgi", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "uwsgi").mkdir()
    uwsgi.prepare()
    assert "uwsgi" not in sys.modules
    monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
    uwsgi.prepare()
    assert uwsgi.can_wait()


def test_nor_can_they_in_the_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    run_under(monkeypatch, worker=0, enable_threads=True)
    assert uwsgi.has_threads()
    assert not uwsgi.can_wait()


def test_a_child_begins_anew_and_a_hook_of_the_site_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[str] = []
    monkeypatch.setattr(forks, "_in_child", [lambda: called.append("ours")])
    server = SimpleNamespace(
        opt={"enable-threads": True},
        worker_id=lambda: 1,
        post_fork_hook=lambda: called.append("the site's"),
    )
    monkeypatch.setitem(sys.modules, "uwsgi", server)
    uwsgi.prepare()
    server.post_fork_hook()
    assert called == ["ours", "the site's"]


def test_decorators_of_the_site_take_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """uwsgidecorators, when it is imported, puts its hook in the place of any other."""
    chain: list[Any] = []
    decorators = SimpleNamespace(postfork=chain.append, postfork_chain_hook=lambda: None)
    monkeypatch.setitem(sys.modules, "uwsgidecorators", decorators)
    own = lambda: None  # noqa: E731
    server = SimpleNamespace(opt={"threads": b"4"}, worker_id=lambda: 1, post_fork_hook=own)
    monkeypatch.setitem(sys.modules, "uwsgi", server)
    uwsgi.prepare()
    assert chain == [forks.begin_child, own]
