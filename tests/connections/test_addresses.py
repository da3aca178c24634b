"""URLs of Redis servers, as Celery takes them."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.connections import cache_options, celery_settings
from redis_optimizer.connections.addresses import celery_url

VERIFIED = "ssl_cert_reqs=CERT_REQUIRED"


def test_each_server_of_a_failover_verifies_certificates() -> None:
    assert celery_url("rediss://:p%3Bw@a:1/0;rediss://b/2?ssl_cert_reqs=none;redis://c") == (
        f"rediss://:p%3Bw@a:1/0?{VERIFIED};rediss://b/2?ssl_cert_reqs=CERT_NONE;redis://c"
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:1/2",
        "redis://user:p%23%40w@h:1/2",
        "sentinel://:p%40w@a:1;sentinel://b:2/3",
        "redis+socket://:p%40w@/run/redis.sock?virtual_host=3",
    ],
)
def test_what_celery_takes_stays(url: str) -> None:
    assert celery_url(url) == url


def test_a_socket_may_have_any_path() -> None:
    assert celery_url("unix:///run/redis@1/s") == "redis+socket:///run/redis@1/s?virtual_host=0"


@pytest.mark.parametrize("scheme", ["redis", "rediss", "sentinel", "unix", "redis+socket"])
@pytest.mark.parametrize("password", ["sec#ret", "sec/ret", "sec?ret", "sec[ret", "sec/r?e#t"])
def test_an_unquoted_password_is_refused_and_not_told(scheme: str, password: str) -> None:
    for before in ("", f"{scheme}://a;"):
        with pytest.raises(ImproperlyConfigured, match="quote the password") as caught:
            celery_url(f"{before}{scheme}://:{password}@h/0")
        assert "sec" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("url", [None, b"redis://:secret@h", ["redis://:secret@h"]])
def test_only_a_text_is_a_url(url: Any) -> None:
    for function in (celery_settings, cache_options):
        with pytest.raises(ImproperlyConfigured, match="is a str") as caught:
            function(url)
        assert "secret" not in str(caught.value)


def test_a_cache_with_replicas_is_left_to_django_redis() -> None:
    assert cache_options("redis://:p@a/0,redis://:p@b/0") == cache_options("redis://a/0")
