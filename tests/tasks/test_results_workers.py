"""The Redis backend in real workers, beside Celery's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
import redis
from celery import states

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks.results.retention import key_of_kept
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.results import lasting

TASKS = "tests.tasks.site.results"
LEAN = "redis_optimizer.tasks.results:RedisBackend+"

CANVAS = """
import json, threading, time
from celery import chain, chord, group
from tests.tasks.site.results import add, again, fail, late, parent, total, unserializable

def outcome(function):
    try:
        return function()
    except Exception as error:
        return type(error).__name__, str(error)

def get(result, **options):
    return outcome(lambda: result.get(timeout=60, **options))

def wait(result):
    while not result.ready():
        time.sleep(0.05)
    return result

found = {}
found["get"] = get(add.delay(1, 2))
found["pending"] = get(late.delay(3))
done = wait(add.delay(3, 4))
found["late"] = get(app.AsyncResult(done.id)), get(app.AsyncResult(done.id)), done.state
failed = fail.delay(5)
found["failed"] = get(failed), failed.state, get(failed, propagate=False).__class__.__name__
found["traceback"] = "KeyError: 5" in failed.traceback
found["retried"] = get(again.delay(2))
found["given up"] = get(again.delay(9))[0]
found["unserializable"] = get(unserializable.delay())[0]
found["group"] = get(group(add.s(n, n) for n in range(20)).delay())
bad = group(add.s(1, 1), fail.s(1), add.s(2, 2)).delay()
found["bad group"] = get(bad), get(bad, propagate=False)[2], bad.failed(), bad.completed_count()
native = group(late.s(n, 0.1 * n) for n in range(4)).delay()
found["native"] = sorted(meta["result"] for _, meta in native.iter_native(timeout=60))
found["chord"] = get(chord([add.s(n, 1) for n in range(10)])(total.s()))
# Celery stores the error of the job and that of the chord, one after the other.
bad_chord = get(chord([add.s(1, 1), fail.s(1)])(total.s()))[0]
found["bad chord"] = bad_chord in ("KeyError", "ChordError") or bad_chord
found["chain"] = get(chain(add.s(1, 1), add.s(10), late.s(0.1))())
broken = chain(add.s(1, 1), fail.s(), add.s(1))()
found["broken chain"] = get(broken), broken.parent.state, get(broken.parent.parent)
nested = chain(group(add.s(1, 1), add.s(2, 2)), total.s(), add.s(1))()
found["nested"] = get(nested)
child = parent.delay(7)
found["children"] = get(child) == child.children[0].id, get(child.children[0])
saved = group(add.s(n, 2) for n in range(3)).delay()
saved.save()
saved_id = saved.id
del saved  # Celery 5.6 answers only the first that waits for a job
found["saved"] = get(app.GroupResult.restore(saved_id))
wait(done).forget()
found["forgotten"] = app.AsyncResult(done.id).state
revoked = late.apply_async((1,), expires=-1)
found["revoked"] = get(revoked), revoked.state
found["meta"] = sorted(app.backend.get_task_meta(failed.id))
threads, answers = [], {}
shared = late.delay("shared")
for name in range(8):
    def run(name=name):
        answers[name] = get(late.delay(name, 0.1)), get(app.AsyncResult(shared.id))
    threads.append(threading.Thread(target=run))
    threads[-1].start()
for thread in threads:
    thread.join()
found["threads"] = sorted(answers.items())
print(json.dumps(found, default=str))
"""


def make_site(directory: Path, server: EmbeddedServer, prefix: str = LEAN, **more: Any) -> Site:
    database = 1 if prefix else 2
    url = f"{prefix}redis://{HOST}:{server.port}/{database}"
    settings = {
        "CELERY_RESULT_BACKEND": url,
        "CELERY_RESULT_EXTENDED": True,
        "CELERY_BROKER_URL": f"redis://{HOST}:{server.port}/{database}",
        "CELERY_TASK_TRACK_STARTED": True,
    }
    directory.mkdir(exist_ok=True)
    return Site(directory, server.port, tasks=[TASKS], settings=settings | more)


def canvas(site: Site) -> dict[str, Any]:
    with site.worker("-c", "4"):
        found: dict[str, Any] = json.loads(site.produce(CANVAS).stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_everything_that_waits_for_results_gets_the_same(
    tmp_path: Path, server: EmbeddedServer
) -> None:
    plain = canvas(make_site(tmp_path / "plain", server, ""))
    assert "TimeoutError" not in json.dumps(plain)
    assert plain["chord"] == 55
    assert plain["revoked"][1] == states.REVOKED
    assert canvas(make_site(tmp_path / "lean", server)) == plain
    off = make_site(tmp_path / "off", server, REDIS_OPTIMIZER={"ENABLED": False})
    assert canvas(off) == plain


@pytest.fixture
def results(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with redis.Redis(HOST, server.port, db=1, decode_responses=True) as client:
        yield client


def kept(results: redis.Redis, name: str, kind: str = states.SUCCESS) -> set[str]:
    keys = results.lrange(key_of_kept(f"{TASKS}.{name}", kind), 0, -1)
    return {key.removeprefix("celery-task-meta-") for key in keys}


def test_the_last_of_each_task_are_kept(
    tmp_path: Path, server: EmbeddedServer, results: redis.Redis
) -> None:
    site = make_site(tmp_path, server, CELERY_TASK_TRACK_STARTED=False)
    send = """
