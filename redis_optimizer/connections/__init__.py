"""Make Redis clients, and the settings by which django-redis and Celery make theirs.

The only package that does. The functions for settings take plain arguments and read no settings:
they are called inside ``settings.py``.
"""

from redis_optimizer.connections.addresses import check_url
from redis_optimizer.connections.caches import cache_options, pool_options
from redis_optimizer.connections.channel import (
    CONNECT_TIMEOUT,
    channel_connection,
    database_of,
    handshake_of,
    logs_in,
    master_address,
    newest_connection,
    server_of,
    timeout_of,
)
from redis_optimizer.connections.cluster import Cluster, find_cluster
from redis_optimizer.connections.cluster_client import (
    Address,
    ClusterUnavailable,
    SeveralSlots,
    Unreachable,
    answering,
)
from redis_optimizer.connections.counting import (
    PURPOSES,
    Purpose,
    connects,
    count_pool,
    counting,
    open_connections,
    sent,
)
from redis_optimizer.connections.jobs import celery_settings
from redis_optimizer.connections.pools import result_pool
from redis_optimizer.connections.profiles import PROFILES, Profile, find_profile
from redis_optimizer.connections.refusals import is_busy, is_lent_out

__all__ = [
    "CONNECT_TIMEOUT",
    "PROFILES",
    "PURPOSES",
    "Address",
    "Cluster",
    "ClusterUnavailable",
    "Profile",
    "Purpose",
    "SeveralSlots",
    "Unreachable",
    "answering",
    "cache_options",
    "celery_settings",
    "channel_connection",
    "check_url",
    "connects",
    "count_pool",
    "counting",
    "database_of",
    "find_cluster",
    "find_profile",
    "handshake_of",
    "is_busy",
    "is_lent_out",
    "logs_in",
    "master_address",
    "newest_connection",
    "open_connections",
    "pool_options",
    "result_pool",
    "sent",
    "server_of",
    "timeout_of",
]
