"""Cases: the ways to call a task, and its options."""

import pickle
from datetime import UTC, datetime, timedelta

from celery.result import ResultSet, result_from_tuple

from tests.tasks.canvas.case import case
from tests.tasks.site import canvas as tasks
from tests.tasks.site import canvas_record

PAST = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
FUTURE = datetime(2200, 1, 2, 3, 4, 5, tzinfo=UTC)


@case
def delay(run):
    run.name("job", tasks.add.delay(1, 2))
    run.name("keywords", tasks.echo.delay(1, two=2))
    run.name("bound", tasks.bound.delay(1))
    run.name("silent", tasks.silent.delay(1))


@case
def many(run):
    for number in range(12):
        run.name(f"job{number}", tasks.add.delay(number, 1))


@case
def arguments(run):
    run.name("lists", tasks.add.apply_async(args=[1, 2]))
    run.name("keywords", tasks.echo.apply_async(kwargs={"a": {"b": [1, None]}}))
    run.name("text", tasks.echo.apply_async(("é€😀" * 50,)))
    run.name("hidden", tasks.echo.apply_async(("secret",), argsrepr="(***)", kwargsrepr="{***}"))


@case
def options(run):
    for label, chosen in {
        "queue": {"queue": "other"},
        "routing_key": {"exchange": "", "routing_key": "other"},
        "priority": {"priority": 3},
        "headers": {"headers": {"tenant": "a", "deep": {"b": [1]}}},
        "ignored": {"ignore_result": True},
        "kept": {"ignore_result": False},
        "limits": {"time_limit": 50, "soft_time_limit": 40},
        "shadow": {"shadow": "other.name"},
        "zlib": {"compression": "zlib"},
        "correlation_id": {"correlation_id": "mine"},
        "reply_to": {"reply_to": "somewhere"},
        "retry": {"retry": False},
        "policy": {"retry_policy": {"max_retries": 1}},
        "transient": {"delivery_mode": 1},
        "expires": {"expires": FUTURE},
        "expires_seconds": {"expires": 500.0},
        "stamp": {"stamped_headers": ["stamp"], "stamp": "value"},
    }.items():
        run.name(label, tasks.bound.apply_async((label,), **chosen))


@case
def serializers(run):
    for name in ("json", "pickle", "yaml", "msgpack", "shout"):
        run.name(name, tasks.echo.apply_async(([1, "two"],), {"three": None}, serializer=name))
    kept = {1, 2}, timedelta(seconds=3)
    run.name("objects", tasks.untyped.apply_async((kept,), serializer="pickle"))
    run.name(
        "zlib", tasks.echo.apply_async((b"\x00\xff",), serializer="pickle", compression="zlib")
    )


@case(eager=False)
def later(run):
    run.name("countdown", tasks.add.apply_async((1, 2), countdown=0.3))
    run.name("eta", tasks.add.apply_async((1, 2), eta=PAST))
    run.name("expired", tasks.add.apply_async((1, 2), expires=PAST))


@case
def own_ids(run):
    run.name("own", tasks.add.apply_async((1, 2), task_id="9f6fcd6c-0c5f-4b53-a3a5-000000000001"))


@case(eager=False)
def by_name(run):
    app = tasks.add.app
    run.name("job", app.send_task("tests.tasks.site.canvas.add", (1, 2)))
    run.name("options", app.send_task("canvas.custom", ("a",), priority=6, queue="other"))
    run.name("unknown", app.send_task("tests.tasks.site.nowhere", (1,), ignore_result=True))
    run.name("signature", app.signature("tests.tasks.site.canvas.add", (2, 3)).delay())


@case
def signatures(run):
    run.name("job", tasks.add.s(1, 2).delay())
    run.name("partial", tasks.add.s(2).delay(1))
    run.name("immutable", tasks.add.si(1, 2).apply_async())
    run.name("options", tasks.echo.s(1).set(priority=3, headers={"a": "b"}).apply_async())
    run.name("call", tasks.add.s(1, 2).apply_async(ignore_result=True))
    run.note("direct", [tasks.add(1, 2), tasks.add.s(1, 2)(), tasks.bound(1)])


