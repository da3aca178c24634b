"""The helpers that the tests of jobs stand on."""

from collections.abc import Callable

from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs


def test_a_worker_runs_what_another_process_sends(make_site: Callable[..., Site]) -> None:
    site = make_site(tasks=["tests.tasks.site.basic"])
    with site.worker() as worker:
        site.produce("from tests.tasks.site.basic import plain\nfor n in range(5): plain.delay(n)")
        wait_until(lambda: len(runs.rows(site.runs)) == 5)
        assert sorted(note for _, note, _ in runs.rows(site.runs)) == ["0", "1", "2", "3", "4"]
        assert len(worker.children()) == 2
        assert worker.stop() == 0
