"""The comparisons run with the peers that are here, and say what they found and what not."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.benchmarks.caches import stores
from tests.benchmarks.caches.contenders import CONTENDERS as CACHES
from tests.benchmarks.peers.environments import REQUIREMENTS, ROOT
from tests.benchmarks.queues.contenders import CONTENDERS as QUEUES

VERDICTS = {"holds", "missed", "not measured"}


def run(program: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"tests.benchmarks.{program}", "--quick", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert {claim["verdict"] for claim in found["claims"]} <= VERDICTS
    assert found["machine"]["packages"]["django"]
    return found


@pytest.fixture
def without_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones are not read in a test."""
    monkeypatch.delenv("REDIS_OPTIMIZER_TRACES", raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("without_traces")
def test_caches() -> None:
    found = run("caches", "--here", "--only", "tiered,django-redis,locmem,cashews")
    rows = found["caches"]
    assert {name: row.get("failed") for name, row in rows.items()} == dict.fromkeys(
        ("tiered", "django-redis", "locmem")
    )
    assert found["absent"]["cashews, client-side caching"] == "no environments were wanted"
    # A heartbeat of the channel may come between.
    assert rows["tiered"]["commands"]["hit"] < 0.1
    assert rows["django-redis"]["commands"] == {"hit": 1, "fill": 1, "set": 1}
    assert {name: row["isolates"] for name, row in rows.items()} == dict.fromkeys(rows, True)
    late = {name: row["staleness"]["never_seen"] for name, row in rows.items()}
    assert (late["tiered"], late["django-redis"]) == (0, 0)
    assert late["locmem"] > 0
    for row in rows.values():
        assert min(row["hit_ns"], row["fresh_key_ns"], row["dict_ns"]) > 0
        assert min(rate for rate in row["hits_per_s"].values()) > 0
    unmeasured = [each for each in found["claims"] if each["verdict"] == "not measured"]
    assert [each["value"] for each in unmeasured] == [None, None]  # their contenders did not run


@pytest.mark.parametrize("store", ["LocalStore", "LocMemCache"])
@pytest.mark.usefixtures("without_traces")
def test_a_store_alone(store: str) -> None:
    found = stores.replay(store, quick=True)
    assert found["hit_ns"] > 0
    small, large = found["hit_percent"].values()
    assert 0 < small < large < 100


@pytest.mark.slow
def test_page() -> None:
    found = run("page")
    commands = {kind: row["commands_per_request"] for kind, row in found["rows"].items()}
    assert commands["plain"] >= 5
    assert commands["tiered"] < 1  # what the heartbeat sends
    assert commands["none"] == 0
    assert len(found["claims"]) == 4


@pytest.mark.slow
def test_queues() -> None:
    row = run("queues", "--here", "--only", "celery")["rows"]["celery"]
    assert "failed" not in row
    assert row["commands_per_job"] == pytest.approx(10, abs=1)
    assert row["lost"] == 0
    assert row["duplicates_queued"] == 50


@pytest.mark.slow
def test_health() -> None:
    rows = run("health")["rows"]
    assert (rows["ours"]["commands"], rows["ours"]["queries"]) == (0, 0)
    for peer in ("django-health-check", "watchman"):
        assert rows[peer]["commands"] >= rows[peer]["polls"]
        assert rows[peer]["queries"] >= rows[peer]["polls"]


def test_what_is_asked_for_must_be_known() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.queues", "--only", "celery,beanstalk"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert done.returncode == 2
    assert "no such contender: beanstalk" in done.stderr


def test_each_environment_has_its_requirements() -> None:
    wanted = {each.environment for each in (*CACHES.values(), *QUEUES.values())}
    wanted |= {environment for environment, _ in stores.STORES.values()} | {"redis-server"}
    pinned = {file.stem for file in REQUIREMENTS.glob("*.txt")}
    assert wanted - {None} == pinned
    for file in REQUIREMENTS.glob("*.txt"):
        assert "==" in file.read_text(), file
