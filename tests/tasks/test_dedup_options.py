"""Options of deduplication that are wrong, or wrong for the broker and the worker."""

from typing import Any

import pytest
from celery import Celery
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.checks.tasks import check_tasks
from redis_optimizer.tasks import DedupTask, OptimizedTask

URL = "redis://127.0.0.1:1/0"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Celery:
    app = Celery("options", broker=URL, set_as_current=False)
    monkeypatch.setattr("redis_optimizer.checks.tasks.app_or_default", lambda: app)
    return app


def declare(app: Celery, **options: Any) -> Any:
    """Return a task with options of deduplication."""

    @app.task(base=OptimizedTask, shared=False, name="sync", **options)
    def sync(user: int, *, deep: bool = False) -> None: ...

    app.finalize()
    return app.tasks["sync"]


def check(app: Celery) -> dict[str | None, CheckMessage]:
    return {message.id: message for message in check_tasks() if message.obj in ("sync", None)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dedup": "always"}, "dedup must be one of until_executing, until_executed, throttle, "),
        ({"dedup": True}, "not True"),
        ({"dedup": "until_executed", "dedup_ttl": 0}, "dedup_ttl must be .* not 0: a lock that"),
        ({"dedup": "until_executed", "dedup_ttl": -1}, "more than 0, not -1"),
        ({"dedup": "until_executed", "dedup_ttl": float("inf")}, "not inf"),
        ({"dedup": "until_executed", "dedup_ttl": "60"}, "not '60'"),
        ({"dedup": "until_executed", "dedup_ttl": True}, "not True"),
        ({"dedup": "throttle"}, "throttle needs dedup_ttl"),
        ({"dedup": "debounce"}, "debounce needs dedup_ttl"),
        ({"dedup": "until_executed", "dedup_on": ("usr",)}, r"'usr', which is none .*user, deep"),
        ({"dedup": "until_executed", "dedup_on": ()}, "dedup_on names no argument"),
        ({"dedup": "keep_last", "bulk": True}, "a bulk task cannot have dedup='keep_last'"),
        ({"dedup": "until_executed", "bulk": True, "dedup_on": "user"}, "of a bulk task"),
    ],
)
def test_a_wrong_option_is_an_error_of_the_declaration(
    app: Celery, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"Task sync: .*{message}"):
        declare(app, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"dedup": "until_executed"},
        {"dedup": "until_executed", "dedup_on": "user", "dedup_ttl": 0.5},
        {"dedup": "keep_last", "dedup_on": ["user", "deep"], "bind": False},
        {"dedup": "debounce", "dedup_ttl": 1, "dedup_on": lambda user, **more: user},
        {"dedup": "until_executed", "bulk": True},
        {"dedup_ttl": 0},
    ],
)
def test_a_right_option_is_none(app: Celery, options: dict[str, Any]) -> None:
    assert declare(app, **options).name == "sync"


def test_the_arguments_of_a_bound_function_are_known(app: Celery) -> None:
    @app.task(base=DedupTask, shared=False, bind=True, dedup_on=["self"])
    def sync(self: Any, user: int) -> None: ...

    with pytest.raises(ImproperlyConfigured, match=r"names 'self', .* \(user\)"):
        app.finalize()


def test_the_arguments_of_a_class_are_known(app: Celery) -> None:
    class Sync(DedupTask):
        name = "sync"
        dedup_on = ("usr",)

        def run(self, user: int) -> None: ...

    with pytest.raises(ImproperlyConfigured, match="'usr'"):
        app.register_task(Sync())


def test_a_lock_shorter_than_the_visibility_timeout_is_warned_of(app: Celery) -> None:
    declare(app, dedup="until_executed", dedup_ttl=3599)
    warning = check(app)["redis_optimizer.W012"]
    assert "its dedup_ttl (3599 s) is shorter" in warning.msg
    app.conf.broker_transport_options = {"visibility_timeout": 60}
    assert check(app) == {}


@pytest.mark.parametrize("mode", ["throttle", "debounce"])
def test_a_window_may_be_short(app: Celery, mode: str) -> None:
    declare(app, dedup=mode, dedup_ttl=1)
    assert check(app) == {}


def test_keep_last_needs_late_acknowledgement(app: Celery) -> None:
    declare(app, dedup="keep_last")
    assert list(check(app)) == ["redis_optimizer.E010"]


def test_keep_last_may_have_late_acknowledgement_from_the_settings(app: Celery) -> None:
    app.conf.task_acks_late = True
    declare(app, dedup="keep_last")
    assert check(app) == {}


def test_a_broker_that_is_not_redis_is_warned_of(app: Celery) -> None:
    app.conf.broker_url = "memory://"
    declare(app, dedup="until_executed")
    (warning,) = check(app).values()
    assert warning.id == "redis_optimizer.W013"
    # Those that other tests share are among them.
    named = str(warning.hint).rpartition("out of ")[2].rstrip(".").split(", ")
    assert "sync" in named
