"""The toolbar shows what a request did with Redis: sync and async, with other panels and alone."""

import json
import subprocess
import sys
from typing import Any

import pytest

from redis_optimizer.embedded import EmbeddedServer

SYNC = [
    f"{place}{ours}"
    for place in ("alone", "first", "last")
    for ours in ("", ", with our middleware")
]


@pytest.fixture(scope="module")
def found(server: EmbeddedServer) -> dict[str, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.contrib.toolbar", server.url],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    rows: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return rows


@pytest.mark.parametrize("kind", [*SYNC, *(f"{kind}, async" for kind in SYNC)])
def test_a_request_shows_its_hits_and_round_trips_by_cache(kind: str, found: Any) -> None:
    hits = 3 if "async" in kind else 2
    for row in found[kind]:
        seen = row["ours"]
        assert [(each["name"], each["hits"], each["trips"]) for each in seen["caches"]] == [
            ("(without a tier)", 0, 1),
            ("default", hits, 1),
        ]
        assert (seen["hits"], seen["trips"], seen["jobs"]) == (hits, 2, 1)
        assert 0 < seen["ms"] == pytest.approx(sum(each["ms"] for each in seen["caches"]))


@pytest.mark.parametrize("kind", SYNC)
def test_it_is_shown_as_a_table_and_in_the_header(kind: str, found: Any) -> None:
    for row in found[kind]:
        assert "<td>default</td>" in row["page"]
        assert "to leave with others: 1" in row["page"]
        assert row["subtitle"].startswith("2 hits, 2 round trips in ")
        assert "RedisOptimizerPanel_redis;dur=" in row["timing"]


@pytest.mark.parametrize("kind", [kind for kind in SYNC if "middleware" in kind])
def test_what_the_middleware_measures_is_not_taken_from_it(kind: str, found: Any) -> None:
    for row in found[kind]:
        assert 'l1;desc="2 hits"' in row["timing"]
        assert 'desc="2 round trips"' in row["timing"]


@pytest.mark.parametrize("kind", [kind for kind in SYNC if "alone" not in kind])
def test_the_toolbars_own_panel_goes_on(kind: str, found: Any) -> None:
    assert [row["calls"] for row in found[kind]] == [5] * len(found[kind])
