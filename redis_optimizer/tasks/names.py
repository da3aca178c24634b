"""How the keys begin that this site has on its broker's server."""

from celery import Celery

from redis_optimizer.conf import get_settings

__all__ = ["root"]


def root(app: Celery) -> str:
    """Return what stands before the name of each key of ours on the broker's server.

    Sites that share a server may be told apart by kombu's ``global_keyprefix`` alone.
    """
    options = app.conf.broker_transport_options or {}
    prefix = options.get("global_keyprefix") or ""
    return f"{prefix}redis_optimizer:{get_settings().NAMESPACE}:"
