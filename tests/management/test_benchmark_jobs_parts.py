"""What the benchmark of jobs is made of."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from redis_optimizer.management.benchmark.child import WorkerError
from redis_optimizer.management.benchmark.jobs.ledger import Ledger, Run
from redis_optimizer.management.benchmark.jobs.order import Order
from redis_optimizer.management.benchmark.jobs.processes import CeleryWorker, Producer
from redis_optimizer.management.benchmark.jobs.report import Figures, Report
from redis_optimizer.management.benchmark.jobs.states import Idle, Stop
from redis_optimizer.management.benchmark.jobs.table import render
from redis_optimizer.management.benchmark.jobs.traffic import Sent, make_sent
from redis_optimizer.management.benchmark.monitor import Client
from redis_optimizer.management.benchmark.wire import Counts

SETTING = {
    "jobs": 1000,
    "batch_size": 100,
    "concurrency": 2,
    "threads": 8,
    "runs": 1000,
    "server": "Valkey 9",
    "python": "3.13",
    "versions": {"celery": "5.7", "kombu": "5.7"},
}


class TestLedger:
    def test_holds_what_several_processes_noted(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger"
        ledger = Ledger(path)
        assert (len(ledger), ledger.read()) == (0, [])
        code = "import sys, pathlib; from redis_optimizer.management.benchmark.jobs.ledger import "
        code += "Ledger; Ledger(pathlib.Path(sys.argv[1])).note([5, 6])"
        ledger.note([1])
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        ledger.note([2])
        assert [run.number for run in ledger.read()] == [1, 5, 6, 2]
        times = [run.at for run in ledger.read()]
        assert times == sorted(times)

    def test_can_be_cleared_while_it_is_written(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path / "ledger")
        ledger.note([1, 2])
        ledger.clear()
        assert len(ledger) == 0
        ledger.note([3])
        assert [run.number for run in ledger.read()] == [3]


class TestSent:
    COUNTS = Counts(
        commands=Counter({"LPUSH": 2, "BRPOP": 2, "LLEN": 7, "CLIENT UNBLOCK": 1}),
        clients={
            Client("a:1", user="producer"): Counter({"LPUSH": 2, "HELLO": 1}),
            Client("a:2", user="worker"): Counter(BRPOP=2),
            Client("a:3", user="default"): Counter(LLEN=7),
        },
        reads=12,
    )

    def test_leaves_out_who_asks_for_the_progress(self) -> None:
        sent = make_sent(self.COUNTS, 2, Counter(), [Run(0, 1.0), Run(1, 2.0)])
        assert sent.producer == Counter(LPUSH=2)
        assert sent.worker == Counter(BRPOP=2)
        assert sent.other == Counter({"CLIENT UNBLOCK": 1})
        assert sent.round_trips == 5
        assert sent.per_job == 2.5
        assert sent.rates is None

    @pytest.mark.parametrize(
        ("numbers", "rounds", "missing", "twice"),
        [
            ([0, 1], 1, 0, 0),
            ([0], 1, 1, 0),
            ([0, 1, 1], 1, 0, 1),
            ([0, 0, 0], 1, 1, 2),
            ([0, 1, 0, 1], 2, 0, 0),
            ([0, 1, 0], 2, 1, 0),
            ([0, 0, 0, 1], 2, 1, 1),
        ],
    )
    def test_tells_lost_jobs_from_those_that_ran_twice(
        self, numbers: list[int], rounds: int, missing: int, twice: int
    ) -> None:
        sent = make_sent(self.COUNTS, 2, Counter(), [Run(n, 1.0) for n in numbers], rounds)
        assert (sent.missing, sent.twice) == (missing, twice)


def test_the_table_shows_both_sides() -> None:
    def side(commands: int, seconds: float) -> Figures:
        sent = Sent(
            jobs=1000,
            producer=Counter(LPUSH=commands),
            worker=Counter(BRPOP=9 * commands),
            other=Counter(),
            round_trips=4 * commands,
            start_up=Counter(PING=1),
            sending=seconds / 2,
            running=seconds,
        )
        stop = Stop(seconds=2.5, unacknowledged=0, missing=0, twice=1)
        return Figures(
            Counter(LLEN=20), {"results ignored": sent}, results=commands, web=40, stop=stop
        )

    idle = Idle(Counter(BRPOP=10), 60.0, connections=10, start_up=Counter(LLEN=7), stopped=2.0)
    text = render(
        Report(SETTING, side(1000, 4.0), side(10, 0.5), {"Celery": idle, "metered": idle})
    )
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "idle worker, metered, for 60 s" in lines
    for line in (
        "1,000 jobs in batches of 100; a worker with 2 children; Valkey 9, Celery 5.7, kombu 5.7,"
        " Python 3.13",
        "results ignored 10.00 0.100",
        "results ignored 4.00 0.040",
        "results ignored 500 4,000 8.0 times",
        "results ignored 250 2,000 8.0 times",
        "results stored after 1,000 runs 1,000 10",
        "connections of a web process with 8 threads 40 40",
        "until it has ended 2.5 s 2.5 s",
        "commands per minute 10.0 10.0",
        "jobs that did not run 0 0",
        "producer: LPUSH 0.010",
        "redis_optimizer, worker: 20 (LLEN 20)",
    ):
        assert line in lines
    assert "idle worker" not in render(Report(SETTING, side(1000, 4.0), side(10, 0.5), {}))


def order(tmp_path: Path) -> Order:
    return Order("redis://127.0.0.1:1/0", str(tmp_path), plain=True, profile="", batch_size=1)


def test_a_producer_that_fails_says_why(tmp_path: Path) -> None:
    with Producer(order(tmp_path)) as producer, pytest.raises(WorkerError, match="nonsense"):
        producer.send("nonsense")


def test_a_worker_that_fails_says_why(tmp_path: Path) -> None:
    worker = CeleryWorker(order(tmp_path), ["--nonsense"])
    with pytest.raises(WorkerError, match="--nonsense"), worker:
        pass
