"""Celery's settings, as plain dicts."""

from typing import Any

import pytest
from celery import Celery
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection

from redis_optimizer.connections import PROFILES, celery_settings

URL = "redis://h:1/2"


def make_app(settings: dict[str, Any]) -> Celery:
    """Return an app that is configured as by ``globals().update(...)`` in a settings module."""
    app = Celery("site", set_as_current=False)
    app.config_from_object(settings, namespace="CELERY")
    return app


def transport(**options: Any) -> dict[str, Any]:
    """Return the transport options of the profile "metered"."""
    given: dict[str, Any] = celery_settings(URL, "metered", **options)
    return dict(given["CELERY_BROKER_TRANSPORT_OPTIONS"])


def test_the_default_profile_leaves_celery_as_it_comes() -> None:
    assert celery_settings(URL, "default") == {
        "CELERY_BROKER_URL": URL,
        "CELERY_BROKER_TRANSPORT_OPTIONS": {},
        "CELERY_RESULT_BACKEND": URL,
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_celery_knows_every_setting(profile: str) -> None:
    known = set(Celery("other", set_as_current=False).conf)
    given = {name.removeprefix("CELERY_").lower() for name in celery_settings(URL, profile)}
    # Celery 5.7 brought the one, before which it is not looked at; the other has no default.
    assert given - known <= {"broker_pool_acquire_timeout", "result_backend_thread_safe"}


def test_a_namespace_of_the_sites_own() -> None:
    assert celery_settings(URL, "default", namespace="JOBS")["JOBS_BROKER_URL"] == URL


def test_an_unknown_profile_is_named_with_the_known_ones() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'quiet'.*default, balanced, metered"):
        celery_settings(URL, "quiet")


def test_unknown_results_are_named_with_the_known_ones() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'rpc'.*redis, django-db, None"):
        celery_settings(URL, results="rpc")  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["retry", "retry_on_error", "retry_on_timeout"])
def test_no_profile_lets_redis_py_send_a_job_twice(profile: str, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=name):
        celery_settings(URL, profile, transport_options={name: True})
    assert name not in celery_settings(URL, profile)["CELERY_BROKER_TRANSPORT_OPTIONS"]


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_moves_the_queues(profile: str) -> None:
    given = celery_settings(URL, profile)["CELERY_BROKER_TRANSPORT_OPTIONS"]
    assert not {"priority_steps", "sep", "global_keyprefix", "fanout_prefix"} & set(given)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_has_other_processes_wait_longer(profile: str) -> None:
    given = celery_settings(URL, profile)["CELERY_BROKER_TRANSPORT_OPTIONS"]
    assert "polling_interval" not in given


def test_every_wait_is_bounded() -> None:
    options = transport()
    assert options["socket_connect_timeout"] == 10
    assert options["socket_timeout"] == 5
    assert options["socket_keepalive"] is True
    assert 30 in options["socket_keepalive_options"].values()
    settings = celery_settings(URL)
    assert settings["CELERY_REDIS_SOCKET_TIMEOUT"] == 5
    assert settings["CELERY_REDIS_SOCKET_CONNECT_TIMEOUT"] == 10
    assert settings["CELERY_TASK_PUBLISH_RETRY_POLICY"]["max_retries"] == 2


def test_what_the_site_gives_comes_first() -> None:
    options = transport(transport_options={"socket_timeout": 7, "visibility_timeout": 60})
    assert (options["socket_timeout"], options["visibility_timeout"]) == (7, 60)
    assert transport(timeout=9, connect_timeout=3)["socket_timeout"] == 9


def test_two_calls_share_nothing() -> None:
    celery_settings(URL)["CELERY_BROKER_TRANSPORT_OPTIONS"]["socket_timeout"] = 99
    celery_settings(URL)["CELERY_TASK_PUBLISH_RETRY_POLICY"]["max_retries"] = 99
    again = celery_settings(URL)
    assert again["CELERY_BROKER_TRANSPORT_OPTIONS"]["socket_timeout"] == 5
    assert again["CELERY_TASK_PUBLISH_RETRY_POLICY"]["max_retries"] == 2


def test_without_keepalive() -> None:
    assert "socket_keepalive" not in transport(keepalive=0)


