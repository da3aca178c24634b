"""Celery under Sentinel, whose primary is killed, frozen, or replaced while jobs run."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from redis_optimizer.connections import celery_settings
from tests.e2e.failover import FAILURES
from tests.servers import SentinelGroup, connect, sentinel, wait_until
from tests.tasks.chaos import SETTINGS
from tests.tasks.processes import Site
from tests.tasks.site import runs

pytestmark = pytest.mark.slow

PATIENT = 90.0  # seconds
JOBS = 40
CODE = "from tests.tasks.site.failover import main\nmain()"


def settings_for(group: SentinelGroup) -> dict[str, Any]:
    """Return the settings of docs/connections.rst, and a broker that soon delivers again."""
    url = ";".join(f"sentinel://{host}:{port}" for host, port in group.addresses)
    transport = SETTINGS["CELERY_BROKER_TRANSPORT_OPTIONS"]
    assert isinstance(transport, dict)
    made = celery_settings(
        url,
        "balanced",
        results="redis",
        timeout=2.0,
        connect_timeout=1.0,
        keepalive=0,  # whose options are numbers, which do not pass through JSON
        transport_options={
            "master_name": group.name,
            "sentinel_kwargs": {"socket_timeout": 1, "socket_connect_timeout": 1},
            **transport,
        },
    )
    return made | {
        "CELERY_TASK_IGNORE_RESULT": False,
        "REDIS_OPTIMIZER": SETTINGS["REDIS_OPTIMIZER"],
    }


def tell(producer: "subprocess.Popen[str]", line: str) -> None:
    assert producer.stdin is not None
    producer.stdin.write(f"{line}\n")
    producer.stdin.flush()


def said(producer: "subprocess.Popen[str]") -> Any:
    assert producer.stdout is not None
    return json.loads(producer.stdout.readline())


def is_replica(group: SentinelGroup) -> bool:
    with connect(group.primary) as client:
        return bool(client.info("replication")["role"] == "slave")


@pytest.mark.parametrize("failure", FAILURES)
def test_jobs_results_and_duplicates(failure: str, tmp_path: Path) -> None:
    with sentinel() as group:
        settings = settings_for(group)
        tasks = ["tests.tasks.site.failover"]
        site = Site(tmp_path, group.primary.port, tasks=tasks, settings=settings)

        def ran(label: str) -> int:
            return sum(job.startswith(label) for job in runs.counts(site.runs))

        with site.worker("-c", "2") as worker, site.start(CODE) as producer:
            tell(producer, f"before {JOBS} 0")
            assert said(producer) == [JOBS, True]
            tell(producer, f"during {JOBS} 0.1")
            said(producer)
            wait_until(lambda: ran("during"), PATIENT)
            # Replication is asynchronous: what the replica does not have yet is lost with the
            # primary, in any case.
            with connect(group.primary) as client:
                assert client.wait(1, 10_000) == 1
            FAILURES[failure](group)
            if failure == "replaced":
                # What an old primary takes until it knows that it is none is lost as well.
                wait_until(lambda: is_replica(group), PATIENT)
            tell(producer, f"after {JOBS} 0")

            wait_until(lambda: ran("during") == ran("after") == JOBS, PATIENT, 0.1)
            assert said(producer) == [JOBS, True]
            assert worker.process.poll() is None, worker.log
            group.primary.thaw()