@case
def applied(run):
    """Run in the caller's process."""
    result = run.name("job", tasks.add.apply((1, 2)))
    run.note("result", [type(result).__name__, result.state, result.get()])
    failed = run.name("failed", tasks.boom.apply())
    run.note("failed", [failed.state, repr(failed.result)])
    run.attempt("throws", tasks.boom.apply, throw=True)
    run.note("retried", tasks.retry.apply((2,)).get())
    run.note("chain", (tasks.add.s(1, 2) | tasks.add.s(3)).apply().get())


@case
def classes(run):
    run.name("job", tasks.custom.delay("a"))
    run.name("failed", tasks.custom.delay("a", fail=True))
    run.name("handled", tasks.handled.delay("b"))


@case
def refused(run):
    """Fail at the call, for that call alone: its neighbours are sent."""
    run.name("before", tasks.echo.delay("before"))
    run.attempt("few", tasks.add.delay, 1)
    run.attempt("many", tasks.add.delay, 1, 2, 3)
    run.attempt("keyword", tasks.add.delay, 1, 2, z=3)
    run.attempt("not a list", tasks.add.apply_async, "ab")
    run.attempt("not typed", lambda: run.name("untyped", tasks.untyped.delay(1, 2)).id and None)
    run.name("after", tasks.echo.delay("after"))


@case(eager=False)
def unserializable(run):
    """Fail as `refused` does, after before_task_publish."""
    run.name("before", tasks.echo.delay("before"))
    for label, value in {"object": tasks.Custom, "generator": (n for n in ())}.items():
        try:
            tasks.echo.delay(value)
        except Exception as error:
            run.note(label, type(error).__name__)
    run.attempt("serializer", tasks.echo.apply_async, (1,), serializer="none such")
    run.attempt("compression", tasks.echo.apply_async, (1,), compression="none such")
    run.name("after", tasks.echo.delay("after"))


@case(eager=False)
def asked(run):
    """Ask for the result of a job that is still buffered."""
    run.note("get", run.name("get", tasks.add.delay(1, 2)).get(timeout=60))
    run.note("wait", run.name("wait", tasks.add.delay(1, 3)).wait(timeout=60))
    run.attempt("raises", run.name("boom", tasks.boom.delay()).get, timeout=60)
    failed = run.name("kept", tasks.boom.delay())
    run.note("no raise", failed.get(timeout=60, propagate=False))
    run.note("failed", [failed.failed(), failed.successful(), failed.ready(), failed.state])
    done = run.name("forgotten", tasks.add.delay(1, 4))
    run.note("before", done.get(timeout=60))
    done.forget()
    run.note("forgotten", tasks.add.AsyncResult(done.id).state)
    other = run.name("other", tasks.add.delay(1, 5))
    run.note("other", tasks.add.AsyncResult(other.id).get(timeout=60))
    polled = run.name("polled", tasks.add.delay(1, 6))
    run.wait(polled, "task_postrun")
    run.note("polled", [polled.state, polled.result])


@case(eager=False)
def waited_for(run):
    """Wait for jobs in the less usual ways."""
    both = [run.name(f"set{n}", tasks.add.delay(n, 1)) for n in range(2)]
    run.note("set", ResultSet(both).get(timeout=60))
    both = [run.name(f"join{n}", tasks.add.delay(n, 1)) for n in range(2)]
    run.note("join", ResultSet(both).join(timeout=60))
    ready = run.name("ready", tasks.add.delay(1, 2))
    canvas_record.wait(ready.ready)
    run.note("ready", [ready.successful(), ready.failed(), ready.info])
    step = run.name("leaf", (tasks.add.s(1, 2) | tasks.add.s(3)).delay())
    run.note("parent", step.parent.get(timeout=60))
    run.note("leaf", step.get_leaf())
    collected = run.name("collected", tasks.add.apply_async((1, 2), link=tasks.add.s(3)))
    run.note("collected", [value for _, value in collected.collect(timeout=60)])
    copy = tasks.add.app.AsyncResult(run.name("copy", tasks.add.delay(1, 2)).id)
    run.note("copy", copy.get(timeout=60))
    pickled = pickle.loads(pickle.dumps(run.name("pickled", tasks.add.delay(1, 2))))
    run.note("pickled", pickled.get(timeout=60))
    tree = run.name("tuple", tasks.add.delay(1, 2)).as_tuple()
    run.note("tuple", result_from_tuple(tree, app=tasks.add.app).get(timeout=60))