from celery import group
from tests.tasks.site.results import add, die, every, fail, few, late
for number in range(12): add.delay(number)
for number in range(7): fail.delay(number)
for number in range(6): few.delay(number); every.delay(number)
for number in range(4): die.delay()
for number in range(2): late.apply_async((1,), expires=-1)
print(group(late.s(n, 0) for n in range(9)).delay().results)
"""
    with site.worker("-c", "1"):  # one after the other, so that the last are known
        grouped = site.produce(send).stdout
        wait_until(lambda: len(results.keys("celery-task-meta-*")) == 46)
    stay = lasting(results)
    assert len(kept(results, "add")) == 5
    assert len(kept(results, "few")) == 2
    assert len(kept(results, "fail", states.FAILURE)) == 3
    # Both are stored by the main process: no child lives to tell.
    assert len(kept(results, "die", states.FAILURE)) == 3
    assert len(kept(results, "late", states.FAILURE)) == 2
    counted = {
        *(kept(results, "add") | kept(results, "few") | kept(results, "fail", states.FAILURE)),
        *(kept(results, "die", states.FAILURE) | kept(results, "late", states.FAILURE)),
    }
    assert counted < stay
    others = stay - counted
    assert len({job for job in others if job in grouped}) == 9
    assert len(others) == 9 + 6  # the groups' and those of `every`
    assert not kept(results, "late")


@pytest.mark.slow
def test_hundreds_of_runs_leave_five_and_three(
    tmp_path: Path, server: EmbeddedServer, results: redis.Redis
) -> None:
    site = make_site(tmp_path, server, CELERY_TASK_TRACK_STARTED=False)
    send = """
from tests.tasks.site.results import add, fail
with app.producer_pool.acquire() as producer:
    for number in range(150):
        add.apply_async((number,), producer=producer)
        fail.apply_async((number,), producer=producer)
"""
    with site.worker("-c", "2", "--without-gossip"):
        site.produce(send)
        wait_until(lambda: results.info("commandstats")["cmdstat_lpush"]["calls"] > 300)
        wait_until(lambda: results.dbsize() >= 300)
    assert len(lasting(results)) == 5 + 3
    # Only what lasts is left when the grace is over.
    for key in results.scan_iter("celery-task-meta-*"):
        if 0 <= results.ttl(key) <= 60:
            results.delete(key)
    assert len(results.keys("celery-task-meta-*")) == 8


THREADS = """
import threading
from celery import group
from tests.tasks.site.results import add, late
answers = []

def run(name):
    for number in range(10):
        answers.append(add.delay(name, number).get(timeout=60) == name + number)
    answers.append(app.AsyncResult(shared.id).get(timeout=60) == "shared")
    sums = group(add.s(name, number) for number in range(5)).delay()
    answers.append(sums.get(timeout=60) == [name + number for number in range(5)])

shared = late.delay("shared", 0.2)
threads = [threading.Thread(target=run, args=(name,)) for name in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert answers == [True] * 8 * 12, answers
"""


@pytest.mark.skipif(celery.VERSION < (5, 7), reason="Celery 5.6 has no lock around its Pub/Sub")
def test_threads_can_share_one_backend(tmp_path: Path, server: EmbeddedServer) -> None:
    site = make_site(tmp_path, server, CELERY_RESULT_BACKEND_THREAD_SAFE=True)
    with site.worker():
        site.produce(THREADS)
