"""Who sees the page, and who may do what there."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from tests.admin.conftest import LogIn
from tests.admin.site import ACTIONS, DATA, PAGE

URLS = [PAGE, DATA]
VIEW = "view_overview"


@pytest.fixture(autouse=True)
def _nobody_to_ask(settings: Any) -> None:
    """Access does not depend on Redis."""
    local = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    settings.CACHES = {"default": local}


@pytest.mark.parametrize("url", [*URLS, *(f"{PAGE}{name}/" for name in ACTIONS)])
def test_who_is_not_staff_is_sent_to_the_log_in_page(url: str, log_in: LogIn) -> None:
    for client in (Client(), log_in(VIEW, *ACTIONS.values(), is_staff=False)):
        for response in (client.get(url), client.post(url, {"alias": "default"})):
            assert response.status_code == 302
            assert response["Location"].startswith("/admin/login/?next=")


@pytest.mark.parametrize("url", URLS)
def test_staff_without_the_permission_are_refused(url: str, log_in: LogIn) -> None:
    client = log_in(*ACTIONS.values())
    assert client.get(url).status_code == 403
    assert client.post(f"{PAGE}flush/").status_code == 403
    assert "redis_optimizer" not in client.get("/admin/").content.decode()


def test_who_may_view_sees_and_cannot_act(log_in: LogIn) -> None:
    client = log_in(VIEW)
    page = client.get(PAGE)
    assert page.status_code == 200
    text = page.content.decode()
    assert "Hit ratio" in text
    assert 'form="ro-' not in text
    assert 'id="ro-switch' not in text
    assert 'form="ro-' not in str(client.get(DATA).json())
    for name in ACTIONS:
        given = {"alias": "default", "part": "cache", "confirmed": "yes"}
        assert client.post(f"{PAGE}{name}/", given).status_code == 403


@pytest.mark.parametrize("name", ACTIONS)
def test_each_action_takes_its_own_permission(name: str, log_in: LogIn) -> None:
    permission = ACTIONS[name]
    others = set(ACTIONS.values()) - {permission}
    assert log_in(VIEW, *others).post(f"{PAGE}{name}/").status_code == 403


@pytest.mark.parametrize("name", ACTIONS)
def test_its_permission_is_enough(name: str, log_in: LogIn) -> None:
    client = log_in(VIEW, ACTIONS[name])
    response = client.post(f"{PAGE}{name}/", {"part": "cache"})
    assert response.status_code in (200, 302)  # asks back, or says that it cannot be done


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_are_posts_with_a_token(name: str, log_in: LogIn) -> None:
    client = log_in(VIEW, ACTIONS[name], enforce_csrf_checks=True)
    assert client.post(f"{PAGE}{name}/", {"confirmed": "yes"}).status_code == 403
    # Whose session is over presses a button, logs in, and is sent to where the button led.
    response = client.get(f"{PAGE}{name}/", {"confirmed": "yes", "part": "cache"})
    assert (response.status_code, response["Location"]) == (302, PAGE)
    (told,) = get_messages(response.wsgi_request)
    assert str(told) == "Nothing was done. Press the button again."


def test_the_index_has_one_entry(log_in: LogIn) -> None:
    text = log_in(VIEW).get("/admin/").content.decode()
    assert f'<a href="{PAGE}"' in text
    assert "Redis optimizer" in text
    assert f'href="{PAGE}add/"' not in text


@pytest.mark.parametrize("path", ["add/", "1/", "1/change/", "1/delete/", "1/history/"])
def test_there_are_no_objects(path: str, log_in: LogIn) -> None:
    assert log_in(VIEW).get(PAGE + path).status_code == 404


def test_an_admin_site_of_the_own_has_the_page_too(log_in: LogIn) -> None:
    client = log_in(VIEW, "clear_local")
    url = reverse("admin:redis_optimizer_overview_changelist", current_app="other")
    assert url == "/other/redis_optimizer/overview/"
    assert f'action="{url}clear-local/"' in client.get(url).content.decode()
    assert client.post(f"{url}clear-local/")["Location"] == url
    assert client.get(url + "data/").status_code == 200


def test_pages_are_not_kept(log_in: LogIn) -> None:
    client = log_in(VIEW)
    for url in URLS:
        assert "no-store" in client.get(url)["Cache-Control"]
