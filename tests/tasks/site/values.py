"""Arguments of any kind, and what is to be known of one where a job has it."""

import datetime
import decimal
import uuid
from typing import Any

from django.utils.translation import gettext_lazy

AWARE = datetime.datetime(2026, 3, 29, 1, 30, 0, 7, tzinfo=datetime.UTC)


def make_values() -> dict[str, Any]:
    """Return the values by name: some cannot be sent."""
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    return {
        "empty": "",
        "nul": "\0\r\n\x7f",
        "unicode": "é\u0301 \U0001f9ea \u202e \ufeff",
        "half": "\ud800",
        "long": "x" * 10**6,
        "long unicode": "\U0001f9ea" * 10**5,
        "bytes": b"\x00\xff\x80",
        "text bytes": b"abc",
        "nan": float("nan"),
        "infinity": float("-inf"),
        "huge": 10**4000,
        "too huge": 10**5000,
        "naive": AWARE.replace(tzinfo=None),
        "aware": AWARE,
        "offset": AWARE.astimezone(datetime.timezone(datetime.timedelta(hours=5, minutes=45))),
        "date": AWARE.date(),
        "time": AWARE.time(),
        "timedelta": datetime.timedelta(days=-1, microseconds=3),
        "decimal": decimal.Decimal("1.10"),
        "uuid": uuid.UUID(int=7),
        "lazy": gettext_lazy("Yes"),
        "tuple": (1, (2, [None])),
        "names": {1: "a", None: "b"},
        "odd names": {"": {}, "é\0": [[]]},
        "pair names": {(1, 2): 3},
        "set": {1},
        "complex": 1j,
        "object": object(),
        "endless": endless,
        "deep": deep,
        "envelope": {"version": 1, "common": [[{}, []]] * 3, "jobs": [["id", "body", {}, {}, {}]]},
        "marked": {"__type__": "decimal", "__value__": "1"},
        "badly marked": {"__type__": "datetime", "__value__": "never"},
    }


def describe(value: Any) -> str:
    """Return what a value is, so that it can be compared elsewhere."""
    shown = repr(value)
    return f"{type(value).__name__} {len(shown)} {shown[:100]}"