@pytest.mark.parametrize(
    ("options", "backend"),
    [
        ({}, "redis_optimizer.tasks.results:RedisBackend+redis://h:1/2"),
        (
            {"result_url": "redis://r:2/0"},
            "redis_optimizer.tasks.results:RedisBackend+redis://r:2/0",
        ),
        ({"results": "django-db"}, "redis_optimizer.tasks.results:DatabaseBackend"),
        ({"results": None}, None),
    ],
    ids=["redis", "another server", "database", "nowhere"],
)
def test_where_results_go(options: dict[str, Any], backend: str | None) -> None:
    assert celery_settings(URL, **options).get("CELERY_RESULT_BACKEND") == backend


def test_plain_results_in_the_database() -> None:
    settings = celery_settings(URL, "default", results="django-db")
    assert settings["CELERY_RESULT_BACKEND"] == "django-db"
    assert "CELERY_RESULT_BACKEND" not in celery_settings(URL, "default", results=None)


@pytest.mark.parametrize("profile", ["default", "balanced"])
@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("rediss://h:1/0", "CERT_REQUIRED"),
        ("rediss://h:1/0?ssl_cert_reqs=none", "CERT_NONE"),
        ("rediss://h:1/0?ssl_cert_reqs=CERT_OPTIONAL", "CERT_OPTIONAL"),
    ],
)
def test_broker_and_results_verify_certificates_alike(url: str, mode: str, profile: str) -> None:
    app = make_app(celery_settings(url, profile))
    assert app.connection().ssl["ssl_cert_reqs"].name == mode
    assert app.backend.connparams["ssl_cert_reqs"].name == mode


def test_a_wrong_ssl_cert_reqs_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"required, optional, none, not 'maybe'"):
        celery_settings("rediss://h/0?ssl_cert_reqs=maybe")


@pytest.mark.parametrize("profile", ["default", "balanced"])
@pytest.mark.parametrize(
    "url", ["unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"]
)
def test_a_unix_socket(url: str, profile: str) -> None:
    settings = celery_settings(url, profile)
    assert settings["CELERY_BROKER_URL"] == "redis+socket:///run/redis.sock?virtual_host=3"
    connection = Connection(settings["CELERY_BROKER_URL"])
    assert connection.hostname.startswith("socket:///run/redis.sock")
    parameters = make_app(settings).backend.connparams
    assert (parameters["path"], parameters["db"]) == ("/run/redis.sock", 3)


def test_an_option_that_a_unix_socket_cannot_have_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match="socket_timeout"):
        celery_settings("unix:///run/redis.sock?socket_timeout=3")


def test_sentinels() -> None:
    url = "sentinel://a:26379;sentinel://b:26379"
    settings = celery_settings(url, transport_options={"master_name": "mymaster"})
    assert settings["CELERY_BROKER_URL"] == url
    assert settings["CELERY_RESULT_BACKEND"].endswith(f":SentinelBackend+{url}")
    assert settings["CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS"] == {"master_name": "mymaster"}
    plain = celery_settings(url, "default", transport_options={"master_name": "mymaster"})
    assert plain["CELERY_RESULT_BACKEND"] == url
    assert plain["CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS"] == {"master_name": "mymaster"}


@pytest.mark.parametrize("profile", PROFILES)
def test_sentinels_for_one_or_the_other_need_the_name_of_the_master(profile: str) -> None:
    for urls in (("sentinel://a:26379", URL), (URL, "sentinel://a:26379")):
        with pytest.raises(ImproperlyConfigured, match="master_name"):
            celery_settings(urls[0], profile, result_url=urls[1])
    assert celery_settings(URL, profile, results=None, result_url="sentinel://a:26379")


@pytest.mark.parametrize("profile", PROFILES)
def test_results_do_not_fail_over(profile: str) -> None:
    both = "redis://a/0;redis://b/0"
    with pytest.raises(ImproperlyConfigured, match="result_url"):
        celery_settings(both, profile)
    app = make_app(celery_settings(both, profile, result_url=URL))
    assert app.connection().alt == both.split(";")
    assert app.backend.connparams["host"] == "h"


@pytest.mark.parametrize("url", ["amqp://user:secret@h", "rediscluster://h", "secret@h:1", ""])
def test_another_broker_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="redis://, rediss://") as caught:
        celery_settings(url)
    assert "secret" not in str(caught.value)
