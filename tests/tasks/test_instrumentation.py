"""Tracers find the caller of a job, however it travelled."""

import json
from collections.abc import Iterator

import pytest

from redis_optimizer.embedded import EmbeddedServer
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs

TASKS = ("tests.tasks.site.canvas_traced",)
PRODUCE = """
import json
from tests.tasks.site.canvas_traced import produce
print(json.dumps(produce("{way}")))
"""


@pytest.fixture(scope="module", params=["sentry", "opentelemetry"])
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    server: EmbeddedServer,
) -> Iterator[Site]:
    """Yield a site whose processes trace, with a worker."""
    tracer = f"tests.tasks.site.canvas_{request.param}"
    settings = {"CANVAS_TRACER": tracer, "REDIS_OPTIMIZER": {"ENVELOPES": True}}
    site = Site(tmp_path_factory.mktemp("site"), server.port, tasks=TASKS, settings=settings)
    with site.worker():
        yield site


@pytest.mark.parametrize("way", ["alone", "batched", "block"])
def test_a_job_runs_in_the_trace_of_its_caller(site, way):
    sent = json.loads(site.produce(PRODUCE.format(way=way)).stdout)
    rows = wait_until(lambda: _rows(site, sent["jobs"]))

    assert [note.split()[0] for _, note, _ in rows] == 6 * [sent["trace"]]
    parents = [note.split()[1] for _, note, _ in rows]
    assert len(set(parents)) == 6
    assert {*parents} <= {*sent["spans"]}  # Sentry has a second one around each
    # Each call has ended its own span: none is left open around the caller.
    assert sent["kept"] == 6 * [True]


def _rows(site, jobs):
    rows = [row for row in runs.rows(site.runs) if row[0] in jobs]
    return rows if len(rows) == len(jobs) else []
