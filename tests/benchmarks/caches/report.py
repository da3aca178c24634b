"""The tables of the caches, and what must hold."""

from collections.abc import Iterator
from typing import Any

from tests.benchmarks.peers.report import Claim, ratio, table

Rows = dict[str, dict[str, Any]]


def claims(rows: Rows) -> list[Claim]:
    """Return what must hold; what was not measured is said so."""

    def times(base: str, name: str, *path: str) -> float | None:
        return ratio(figure(rows, base, *path), figure(rows, name, *path))

    return [
        Claim(
            "a hit, constant key: LocMemCache's time by TieredCache's",
            times("locmem", "tiered", "hit_ns"),
            12,
            at_most=False,
        ),
        Claim(
            "a hit, fresh f-string: LocMemCache's time by TieredCache's",
            times("locmem", "tiered", "fresh_key_ns"),
            9,
            at_most=False,
        ),
        nearest(rows, "hit_ns", "a str"),
        nearest(rows, "dict_ns", "a dict"),
        Claim(
            "a miss filled by GET alone, by django-redis's GET (p50)",
            times("tiered-get", "django-redis", "fill", "p50_us"),
            1.25,
        ),
        Claim(
            "a miss filled by GET and PTTL, by django-redis's GET (p50)",
            times("tiered-pttl", "django-redis", "fill", "p50_us"),
            1.6,
        ),
        Claim(
            "set, by django-redis's (p50)",
            times("tiered", "django-redis", "set", "p50_us"),
            1.15,
        ),
        Claim(
            "hits a second of 8 threads, by LocMemCache's",
            times("tiered", "locmem", "hits_per_s", "8 threads"),
            10,
            at_most=False,
        ),
    ]


def nearest(rows: Rows, name: str, value: str) -> Claim:
    """Return the claim that no peer that isolates values is as fast."""
    peers = {
        row["title"]: row[name]
        for key, row in rows.items()
        if not key.startswith("tiered") and row.get("isolates") and row.get(name)
    }
    fastest = min(peers, key=lambda peer: peers[peer], default="none")
    found = ratio(peers.get(fastest), figure(rows, "tiered", name))
    text = f"a hit of {value}: the fastest peer that isolates values ({fastest}) by TieredCache"
    return Claim(text, found, 1, at_most=False)


def sections(result: dict[str, Any]) -> Iterator[str]:
    """Return the tables."""
    rows = result["caches"]
    if rows:
        yield from tables(rows)
    if result["stores"]:
        yield stores(result["stores"])
    failed = [f"{row['title']} failed: {row['failed']}" for row in rows.values() if "failed" in row]
    if failed:
        yield "\n".join(failed)


def tables(rows: Rows) -> Iterator[str]:
    yield table(
        "A hit, ns, by the backend's own method or through caches[...]; the best of short blocks\n"
        '("x" is how many times as long LocMemCache takes)',
        ["", "constant key", "x", "fresh key", "x", "caches[...]", "x", "dict", "x", "isolates"],
        [
            [
                rows[key]["title"],
                *(
                    cell
                    for name in ("hit_ns", "fresh_key_ns", "handler_ns", "dict_ns")
                    for cell in (
                        figure(rows, key, name),
                        ratio(figure(rows, "locmem", name), figure(rows, key, name)),
                    )
                ),
                {True: "yes", False: "no"}.get(rows[key].get("isolates", "-"), "-"),
            ]
            for key in rows
        ],
    )
    for operation, title in (
        ("hit", "A hit"),
        ("fill", "A miss that is filled from the server"),
        ("set", "A set"),
    ):
        yield table(
            f'{title}, us, with what the clock takes; "x" is this p50 by django-redis\'s',
            ["", "p50", "x", "p99", "CPU", "commands"],
            [
                [
                    rows[key]["title"],
                    figure(rows, key, operation, "p50_us"),
                    ratio(
                        figure(rows, key, operation, "p50_us"),
                        figure(rows, "django-redis", operation, "p50_us"),
                    ),
                    figure(rows, key, operation, "p99_us"),
                    figure(rows, key, operation, "cpu_us"),
                    figure(rows, key, "commands", operation),
                ]
                for key in rows
            ],
        )
    processes = next(
        (name for row in rows.values() for name in row.get("hits_per_s", {}) if "process" in name),
        "processes",
    )
    yield table(
        "Hits a second, connections of a process with 8 threads, resident bytes of an entry",
        ["", "1 thread", "8 threads", processes, "connections", "bytes", "server"],
        [
            [
                rows[key]["title"],
                figure(rows, key, "hits_per_s", "1 threads"),
                figure(rows, key, "hits_per_s", "8 threads"),
                figure(rows, key, "hits_per_s", processes),
                figure(rows, key, "connections"),
                figure(rows, key, "bytes_per_entry"),
                rows[key].get("server"),
            ]
            for key in rows
        ],
    )
    yield table(
        "How long after a write was acknowledged another process reads the old value, ms\n"
        "(it looks every 0.5 ms; negative: it had the new one before the writer's reply)",
        ["", "p50", "p99", "max", "never seen"],
        [
            [rows[key]["title"]]
            + [
                figure(rows, key, "staleness", name)
                for name in ("p50_ms", "p99_ms", "max_ms", "never_seen")
            ]
            for key in rows
        ],
    )


def stores(rows: Rows) -> str:
    """Return the table of the stores alone."""
    traces = next((list(row["hit_percent"]) for row in rows.values() if "hit_percent" in row), [])
    return table(
        "Stores alone: ns of a hit, and percent of a trace's requests that hit, by size",
        ["", "ns", *traces],
        [
            [
                name if "failed" not in row else f"{name} failed: {row['failed']}",
                row.get("hit_ns"),
                *(row.get("hit_percent", {}).get(trace) for trace in traces),
            ]
            for name, row in rows.items()
        ],
    )


def figure(rows: Rows, name: str, *path: str) -> Any:
    """Return a figure of a contender, or None where it is not known."""
    found: Any = rows.get(name, {})
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found
