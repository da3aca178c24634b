"""The dashboard shows what it should to whom it should, and every process shows each change."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import django
import pytest
import redis

from example_project.demo.client import Client, Reply
from tests.demo import Demo, needs_demo, running_demo
from tests.servers import wait_until

pytestmark = needs_demo

STATE = re.compile(r'id="integration-(\d+)" data-state="(\w+)"')
MAIN = re.compile(r"<main.*</main>", re.DOTALL)
SHOWN = 60  # seconds within which every process shows a change


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the site in two processes, with its sample data."""
    with running_demo(tmp_path_factory.mktemp("site") / "files") as demo:
        yield demo


@pytest.fixture
def visitor(site: Demo) -> Client:
    """Return a browser that is not logged in."""
    return site.client()


@pytest.fixture
def everywhere(site: Demo) -> list[Client]:
    """Return a browser for each process of the site."""
    clients: dict[int, Client] = {}

    def connect() -> bool:
        client = site.client()
        clients.setdefault(client.get("/settings/").process, client)
        return len(clients) == 2

    wait_until(connect, SHOWN)
    return list(clients.values())


def organisation(client: Client, name: str) -> int:
    """Return the id of an organisation by its name."""
    found = re.search(rf'/organisations/(\d+)/">{name}<', client.get("/").text)
    assert found
    return int(found[1])


def statuses(client: Client, pk: int) -> dict[int, str]:
    """Return the states of an organisation's integrations, from the API."""
    reply = client.get(f"/api/integrations/status?org={pk}")
    assert reply.status == 200
    return {each["id"]: each["state"] for each in body(reply)["integrations"]}


def wait_everywhere(clients: list[Client], shows: Callable[[Client], bool]) -> None:
    """Wait until every process shows a change."""
    for client in clients:
        wait_until(partial(shows, client), SHOWN)


def main(reply: Reply) -> str:
    """Return what a page is about: without what stands on every page."""
    found = MAIN.search(reply.text)
    assert found
    return found[0]


def body(reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reply.text)
    return found


def test_the_first_page_lists_every_organisation_with_its_integrations(visitor: Client) -> None:
    page = visitor.get("/").text
    assert page.count('href="/organisations/') == 20
    assert "Alder & Finch" in page
    assert sum(map(int, re.findall(r"<dd>(\d+)</dd>", page))) == 20 * 8


def test_a_page_shows_the_state_and_last_sync_of_each_integration(visitor: Client) -> None:
    pk = organisation(visitor, "Cobalt Cycles")
    page = main(visitor.get(f"/organisations/{pk}/"))
    shown = STATE.findall(page)
    assert {int(each): state for each, state in shown} == statuses(visitor, pk)
    assert len(shown) == 8
    assert page.count("<time datetime=") == 8


def test_failing_integrations_come_first_with_their_error(visitor: Client) -> None:
    pk = organisation(visitor, "Alder & Finch")
    found = body(visitor.get(f"/api/integrations/status?org={pk}"))["integrations"]
    errors = [each["error"] for each in found if each["state"] == "failing"]
    page = visitor.get(f"/organisations/{pk}/").text
    assert errors
    assert all(error in page for error in errors)
    states = [state for _, state in STATE.findall(page)]
    assert states[: len(errors)] == ["failing"] * len(errors)


def test_what_is_not_there_is_not_found(visitor: Client) -> None:
    reply = visitor.get("/organisations/999999/")
    assert reply.status == 404
    assert "<h1>Not found</h1>" in reply.text


def test_visitors_see_no_buttons_and_are_sent_to_the_log_in(visitor: Client) -> None:
    pk = organisation(visitor, "Dunmore Insurance")
    before = statuses(visitor, pk)
    assert "<button" not in visitor.get(f"/organisations/{pk}/").text
    visitor.get("/log-in/")
    path = f"/integrations/{min(before)}/state/"
    assert visitor.post(path, state="paused").location == f"/log-in/?next={path}"
    assert statuses(visitor, pk) == before


def test_viewers_may_not_change_an_integration(site: Demo) -> None:
    viewer = site.client("viewer1")
    pk = organisation(viewer, "Dunmore Insurance")
    before = statuses(viewer, pk)
    assert 'name="state"' not in viewer.get(f"/organisations/{pk}/").text
    reply = viewer.post(f"/integrations/{min(before)}/state/", state="paused")
    assert reply.status == 403
    assert "<h1>Not allowed</h1>" in reply.text
    assert statuses(viewer, pk) == before


def test_a_form_without_its_token_is_refused(site: Demo) -> None:
    operator = site.client("operator1")
    operator.token = "forged"
    assert operator.post("/settings/", theme="dark", timezone="UTC").status == 403


def test_pausing_is_shown_at_once_and_soon_by_every_process(
    site: Demo, everywhere: list[Client]
) -> None:
    operator = site.client("operator1")
    pk = organisation(operator, "Eastgate Clinics")
    held = [statuses(client, pk) for client in everywhere]
    chosen = next(each for each, state in held[0].items() if state == "working")
    for wish in ("paused", "working"):
        reply = operator.post(f"/integrations/{chosen}/state/", state=wish)
        assert reply.location == f"/organisations/{pk}/"
        page = operator.get(reply.location).text
        assert dict(STATE.findall(page))[str(chosen)] == wish
        assert statuses(operator, pk)[chosen] == wish
        wait_everywhere(everywhere, lambda each, wish=wish: statuses(each, pk)[chosen] == wish)


@pytest.mark.parametrize("state", ["failing", "", "other"])
def test_only_working_and_paused_may_be_chosen(site: Demo, state: str) -> None:
    operator = site.client("operator1")
    pk = organisation(operator, "Fernhill Books")
    before = statuses(operator, pk)
    assert operator.post(f"/integrations/{min(before)}/state/", state=state).status == 400
    assert statuses(operator, pk) == before


