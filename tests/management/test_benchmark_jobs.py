"""The benchmark of jobs: both sides do the same work, and what it prints is what was sent."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from redis_optimizer.embedded import ServerNotFound
from redis_optimizer.management.benchmark.jobs import site
from redis_optimizer.management.benchmark.jobs.run import CASES

pytestmark = pytest.mark.slow

JOBS, BATCH = 40, 20
OPTIONS = {"jobs": JOBS, "batch_size": BATCH, "threads": 8, "idle_seconds": 1, "verbosity": 0}


def run(**options: Any) -> str:
    out = io.StringIO()
    call_command("redis_optimizer_benchmark", "jobs", stdout=out, **{**OPTIONS, **options})
    return out.getvalue()


@pytest.mark.minutes
def test_every_case_does_the_same_work_on_both_sides_and_counts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One test, because the run takes a minute and each process of pytest would make its own."""
    page = tmp_path / "report.html"
    report: dict[str, Any] = json.loads(run(json=True, verbosity=1, html=page))
    assert (report["jobs"], report["batch_size"], report["runs"]) == (JOBS, BATCH, JOBS)
    assert set(report["versions"]) == {"celery", "django", "kombu", "redis"}
    for side in (report["plain"], report["ours"]):
        assert_nothing_lost(side)
        timed = side["traffic"]["results ignored, in batches"]
        assert timed["jobs_sent_per_second"] > 0
        assert timed["jobs_run_per_second"] > 0
    assert_plain(report["plain"])
    assert_ours(report["ours"])
    assert report["ours"]["web_connections"] < report["plain"]["web_connections"]
    assert list(report["idle"]) == ["Celery", "balanced", "metered", "metered, no remote control"]
    plain, balanced, metered, deaf = report["idle"].values()
    assert plain["connections"] > balanced["connections"] > metered["connections"]
    assert metered["connections"] > deaf["connections"] > 0
    assert sum(plain["start_up"].values()) > sum(deaf["start_up"].values())
    assert_shown(page.read_text(), capsys.readouterr().err)


def assert_nothing_lost(side: dict[str, Any]) -> None:
    for title, sent in side["traffic"].items():
        assert (sent["jobs_missing"], sent["jobs_run_twice"]) == (0, 0), title
    assert side["stop"]["unacknowledged"] == side["stop"]["jobs_missing"] == 0


def assert_plain(side: dict[str, Any]) -> None:
    """Compare with what plain Celery is known to send."""
    traffic = side["traffic"]
    ignored = traffic["results ignored, in batches"]
    assert ignored["producer"] == {"LPUSH": 1}
    for name in ("ZADD", "HSET", "ZREM", "HDEL", "BRPOP"):  # a heartbeat may come on top
        assert ignored["worker"][name] == 1
    kept = traffic["results kept, in batches"]
    assert kept["producer"] == {"SUBSCRIBE": 1, "UNSUBSCRIBE": 1, "LPUSH": 1}
    assert traffic["a duplicate, producer alone"]["producer_commands_per_job"] == 3
    assert side["stored_results"] == JOBS


def assert_ours(side: dict[str, Any]) -> None:
    """Compare with one message for a batch."""
    traffic = side["traffic"]
    for title in ("results ignored, in batches", "results ignored, bulk"):
        # The script that sends an envelope where a worker opens it.
        assert traffic[title]["producer"] == {"EVALSHA": 1 / BATCH}
        assert traffic[title]["commands_per_job"] < 1
    blocks = traffic["one by one in batch(), producer alone"]
    assert blocks["producer"] == {"LPUSH": 1 / BATCH}
    assert traffic["a duplicate, producer alone"]["producer_commands_per_job"] == 1
    assert traffic["a duplicate in the same buffer"]["producer_commands_per_job"] == 0
    assert side["stored_results"] == 5 + 3


def assert_shown(text: str, progress: str) -> None:
    """Compare with what people are shown."""
    assert f"{JOBS} jobs in batches of {BATCH}; a worker with 2 children" in text
    row = next(line for line in text.splitlines() if line.startswith("  a duplicate, producer"))
    assert row.split()[-2:] == ["3.00", "1.000"]
    assert f"Celery: one by one in batch(), producer alone: {JOBS} of {JOBS} jobs" in progress


@pytest.mark.parametrize(
    ("option", "value"),
    [("jobs", 0), ("batch_size", 0), ("concurrency", 0), ("threads", 0), ("idle_seconds", 0)],
)
def test_out_of_bounds_is_named(option: str, value: float) -> None:
    with pytest.raises(CommandError, match=f"--{option.replace('_', '-')} must lie between"):
        run(**{option: value})


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(CommandError, match="--case"):
        call_command("redis_optimizer_benchmark", "jobs", "--case", "maybe")
    assert "idle" in CASES


def test_a_missing_server_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def __enter__(self) -> None:
            raise ServerNotFound("Install one.")

        def __exit__(self, *exc_info: object) -> None: ...

    monkeypatch.setattr(site, "EmbeddedServer", Missing)
    with pytest.raises(CommandError, match=r"Install one\."):
        run(case=["duplicates"])
