"""What makes two calls equal."""

import datetime
import decimal
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from django.test import override_settings
from django.utils.translation import gettext_lazy

from redis_optimizer.tasks import OptimizedTask
from redis_optimizer.tasks.keys import key_of, mode_of

SAME = uuid.UUID(int=1)
CODE = """
from django.conf import settings
settings.configure()
from celery import Celery
from redis_optimizer.tasks import OptimizedTask
from redis_optimizer.tasks.keys import key_of
app = Celery(set_as_current=False)
@app.task(base=OptimizedTask, dedup="until_executed", name="sync")
def sync(user, *more, deep=False, **extra): ...
print(key_of(sync, (1, "é", {"b": [1.5, None], "a": True}), {"deep": True}))
"""
KEY = "redis_optimizer:default:dedup:sync:until_executed-"


@pytest.fixture
def app() -> Celery:
    return Celery("keys", set_as_current=False)


Declare = Callable[..., Any]


@pytest.fixture
def declare(app: Celery) -> Declare:
    def declare(**options: Any) -> Any:
        given = {"name": "sync", "dedup": "until_executed"} | options

        @app.task(base=OptimizedTask, shared=False, **given)
        def sync(user: Any, *more: Any, deep: bool = False, **extra: Any) -> None: ...

        return sync

    return declare


def equal(task: Any, *calls: tuple[tuple[Any, ...], dict[str, Any]]) -> bool:
    return len({key_of(task, args, kwargs) for args, kwargs in calls}) == 1


def test_sites_with_key_prefixes_do_not_meet(app: Celery, declare: Declare) -> None:
    sync = declare()
    app.conf.broker_transport_options = {"global_keyprefix": "a:"}
    assert key_of(sync, (1,), {}).startswith(f"a:{KEY}")


def test_a_key_names_the_site_the_task_and_the_mode(declare: Declare) -> None:
    sync = declare()
    assert key_of(sync, (1,), {}).startswith(KEY)
    assert mode_of(key_of(sync, (1,), {})) == "until_executed"
    with override_settings(REDIS_OPTIMIZER={"NAMESPACE": "shop:eu"}):
        assert key_of(sync, (1,), {}).startswith("redis_optimizer:shop:eu:dedup:sync:")


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_key_is_the_same_in_every_process(declare: Declare, seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    args = (1, "é", {"a": True, "b": (1.5, None)})
    assert done.stdout.strip() == key_of(declare(), args, {"deep": True})


def test_a_key_never_changes(declare: Declare) -> None:
    """Old and new processes of a deployment must meet."""
    assert key_of(declare(), (1,), {"deep": True}) == KEY + "df8e285a4499ad79d0b9ab8f457c014b"


def test_how_an_argument_is_given_does_not_matter(declare: Declare) -> None:
    sync = declare()
    assert equal(sync, ((1,), {}), ((), {"user": 1}), ((1,), {"deep": False}))
    assert equal(sync, ((1,), {"x": 1, "y": 2}), ((1,), {"y": 2, "x": 1}))
    assert not equal(sync, ((1,), {}), ((1, 2), {}))
    assert not equal(sync, ((1,), {}), (("1",), {}))


def test_only_the_arguments_that_are_named_count(declare: Declare) -> None:
    sync = declare(dedup_on=("user", "tag"))
    assert equal(sync, ((1,), {}), ((1, 2), {"deep": True, "other": 3}))
    assert not equal(sync, ((1,), {}), ((1,), {"tag": "a"}))
    assert not equal(sync, ((1,), {}), ((2,), {}))


def test_one_name_needs_no_sequence(declare: Declare) -> None:
    assert equal(declare(dedup_on="user"), ((1,), {}), ((1,), {"deep": True}))


def test_a_function_may_say_what_counts(declare: Declare) -> None:
    def by_name(user: Any, **kwargs: Any) -> Any:
        return user.lower(), kwargs.get("deep", True)

    sync = declare(dedup_on=by_name)
    assert equal(sync, (("Ann",), {}), (("ann",), {"deep": True}))
    assert not equal(sync, (("ann",), {}), (("ann",), {"deep": False}))


def test_a_function_of_a_class_may_say_what_counts(app: Celery) -> None:
    class Sync(OptimizedTask):
        name = "sync"
        dedup = "until_executed"

        @staticmethod
        def dedup_on(user: int) -> int:
            return user % 2

        def run(self, user: int) -> None: ...

    sync = app.register_task(Sync())
    assert equal(sync, ((1,), {}), ((3,), {}))
    assert not equal(sync, ((1,), {}), ((2,), {}))


def test_a_bound_function_does_not_count_itself(app: Celery) -> None:
    @app.task(
        base=OptimizedTask, shared=False, bind=True, dedup="keep_last", autoretry_for=(KeyError,)
    )
    def sync(self: Any, user: int, deep: bool = False) -> None: ...

    assert equal(sync, ((1,), {}), ((), {"user": 1, "deep": False}))


@pytest.mark.parametrize(
    "value",
    [
        SAME,
        datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC),
        datetime.date(2026, 1, 2),
        datetime.time(3, 4),
        datetime.timedelta(days=1, microseconds=2),
        decimal.Decimal("1.10"),
        b"bytes",
        gettext_lazy("Yes"),
        float("nan"),
        {1: "a"},
    ],
    ids=repr,
)
def test_values_that_celery_can_send_have_a_form(declare: Declare, value: Any) -> None:
    sync = declare()
    assert equal(sync, ((value,), {}), ((), {"user": value}))
    assert not equal(sync, ((value,), {}), ((repr(value),), {}))


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, {"a": {1: 1, "b": 2}}], ids=["object", "set", "keys"]
)
def test_a_value_without_a_form_is_named(declare: Declare, value: Any) -> None:
    with pytest.raises(TypeError, match="'user' has no form that is the same in every process"):
        key_of(declare(), (value,), {})
    with pytest.raises(TypeError, match="the result of dedup_on"):
        key_of(declare(name="other", dedup_on=lambda user: object()), (value,), {})


def test_arguments_that_do_not_fit_are_an_error_of_the_call(declare: Declare) -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'user'"):
        key_of(declare(), (), {})


def test_without_typing_arguments_that_do_not_fit_count_as_they_are(declare: Declare) -> None:
    sync = declare(typing=False, dedup_on="user")
    assert not equal(sync, ((), {"tag": 1}), ((), {"tag": 2}))
