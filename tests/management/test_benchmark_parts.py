"""What a benchmark is made of: its trace, its plan, and how it judges what the workers saw."""

import gzip
import io
from collections import Counter
from pathlib import Path

import pytest

from redis_optimizer.management.benchmark import progress
from redis_optimizer.management.benchmark.cache.plan import Request, count_floor, make_plan
from redis_optimizer.management.benchmark.cache.staleness import PRELOADED, Read, Write, find_stale
from redis_optimizer.management.benchmark.cache.trace import TraceError, draw_trace, read_trace
from redis_optimizer.management.benchmark.child import child_environment
from redis_optimizer.management.benchmark.figures import percentile


class TestTrace:
    def test_is_one_key_a_line(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.txt"
        path.write_text("a\n\n b \nclé\n")
        assert read_trace(path) == ["a", "b", "clé"]
        assert read_trace(path, limit=2) == ["a", "b"]

    def test_may_be_packed(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.txt.gz"
        path.write_bytes(gzip.compress(b"a\nb\n"))
        assert read_trace(path) == ["a", "b"]

    @pytest.mark.parametrize(
        ("name", "content", "why"),
        [
            ("empty.txt", b"\n \n", "holds no keys"),
            ("binary.txt", b"\xff\xfe\x00", "not a text file"),
            ("plain.gz", b"a\nb\n", "Not a gzipped file"),
            ("torn.gz", gzip.compress(b"a\n" * 1000)[:-9], "ended before"),
            ("damaged.gz", gzip.compress(b"abc\n" * 1000)[:15] + b"\xff" * 20, "."),
        ],
        ids=["empty", "binary", "plain", "torn", "damaged"],  # gzip writes the time into its header
    )
    def test_says_why_it_is_unusable(
        self, tmp_path: Path, name: str, content: bytes, why: str
    ) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(TraceError, match=why):
            read_trace(path)

    def test_says_that_it_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(TraceError, match=r"gone\.txt"):
            read_trace(tmp_path / "gone.txt")

    def test_drawn_by_zipf_is_skewed_and_repeatable(self) -> None:
        trace = draw_trace(keys=100, exponent=1.0, requests=5000, seed=3)
        assert trace == draw_trace(keys=100, exponent=1.0, requests=5000, seed=3)
        assert trace != draw_trace(keys=100, exponent=1.0, requests=5000, seed=4)
        counts = Counter(trace)
        # Of 5,000 requests the most popular of 100 keys gets 1/5.19, by the harmonic number.
        assert 870 < counts["0"] < 1060
        assert 430 < counts["1"] < 535


class TestPlan:
    def test_spreads_every_request_once_in_order(self) -> None:
        trace = draw_trace(keys=50, exponent=0.9, requests=2000, seed=1)
        plan = make_plan(trace, processes=4, writes=10, seed=1, preloaded=True)
        merged = sorted(request for share in plan.shares for request in share)
        assert [plan.keys[request.key] for request in merged] == trace
        assert [request.number for request in merged] == list(range(2000))
        assert all(share == sorted(share) and 400 < len(share) < 600 for share in plan.shares)
        assert plan.writes == sum(request.is_write for request in merged)
        assert 150 < plan.writes < 250
        assert plan.total == 2000

    def test_is_repeatable(self) -> None:
        trace = [str(n % 7) for n in range(100)]
        plans = [
            make_plan(trace, processes=3, writes=20, seed=seed, preloaded=True)
            for seed in (5, 5, 6)
        ]
        assert plans[0] == plans[1]
        assert plans[0].shares != plans[2].shares

    @pytest.mark.parametrize(
        ("what", "preloaded", "commands"),
        [
            ("0r", True, 1),
            ("0r 0r 0r", True, 1),  # the first read alone
            ("0r 1r 0r 1r", True, 2),  # one first read in each process
            ("0r 0w 0r", True, 3),  # the own write drops what was held
            ("0r 1w 0r 0r", True, 3),  # so does another's
            ("0w 0w 0w", True, 3),
            ("0r 0r 0r", False, 3),  # a miss and its write, then the read that fills
            ("0r 1r 1r", False, 3),
        ],
    )
    def test_floor_of_one_key(self, what: str, preloaded: bool, commands: int) -> None:
        ordered = [
            (int(process), Request(number, 0, kind == "w"))
            for number, (process, kind) in enumerate(what.split())
        ]
        assert count_floor(ordered, 2, stored={0} if preloaded else set()) == commands


class TestStaleness:
    # Written at 1-2 (version 1) and at 3-4 (version 2).
    WRITES = (Write(0, 1, 1.0, 2.0), Write(0, 2, 3.0, 4.0))

    @pytest.mark.parametrize(
        ("version", "started", "age"),
        [
            (PRELOADED, 0.5, None),
            (PRELOADED, 1.5, None),  # the write was under way
            (PRELOADED, 2.5, 0.5),
            (PRELOADED, 4.5, 2.5),  # out of date since the first of the newer ones
            (1, 1.5, None),
            (1, 3.5, None),
            (1, 4.5, 0.5),
            (2, 9.0, None),
            (None, 9.0, None),
        ],
    )
    def test_counts_from_the_newer_ack(
        self, version: int | None, started: float, age: float | None
    ) -> None:
        stale = find_stale([Read(0, version, started, 0.1)], self.WRITES)
        assert stale == ([] if age is None else [age])

    def test_calls_nothing_stale_for_writes_that_overlap(self) -> None:
        overlapping = [Write(0, 1, 1.0, 3.0), Write(0, 2, 2.0, 2.5)]
        reads = [Read(0, version, 9.0, 0.1) for version in (1, 2)]
        assert find_stale(reads, overlapping) == []

    def test_keeps_keys_apart(self) -> None:
        assert find_stale([Read(1, PRELOADED, 9.0, 0.1)], self.WRITES) == []


def test_percentiles_are_values_that_occurred() -> None:
    seconds = [n / 1e6 for n in range(1, 201)]
    assert percentile(seconds, 50) == 100
    assert percentile(seconds, 99) == 198
    assert percentile(seconds[:1], 99) == 1
    assert percentile([], 50) is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_progress_comes_in_plain_lines_without_tqdm(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(progress, "import_module", missing)
    with progress.show_progress("plain", 1000, stream) as advance:
        for done in range(0, 1001, 10):
            advance(done)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[-1] == "plain: 1,000 of 1,000 requests"


def test_progress_is_a_bar_in_a_terminal_with_tqdm() -> None:
    stream = Terminal()
    with progress.show_progress("plain", 1000, stream) as advance:
        advance(400)
        advance(1000)
    assert "100%" in stream.getvalue()
    assert "1000/1000" in stream.getvalue()


def test_a_process_is_on_or_off_as_the_benchmark_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the shell, left there by a rollback, would go before the settings."""
    monkeypatch.setenv("REDIS_OPTIMIZER_ENABLED", "0")
    monkeypatch.setenv("OTHER", "1")
    environment = child_environment()
    assert "REDIS_OPTIMIZER_ENABLED" not in environment
    assert environment["OTHER"] == "1"
