"""``task_always_eager`` and `apply` run jobs at once, in the caller's process, whatever the task.

The cases of the canvas table that make sense without a worker are run so, and compared.
"""

import pytest

from tests.tasks.canvas.compare import differences, summarise
from tests.tasks.canvas.recorder import record_eager
from tests.tasks.canvas.test_canvas import LEAN, PLAIN, TASK, Variant

DEDUP = {"batch_size": 5, "batch_timeout": 3600, "dedup": "until_executed", "dedup_ttl": 7200}
BATCHES = {"batch_size": 5, "batch_timeout": 3600}


@pytest.mark.parametrize(
    "settings",
    [
        {"CANVAS_OPTIONS": BATCHES},
        {"CANVAS_OPTIONS": DEDUP},
        {"CANVAS_OPTIONS": BATCHES, "CANVAS_BLOCK": True},
    ],
    ids=["batches", "dedup", "block"],
)
def test_eager_jobs_do_what_they_do_with_plain_celery(settings, tmp_path, server, admin):
    ours = Variant(scheme=LEAN, settings={"CANVAS_BASE": TASK, **settings})
    expected = record_eager(tmp_path / "plain", server.port, PLAIN)
    admin.config_resetstat()
    found = record_eager(tmp_path / "ours", server.port, ours)
    assert not [*differences(summarise(expected), summarise(found))]
    assert len(found.lines) > 200
    commands = admin.info("commandstats")
    assert "cmdstat_lpush" not in commands
    assert commands["cmdstat_set"]["calls"] == 1  # of update_state: no lock is taken
