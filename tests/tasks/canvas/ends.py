"""Cases: how a job ends, and what it sends before it does."""

import os

from django.conf import settings

from tests.tasks.canvas.case import case
from tests.tasks.site import canvas as tasks


@case
def failures(run):
    run.name("boom", tasks.boom.delay("text"))
    run.name("expected", tasks.expected.delay())
    run.name("ignored", tasks.boom.apply_async(("text",), ignore_result=True))


@case
def retries(run):
    run.name("none", tasks.retry.delay(0))
    run.name("thrice", tasks.retry.delay(3))
    run.name("exceeded", tasks.exceed.delay())
    run.name("silently", tasks.exceed_silently.delay())
    run.name("auto", tasks.autoretry.delay(1))
    run.name("auto_exceeded", tasks.autoretry.delay(5))


@case(eager=False)
def retried_with_options(run):
    chosen = {"headers": {"a": "b"}, "priority": 3, "queue": "other", "shadow": "s", "link": None}
    run.name("job", tasks.retry.apply_async((2,), **chosen))
    run.name("linked", tasks.retry.apply_async((1,), link=tasks.add.s(1)))
    run.name("limits", tasks.retry.apply_async((1,), time_limit=50, expires=500.0))


@case
def ignored(run):
    run.name("job", tasks.ignored.delay())


@case(eager=False)
def rejected(run):
    run.name("job", tasks.rejected.delay())
    run.name("requeued", tasks.rejected.delay(requeue=True))


@case(eager=False)
def replaced(run):
    run.name("job", tasks.replaced.delay(tasks.add.si(1, 2)))
    run.name("linked", tasks.replaced.apply_async((tasks.add.si(1, 2),), link=tasks.add.s(4)))
    run.name("chain", tasks.replaced.delay(tasks.add.si(1, 2) | tasks.add.s(3)))
    run.name("group", tasks.replaced_by_group.delay())
    run.name("step", (tasks.replaced.s(tasks.add.si(1, 2)) | tasks.add.s(3)).delay())


@case
def children(run):
    run.name("job", tasks.spawn.delay())
    run.name("apart", tasks.spawn.delay(parent=False))


@case(eager=False)
def limits(run):
    never = os.path.join(os.path.dirname(settings.CANVAS_RECORD), "never")
    run.name("soft", tasks.wait_for.apply_async((never,), soft_time_limit=1, time_limit=20))
    run.name("hard", tasks.wait_for.apply_async((never,), time_limit=1))


@case(eager=False)
def revoked(run):
    control = tasks.add.app.control
    waiting = run.name("waiting", tasks.add.apply_async((1, 2), countdown=5))
    run.wait(waiting, "task_received")
    waiting.revoke()
    known = "9f6fcd6c-0c5f-4b53-a3a5-000000000002"
    # With a reply, so that the worker has the id when the job comes.
    control.broadcast("revoke", arguments={"task_id": known}, reply=True, limit=1, timeout=10)
    run.name("known", tasks.add.apply_async((1, 2), task_id=known))
    never = os.path.join(os.path.dirname(settings.CANVAS_RECORD), "never")
    running = run.name("running", tasks.wait_for.delay(never))
    run.wait(running, "task_prerun")
    running.revoke(terminate=True)
