"""Trimming the results in Redis: those that Celery stored, and ours."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

from redis_optimizer.tasks.prune import Found, Pruning, Report
from redis_optimizer.tasks.results import retention
from redis_optimizer.tasks.results.counts import counter
from redis_optimizer.tasks.results.retention import key_of_kept, prefix_of

__all__ = ["prune_redis"]


def prune_redis(
    backend: Any,
    *,
    task: str | None = None,
    dry_run: bool = False,
    batch_size: int = 500,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Give results that newer ones have replaced 60 s to go.

    Args:
        backend: Celery's Redis backend, or one of ours.
        task: Only results of this task; None for all.
        dry_run: Change nothing.
        batch_size: How many results are read at a time.
        progress: Called after each batch, and now and then amid the look for keys; what it raises
            ends the run between two batches.

    Returns:
        What was found, and what becomes of it.

    Raises:
        redis.RedisError: the server could not be reached, or refused.
    """
    client = backend.client
    report = Report(backend.as_uri())
    going: list[Found] = []
    pruning = Pruning(backend.app, report, going.append, task)
    scan = partial(_scan, client, tick=lambda: progress(report))
    kept = _kept_tasks(client, scan, key_of_kept("", "", prefix_of(backend)).rstrip(":") + ":")
    for keys in _in_batches(scan(backend.task_keyprefix, size=batch_size), batch_size):
        report.seen += len(keys)
        for key, value, left in _read_all(client, keys):
            found = _read(backend, key, value, left, kept)
            if found is None:
                report.left["unreadable"] += 1
            else:
                pruning.add(found)
        if going and not dry_run:
            _expire(client, going)
            counter.pruned += len(going)
        going.clear()
        progress(report)
    return report


def _scan(
    client: Any, prefix: str | bytes, *, tick: Callable[[], None], size: int = 500
) -> Iterator[Any]:
    """Yield the keys that begin so; ``tick`` is called at each step, most of which find none."""
    cursor = None
    while cursor != 0:
        cursor, names = client.scan(cursor or 0, _glob(prefix), size)
        tick()
        yield from names


def _kept_tasks(client: Any, scan: Callable[[str], Iterator[Any]], prefix: str) -> dict[bytes, str]:
    """Return the tasks of the results that our backend keeps: Celery need not have stored them."""
    tasks: dict[bytes, str] = {}
    for name in scan(prefix):
        task = _as_text(name)[len(prefix) :].rpartition(":")[0]
        tasks.update((_as_bytes(key), task) for key in client.lrange(name, 0, -1))
    return tasks


def _read(backend: Any, key: Any, value: Any, left: int, kept: dict[bytes, str]) -> Found | None:
    try:
        meta = backend.decode(value)
        state = meta["status"]
        done = datetime.fromisoformat(meta.get("date_done") or datetime.now(UTC).isoformat())
    except Exception:  # any serializer, any content: what cannot be read is left alone
        return None
    return Found(
        done=done if done.tzinfo else done.replace(tzinfo=UTC),
        key=_as_bytes(key),
        state=state,
        task=meta.get("name") or kept.get(_as_bytes(key)),
        group=bool(meta.get("group_id")),
        lasting=left == -1 or left > retention.GRACE,
    )


def _read_all(client: Any, keys: list[Any]) -> Iterator[tuple[Any, Any, int]]:
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.get(key).ttl(key)
        # A key of another type is an error, but of its own alone.
        read = pipeline.execute(raise_on_error=False)
    return zip(keys, read[::2], read[1::2], strict=True)


def _expire(client: Any, going: list[Found]) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for found in going:
            pipeline.expire(found.key, retention.GRACE)
        pipeline.execute()


def _in_batches(keys: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(keys, size)):
        yield batch


def _glob(prefix: str | bytes) -> bytes:
    return re.sub(rb"([*?\[\]^\\])", rb"\\\1", _as_bytes(prefix)) + b"*"


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _as_text(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text
