"""What the example site does in jobs, and that its worker does it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import redis

from example_project.demo.client import Client
from tests.demo import STOP, Demo, needs_demo, running_demo
from tests.servers import wait_until

pytestmark = [needs_demo, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the site and its worker."""
    with running_demo(tmp_path_factory.mktemp("site") / "files") as demo:
        yield demo


def integration(site: Demo, state: str) -> tuple[int, int]:
    """Return the id of an integration in a state, and its organisation's."""
    rows = site.rows(
        "SELECT id, organisation_id FROM dashboard_integration "
        f"WHERE state = '{state}' ORDER BY id LIMIT 1"
    )
    return rows[0]


def last_sync(site: Demo, pk: int) -> datetime:
    rows = site.rows(f"SELECT last_sync FROM dashboard_integration WHERE id = {pk}")
    return datetime.fromisoformat(rows[0][0]).replace(tzinfo=UTC)


def results(site: Demo, task: str) -> list[tuple[str, str]]:
    """Return the state and result of each kept run of a task."""
    return site.rows(
        "SELECT status, result FROM django_celery_results_taskresult "
        f"WHERE task_name = 'example_project.dashboard.tasks.{task}'"
    )


def ask_for_sync(client: Client, pk: int, times: int = 1) -> None:
    client.get("/settings/")  # for the token
    for _ in range(times):
        assert client.post(f"/integrations/{pk}/sync/", now="yes").status == 302


def test_page_views_are_counted_and_shown(site: Demo) -> None:
    visitor = site.client()
    for _ in range(3):
        assert visitor.get("/organisations/3/").status == 200

    def views() -> int:
        found = re.search(r"Viewed (\d+) times? today", visitor.get("/organisations/3/").text)
        assert found
        return int(found[1])

    wait_until(lambda: views() >= 3, STOP, step=0.5)
    assert site.rows("SELECT views FROM dashboard_usageday WHERE organisation_id = 3")[0][0] >= 3


def test_sync_now_brings_an_integration_up_to_date(site: Demo) -> None:
    pk, organisation = integration(site, "working")
    operator = site.client("operator1")
    page = operator.get(f"/organisations/{organisation}/").text
    assert f"/integrations/{pk}/sync/" in page
    asked = datetime.now(UTC)
    ask_for_sync(operator, pk)
    assert "will be synced in a moment." in operator.get(f"/organisations/{organisation}/").text
    wait_until(lambda: last_sync(site, pk) > asked, STOP)
    shown = last_sync(site, pk).strftime("%H:%M")
    wait_until(lambda: shown in operator.get(f"/organisations/{organisation}/").text, STOP)


def test_a_sync_that_fails_says_why_and_changes_nothing(site: Demo) -> None:
    pk, _ = integration(site, "failing")
    before = last_sync(site, pk)
    ask_for_sync(site.client("operator1"), pk)
    wait_until(lambda: ("FAILURE",) in {row[:1] for row in results(site, "sync_integration")}, STOP)
    assert last_sync(site, pk) == before


def test_asked_for_twice_an_integration_is_synced_once(site: Demo) -> None:
    pk, _ = integration(site, "working")
    with redis.Redis.from_url(site.facts["redis_url"]) as client:

        def pushed() -> int:
            stats: dict[str, int] = client.info("commandstats").get("cmdstat_lpush", {"calls": 0})
            return stats["calls"]

        before = pushed()
        asked = datetime.now(UTC)
        ask_for_sync(site.client("operator1"), pk, times=5)
        wait_until(lambda: last_sync(site, pk) > asked, STOP)
        # Each takes 0.2 s, so five clicks are at most a few jobs, and mostly one.
        assert pushed() - before < 5


def test_viewers_may_not_sync(site: Demo) -> None:
    pk, organisation = integration(site, "working")
    viewer = site.client("viewer1")
    assert "/sync/" not in viewer.get(f"/organisations/{organisation}/").text
    viewer.get("/settings/")
    assert viewer.post(f"/integrations/{pk}/sync/", now="yes").status == 403


def test_a_paused_integration_has_no_sync_button(site: Demo) -> None:
    pk, organisation = integration(site, "paused")
    page = site.client("operator1").get(f"/organisations/{organisation}/").text
    assert f"/integrations/{pk}/state/" in page
    assert f"/integrations/{pk}/sync/" not in page


def test_the_admin_syncs_many_at_once(site: Demo) -> None:
    pks = [
        row[0] for row in site.rows("SELECT id FROM dashboard_integration WHERE state='working'")
    ]
    chosen = pks[-1]
    admin = site.client("demo")
    path = "/admin/dashboard/integration/"
    assert "Sync selected integrations now" in admin.get(path).text
    asked = datetime.now(UTC)
    assert admin.post(path, action="sync_now", _selected_action=str(chosen)).status == 302
    wait_until(lambda: last_sync(site, chosen) > asked, STOP)


def test_every_user_gets_one_digest(site: Demo) -> None:
    users = site.rows("SELECT COUNT(*) FROM auth_user")[0][0]
    for _ in range(2):
        assert f"{users} digests will be written." in site.command("send_digests")
    wait_until(
        lambda: site.rows("SELECT COUNT(DISTINCT user_id) FROM dashboard_digest") == [(users,)],
        STOP,
    )
    wait_until(lambda: len(results(site, "send_digest")) >= 1, STOP)
    failing = site.rows("SELECT error FROM dashboard_integration WHERE state = 'failing'")
    texts = [row[0] for row in site.rows("SELECT text FROM dashboard_digest")]
    assert len(texts) == users
    assert all(error in texts[0] for (error,) in failing)


def test_the_report_is_a_result_that_the_admin_shows(site: Demo) -> None:
    assert "The report will be the result of" in site.command("report_day")
    wait_until(lambda: len(results(site, "nightly_report")) == 1, STOP)
    state, result = results(site, "nightly_report")[0]
    assert state == "SUCCESS"
    assert '"failing": ' in result
    assert '"views": ' in result
    page = site.client("demo").get("/admin/django_celery_results/taskresult/").text
    assert "nightly_report" in page


@pytest.mark.parametrize("what", ["usageday", "digest"])
def test_what_jobs_wrote_is_read_only_in_the_admin(site: Demo, what: str) -> None:
    admin = site.client("demo")
    assert admin.get(f"/admin/dashboard/{what}/").status == 200
    assert admin.get(f"/admin/dashboard/{what}/add/").status == 403