def test_saved_settings_are_shown_on_every_page_by_every_process(
    site: Demo, everywhere: list[Client]
) -> None:
    viewer = site.client("viewer2")
    for client in everywhere:
        client.cookies = dict(viewer.cookies)
    for theme, zone in (("dark", "Asia/Tokyo"), ("light", "Africa/Nairobi")):
        viewer.get("/settings/")
        assert viewer.post("/settings/", theme=theme, timezone=zone).location == "/settings/"
        page = main(viewer.get("/settings/"))
        assert "Your settings are saved." in page
        assert f'<option value="{zone}" selected>' in page
        assert "checked" not in page
        assert f'data-theme="{theme}"' in viewer.get("/").text
        assert f"Times are in {zone}." in viewer.get("/organisations/1/").text
        shown = f'data-theme="{theme}"'
        wait_everywhere(everywhere, lambda each, shown=shown: shown in each.get("/").text)


def test_wrong_settings_are_not_saved(site: Demo) -> None:
    viewer = site.client("viewer3")
    before = re.findall(r'value="([^"]+)" selected', viewer.get("/settings/").text)
    reply = viewer.post("/settings/", theme="pink", timezone="Asia/Tokyo")
    assert reply.status == 200
    assert "pink is not one of the available choices" in reply.text
    assert re.findall(r'value="([^"]+)" selected', viewer.get("/settings/").text) == before


def test_a_change_in_the_admin_is_shown_by_every_process(
    site: Demo, everywhere: list[Client]
) -> None:
    admin = site.client("demo")
    pk = organisation(admin, "Glasshouse Studio")
    chosen = min(statuses(admin, pk))
    for client in everywhere:
        statuses(client, pk)
    path = f"/admin/dashboard/integration/{chosen}/change/"
    provider = re.search(r'value="(\w+)" selected', admin.get(path).text)
    assert provider
    wish = {"provider": provider[1], "state": "failing", "error": "Seen in the admin."}
    assert admin.post(path, **wish).status == 302
    page = admin.get(f"/organisations/{pk}/").text
    assert "Seen in the admin." in page
    wait_everywhere(everywhere, lambda each: statuses(each, pk)[chosen] == "failing")


def test_a_new_organisation_is_listed(site: Demo) -> None:
    admin = site.client("demo")
    assert "Zephyr" not in admin.get("/").text
    admin.get("/admin/dashboard/organisation/add/")
    assert admin.post("/admin/dashboard/organisation/add/", name="Zephyr Sails").status == 302
    assert "Zephyr Sails" in admin.get("/").text
    pk = organisation(admin, "Zephyr Sails")
    assert "has no integrations" in admin.get(f"/organisations/{pk}/").text
    path = f"/admin/dashboard/organisation/{pk}/delete/"
    admin.get(path)
    assert admin.post(path, post="yes").status == 302
    admin.get("/")  # shows the admin's message, with the name
    assert "Zephyr" not in admin.get("/").text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?org=", 400),
        ("?org=x", 400),
        ("?org=-1", 400),
        ("?org=%C2%B2", 400),  # a digit, says str.isdigit, and no number
        ("?org=999999", 404),
        (f"?org={10**30}", 404),
    ],
)
def test_the_api_says_what_is_wrong(visitor: Client, query: str, status: int) -> None:
    reply = visitor.get(f"/api/integrations/status{query}")
    assert reply.status == status
    assert "error" in body(reply)


def test_the_api_counts_states(visitor: Client) -> None:
    found = body(visitor.get("/api/integrations/status?org=1"))
    assert found["organisation"]["id"] == 1
    assert sum(found["totals"].values()) == len(found["integrations"]) == 8


def test_all_integrations_are_read_by_one_command(site: Demo) -> None:
    def reads(client: redis.Redis) -> int:
        return client.info("commandstats").get("cmdstat_mget", {"calls": 0})["calls"]

    def look() -> int:
        client.flushall()
        before = reads(client)
        site.client().get("/")
        return reads(client) - before

    with redis.Redis("127.0.0.1", site.redis_port) as client:
        # The page may come before the process has heard of the flush, or while it hears of it: then
        # what is gone by the middle of the page is read once more.
        wait_until(lambda: look() == 1)


def test_pages_hold_nothing_inline_and_say_so(site: Demo) -> None:
    operator = site.client("operator1")
    for path in ("/", "/organisations/1/", "/settings/", "/log-in/", "/nothing/"):
        page = operator.get(path).text
        assert not re.search(r"<script(?! defer src)|<style|\sstyle=|\son\w+=", page), path
    if django.VERSION >= (6, 0):
        operator.connection.request("GET", "/")
        response = operator.connection.getresponse()
        response.read()
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]


def test_the_style_sheet_is_served_without_being_collected(visitor: Client) -> None:
    reply = visitor.get("/static/dashboard/dashboard.css")
    assert reply.status == 200
    assert "light-dark(" in reply.text


def test_logging_out_ends_the_session(site: Demo) -> None:
    operator = site.client("operator2")  # of this test alone: the session ends
    assert "Logged in as operator2" in operator.get("/").text
    assert operator.post("/log-out/").status == 302
    assert "Logged in as" not in operator.get("/").text


def test_health_is_remembered(visitor: Client) -> None:
    visitor.get("/api/health")
    reply = visitor.get("/api/health")
    right = {"database": "ok", "cache": "ok"}
    assert reply.status == 200
    found = body(reply)
    assert (found["status"], found["checks"], found["cached"]) == ("ok", right, True)
