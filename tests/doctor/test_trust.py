"""What is found of whom the site trusts."""

from typing import Any

import pytest
from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from django_redis.cache import RedisCache

from redis_optimizer.cache import TieredCache
from redis_optimizer.doctor import Evidence, Severity, examine
from redis_optimizer.doctor.evidence import Alias, Server
from redis_optimizer.embedded import EmbeddedServer
from tests.doctor.celery.sites import find, make_app, make_server, see, with_profile
from tests.doctor.sites import PLAIN, cache_on, found, watch


class TestPickle:
    def examine(self, backend: type = RedisCache, **server: Any) -> Any:
        options = server.pop("options", {})
        there = Server(address="redis.example:6379", **({"is_local": False} | server))
        alias = Alias(name="a", settings={"OPTIONS": options}, backend=backend, server=there)
        return examine(Evidence(aliases=(alias,)), only=["pickle-untrusted"]).findings

    def test_neither_tls_nor_a_password(self) -> None:
        (finding,) = self.examine()
        assert finding.severity is Severity.ERROR
        assert "without TLS and without a password" in finding.what
        (finding,) = self.examine(DjangoRedisCache)
        assert '["serializer"]' in finding.change

    @pytest.mark.parametrize("has", ["is_encrypted", "has_password"])
    def test_one_of_them(self, has: str) -> None:
        (finding,) = self.examine(**{has: True})
        assert finding.severity is Severity.INFO

    def test_both_or_this_machine_or_no_pickle(self) -> None:
        json = {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}
        assert not self.examine(is_encrypted=True, has_password=True)
        assert not self.examine(is_local=True)
        assert not self.examine(options=json)
        assert not self.examine(options={"SERIALIZER": "no.such.module"})

    def test_signed_values_need_no_trust(self) -> None:
        (finding,) = self.examine(TieredCache)
        assert '["SIGNED"] = True' in finding.change
        assert not self.examine(TieredCache, options={"SIGNED": True})
        assert self.examine(RedisCache, options={"SIGNED": True})  # which knows nothing of it

    def test_a_server_on_this_machine_is_local(self, own: EmbeddedServer) -> None:
        evidence = watch(CACHES={"default": cache_on(own, backend=PLAIN)})
        assert [server.is_local for server in evidence.servers] == [True]
        assert not found(examine(evidence), "pickle-untrusted")


class TestPickledJobs:
    def examine(self, conf: dict[str, Any], **server: Any) -> Any:
        there = make_server(**({"is_local": False} | server))
        return find(see(make_app(**conf), there), "pickle-untrusted")

    @pytest.mark.parametrize("name", ["pickle", "application/x-python-serialize"])
    def test_of_a_server_that_others_reach(self, name: str) -> None:
        (finding,) = self.examine({"accept_content": ["json", name]})
        assert finding.severity is Severity.ERROR
        assert "CELERY_ACCEPT_CONTENT has pickle, unpickles what h:1 holds" in finding.what

    def test_of_a_server_of_our_own_or_without_pickle(self) -> None:
        pickled = {"accept_content": ["json", "pickle"]}
        assert not self.examine(pickled, is_local=True)
        assert not self.examine(pickled, has_password=True, is_encrypted=True)
        assert not self.examine({})


@pytest.mark.parametrize("query", ["", "?ssl_cert_reqs=CERT_NONE", "?ssl_cert_reqs=none"])
def test_a_certificate_that_nobody_verifies_is_found(query: str) -> None:
    app = make_app(f"rediss://:secret@h:1/0{query}")
    (finding,) = find(see(app), "unverified-broker")
    assert "secret" not in str(finding.as_dict())


@pytest.mark.parametrize(
    ("url", "conf"),
    [
        ("rediss://h:1/0?ssl_cert_reqs=CERT_REQUIRED", {}),
        ("rediss://h:1/0", {"broker_use_ssl": {"ssl_ca_certs": "/ca"}}),
        ("redis://h:1/0", {}),
    ],
)
def test_a_certificate_that_is_verified_is_not(url: str, conf: dict[str, Any]) -> None:
    assert find(see(make_app(url, **conf)), "unverified-broker") == []
    assert find(see(with_profile("metered", url.partition("?")[0])), "unverified-broker") == []
