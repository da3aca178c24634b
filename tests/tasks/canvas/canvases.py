"""Cases: groups, chords, chains and links."""

from celery import chain, chord, group
from celery.result import GroupResult

from tests.tasks.canvas.case import case
from tests.tasks.site import canvas as tasks

add, boom, last, total = tasks.add, tasks.boom, tasks.last, tasks.total


@case
def groups(run):
    result = run.name("group", group(add.s(n, n) for n in range(7)).apply_async())
    run.note("results", result.get(timeout=60))
    run.name("one", group(add.s(1, 1))())
    run.name("nested", group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3))).delay())
    run.name("empty", group().apply_async())
    failing = run.name("failing", group(add.s(1, 1), boom.s("member"), add.s(2, 2))())
    run.note("failing", [repr(value) for value in failing.get(timeout=60, propagate=False)])


@case(eager=False)
def saved(run):
    result = run.name("group", group(add.s(1, 1), add.s(2, 2))())
    result.save()
    result.get(timeout=60)  # Celery 5.6 waits in vain for a restored result that is not there yet
    restored = GroupResult.restore(result.id, app=add.app)
    run.note("restored", restored.join(timeout=60))
    run.note("state", [restored.successful(), restored.completed_count(), restored.failed()])


@case(eager=False)
def chords(run):
    header = [*(add.s(n, n) for n in range(4)), last.s(9, 9, after=4)]
    result = run.name("chord", chord(header)(total.s()))
    run.note("result", result.get(timeout=60))
    run.name("immutable", chord([add.s(1, 1), last.s(2, 2, after=1)])(add.si(5, 5)))
    run.name("one", chord([add.s(1, 1)])(total.s()))
    run.name("piped", (group(add.s(1, 1), last.s(2, 2, after=1)) | total.s()).delay())
    middle = group(add.s(2), last.s(3, after=1))
    run.name("grouped", (add.s(1, 1) | middle | total.s() | add.s(1)).delay())


@case
def simple_chords(run):
    result = run.name("chord", chord([add.s(1, 1)], total.s())())
    run.note("result", result.get(timeout=60))


@case(eager=False)
def nested_chords(run):
    inner = chord([add.s(1, 1), last.s(2, 2, after=1)], total.s())
    result = run.name("nested", chord([inner, last.s(3, 3, after=1)])(total.s()))
    run.note("result", result.get(timeout=60))
    members = group(add.s(1, 1), add.s(2, 2))
    result = run.name("group", chord([members, last.s(3, 3, after=2)])(total.s()))
    run.note("group", result.get(timeout=60))
    steps = chain(add.s(1, 1), add.s(2))
    result = run.name("chain", chord([steps, last.s(3, 3, after=1)])(total.s()))
    run.note("chain", result.get(timeout=60))
    run.name("body", chord([add.s(1, 1)])(total.s() | add.s(1)))


@case(eager=False)
def failing_chords(run):
    failing = [add.s(1, 1), boom.s("member"), last.s(2, 2, after=2)]
    result = run.name("chord", chord(failing)(total.s().on_error(tasks.failed_id.s())))
    try:
        result.get(timeout=60)
    except Exception as error:
        run.note("error", type(error).__name__)
    run.name("body", chord([add.s(1, 1)])(boom.si("body")))
    run.name("chain", chain(boom.s("first"), chord([add.s(1), add.s(2)], total.s())).delay())


@case(eager=False)
def added_to_chord(run):
    run.note("result", run.name("c", chord([tasks.adds_to_chord.s()])(total.s())).get(timeout=60))


@case
def chains(run):
    result = run.name("chain", chain(add.s(1, 2), add.s(3), add.s(4))())
    run.note("result", result.get(timeout=60))
    run.name("piped", (add.s(1, 2) | add.si(3, 4) | tasks.echo.s()).apply_async())
    run.name("options", chain(add.s(1, 2), add.s(3).set(priority=3)).apply_async(countdown=0))
    run.name("nested", chain(add.s(1, 2), chain(add.s(3), add.s(4))).delay())
    run.name("group", chain(add.s(1, 2), group(add.s(3), add.s(4))).delay())
    run.name("retried", chain(tasks.retry.si(1), add.s(4)).delay())


@case(eager=False)
def failing_chains(run):
    run.name("chain", chain(add.s(1, 2), boom.si("middle"), add.s(4)).delay())
    run.name("errback", chain(boom.s("first"), add.s(4)).on_error(tasks.failed_id.s()).delay())


@case
def links(run):
    run.name("link", add.apply_async((1, 2), link=add.s(3)))
    run.name("links", add.apply_async((1, 2), link=[add.s(3), tasks.echo.s(), add.si(8, 8)]))
    run.name("signature", add.s(1, 2).apply_async(link=add.s(1) | add.s(2)))


@case(eager=False)
def error_links(run):
    run.name("id", boom.apply_async(("id",), link_error=tasks.failed_id.s()))
    run.name("request", boom.apply_async(("request",), link_error=tasks.failed_request.s()))
    run.name("unused", add.apply_async((1, 2), link_error=tasks.failed_id.s()))
    both = {"link": add.s(1), "link_error": [tasks.failed_id.s(), tasks.failed_request.s()]}
    run.name("both", boom.apply_async(("both",), **both))


@case
def maps(run):
    run.name("map", total.map([[1, 2], [3]]).delay())
    run.name("starmap", add.starmap([(1, 2), (3, 4)]).apply_async())
    run.name("chunks", add.chunks([(n, n) for n in range(7)], 3).group()())
    run.name("chunk", add.chunks([(n, n) for n in range(3)], 2).apply_async())
