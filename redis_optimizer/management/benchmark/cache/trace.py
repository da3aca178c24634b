"""Where the requests of a benchmark come from: a file of keys, or Zipf's distribution."""

from __future__ import annotations

import gzip
import itertools
import random
import zlib
from pathlib import Path


class TraceError(Exception):
    """The trace cannot be used; the message says why."""


def read_trace(path: Path, *, limit: int | None = None) -> list[str]:
    """Read one key a line; blank lines are skipped.

    Args:
        path: a text file, or the same packed with gzip (a name that ends in .gz).
        limit: read at most this many keys.

    Returns:
        The keys, in the order of the requests.

    Raises:
        TraceError: the file is missing, unreadable, not text, or holds no key.
    """
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            keys = (stripped for line in lines if (stripped := line.strip()))
            trace = list(itertools.islice(keys, limit))
    except UnicodeDecodeError:
        raise TraceError(f"{path} is not a text file of keys, one a line") from None
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(str(error)) from error
    if not trace:
        raise TraceError(f"{path} holds no keys")
    return trace


def draw_trace(*, keys: int, exponent: float, requests: int, seed: int) -> list[str]:
    """Draw requests for `keys` keys whose popularity falls with rank ** exponent (Zipf).

    Args:
        keys: how many keys there are to choose from.
        exponent: 0 makes all alike; web traffic lies between 0.6 and 1.
        requests: how many to draw.
        seed: the same seed draws the same requests.
    """
    weights = list(itertools.accumulate(1 / rank**exponent for rank in range(1, keys + 1)))
    # Not for secrets: a benchmark must be repeatable.
    drawn = random.Random(seed).choices(range(keys), cum_weights=weights, k=requests)  # noqa: S311
    return [str(key) for key in drawn]
