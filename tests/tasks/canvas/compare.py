"""What two runs of the table must agree on, and in what they differ."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tests.tasks.canvas.labels import find_labels
from tests.tasks.canvas.recorder import Record

# Two runs of plain Celery differ in these, and only in these.
VOLATILE = {
    "date_done": "when it was",
    "timestamp": "when it was",
    "local_received": "when it was",
    "runtime": "how long it took",
    "clock": "Celery's logical clock counts what all processes do",
    "pid": "of the process that sent the event",
    "utcoffset": "of the machine",
    "expiration": "seconds until `expires`, counted when it is sent",
}
# What texts hold of the process, the machine or the moment. Of a request these are `hostname`,
# `origin`, and `eta` and `expires` where the call gave seconds.
TEXT = (
    (re.compile(r"\bw\d+@test"), "WORKER"),
    (re.compile(r"\bgen\d+@[\w.-]+"), "GENERATED"),  # the request's origin: process and machine
    (re.compile(r"\b0x[0-9a-f]+"), "0x"),
    (re.compile(r"\b(?!2020|2200)\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(?:\+00:00)?"), "TIME"),
)
# The label of a job stands for its id. An id of nothing that has one is that of the producer's
# thread (`reply_to`) or of one delivery (`delivery_tag`).
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SENT = ("before_task_publish", "after_task_publish")


def summarise(record: Record) -> dict[str, Any]:
    """Return what happened to each job, by its label, with nothing in it that varies by chance."""
    labels = find_labels(record.lines)
    jobs: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    traces: dict[str, list[dict[str, Any]]] = defaultdict(list)
    killed = {
        line["id"]
        for line in record.lines
        if line["event"] == "task_failure" and line["role"] == "main"
    }
    for line in record.lines:
        job, event, seen = jobs[labels.get(line["id"], line["id"])], line["event"], line["seen"]
        step = {"event": event, "role": line["role"], **seen}
        if event == "label":
            continue
        if event == "task_postrun" and line["id"] in killed:
            continue  # it may have come to that, in the 0.1 s between SIGTERM and SIGKILL
        if event == "outcome":
            job["outcome"] = seen["meta"]
        elif event == "note":
            job["notes"].append(seen)
        elif event in SENT:
            # A later attempt may be sent before the signal that ends the sending of this one.
            attempt = f"sent {seen['headers']['task']} {seen['headers']['retries']}"
            job[attempt].append(step | {"by": line["by"]})
        elif line["run"] is None:
            job["main"].append(step)
        else:
            traces[line["run"]].append(step | {"id": line["id"]})
    for trace in traces.values():
        jobs[labels[trace[0]["id"]]]["runs"].append(trace)
    for event in record.events:
        if id := event.get("uuid"):
            jobs[labels[id]]["sent" if event["type"] == "task-sent" else "events"].append(event)
    plain = _clean(json.loads(_replace(json.dumps(jobs), record.directory, labels)))
    for job in plain.values():
        _sort(job)
    return plain


def _replace(text: str, directory: str, labels: Mapping[str, str]) -> str:
    text = UUID.sub(lambda found: labels.get(found[0], "UUID"), text.replace(directory, "DIR"))
    for pattern, word in TEXT:
        text = pattern.sub(word, text)
    return text


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: item.strip().rpartition("\n")[2]  # the lines above name files and places in them
            if key == "traceback" and isinstance(item, str)
            else _clean(item)
            for key, item in value.items()
            if key not in VOLATILE
        }
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _sort(job: dict[str, Any]) -> None:
    # Attempts of a job overlap: the next one is received before the last one has ended.
    several = len(job.get("runs", ())) > 1
    for name in ("runs", "main", "events", "sent") if several else ():
        job.get(name, []).sort(key=lambda item: json.dumps(item, sort_keys=True))


def differences(expected: Any, found: Any, path: str = "") -> Iterator[str]:
    """Yield one line for each place where two summaries differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            yield from differences(
                expected.get(key, "(absent)"), found.get(key, "(absent)"), f"{path}/{key}"
            )
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, f"{path}/{index}")
    elif expected != found:
        yield f"{path}:\n    plain {_short(expected)}\n    ours  {_short(found)}"


def _short(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = [item.get("event") or item.get("type") or item for item in value]
    return json.dumps(value)[:300]
