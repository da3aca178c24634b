"""Whom the site trusts: what it unpickles, and from where."""

from collections.abc import Iterator
from ssl import CERT_NONE
from typing import Final

from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from django.utils.module_loading import import_string
from django_redis.cache import RedisCache
from django_redis.serializers.pickle import PickleSerializer

from redis_optimizer.cache.tiered import TieredCache
from redis_optimizer.doctor.celery.measures import is_on_redis
from redis_optimizer.doctor.evidence import Alias, Evidence, Server
from redis_optimizer.doctor.findings import Examination, Found, Severity, examination

__all__ = ["EXAMINATIONS"]

PICKLE: Final = "django_redis.serializers.pickle.PickleSerializer"  # django-redis's default
PICKLES: Final = frozenset({"pickle", "application/x-python-serialize"})  # Celery's names of it


@examination(
    "pickle-untrusted",
    Severity.ERROR,
    "Whoever can write to that server, or stands between it and the site, can run code in every "
    "process that reads from it: to unpickle is to execute.",
)
def pickle_untrusted(evidence: Evidence) -> Iterator[Found]:
    for alias in evidence.caches(RedisCache, DjangoRedisCache):
        if alias.server is not None and _is_pickled(alias):
            change = f"A LOCATION such as rediss://user:password@host, or {alias.setting}"
            yield from _untrusted(alias.server, alias.setting, change + _without_trust(alias))
    app, broker = evidence.app, evidence.server_of("broker")
    if app is not None and broker is not None and PICKLES & set(app.conf.accept_content or ()):
        yield from _untrusted(
            broker,
            "A worker, as CELERY_ACCEPT_CONTENT has pickle,",
            'CELERY_TASK_SERIALIZER = "json", and CELERY_ACCEPT_CONTENT = ["json"] when no pickled '
            "job is queued any more",
        )


@examination(
    "unverified-broker",
    Severity.WARNING,
    "kombu does not verify the certificate of a rediss:// broker unless it is told to: whoever is "
    "between can read the jobs, and send some.",
)
def unverified_broker(evidence: Evidence) -> Iterator[Found]:
    app = evidence.app
    if not is_on_redis(app):
        return
    with app.connection_for_write() as connection:  # which does not connect yet
        options = connection.ssl
    if isinstance(options, dict) and options.get("ssl_cert_reqs") in (CERT_NONE, "none"):
        yield Found(
            what="The certificate of the broker, rediss://, is not verified.",
            change="Add ?ssl_cert_reqs=CERT_REQUIRED to CELERY_BROKER_URL, as celery_settings() "
            "does.",
        )


def _untrusted(server: Server, who: str, change: str) -> Iterator[Found]:
    if server.is_local:
        return
    facts = (("TLS", server.is_encrypted), ("a password", server.has_password))
    lacks = [word for word, there in facts if not there]
    if lacks:
        yield Found(
            what=f"{who} unpickles what {server.address} holds, without "
            f"{' and without '.join(lacks)}.",
            change=change,
            # One of the two keeps out all but those on the network, or those who know it.
            severity=None if len(lacks) == len(facts) else Severity.INFO,
        )


def _without_trust(alias: Alias) -> str:
    backend = alias.backend or object
    if issubclass(backend, TieredCache):
        return '["OPTIONS"]["SIGNED"] = True'
    if issubclass(backend, RedisCache):
        return '["OPTIONS"]["SERIALIZER"] = "django_redis.serializers.json.JSONSerializer"'
    return '["OPTIONS"]["serializer"], of your own and without pickle'


def _is_pickled(alias: Alias) -> bool:
    if issubclass(alias.backend or object, TieredCache) and alias.options.get("SIGNED"):
        return False  # what is unpickled is the site's own
    if not issubclass(alias.backend or object, RedisCache):
        return not alias.options.get("serializer")  # Django's own pickles unless told otherwise
    try:
        serializer = import_string(alias.options.get("SERIALIZER", PICKLE))
    except ImportError:
        return False  # the cache cannot be used at all
    return isinstance(serializer, type) and issubclass(serializer, PickleSerializer)


EXAMINATIONS: Final[tuple[Examination, ...]] = (pickle_untrusted, unverified_broker)
