"""What a producer does about envelopes for a queue that no worker opens any more."""

import logging
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from redis_optimizer.tasks.explode import explode
from redis_optimizer.tasks.kombu.producers import broker_client
from redis_optimizer.tasks.names import root

__all__ = ["divide"]

logger = logging.getLogger(__name__)

BUSY: Final = 1.0  # seconds that a caller, who may be a web request, gives to it
TURN: Final = 30.0  # seconds until the next producer goes on with what one has left
REST: Final = 300.0  # seconds until somebody looks again


def divide(app: Celery, queue: str) -> None:
    """Turn envelopes of a queue into plain messages for a second, if it is this process's turn.

    It never raises: what is left is tried again by whoever is next.

    Args:
        app: Whose broker.
        queue: Of the jobs.
    """
    turn = f"{root(app)}dividing:{queue}"
    try:
        with broker_client(app) as client:
            if client is None or not client.set(turn, 1, nx=True, px=_milliseconds(TURN)):
                return
        # A client is not held meanwhile: the pool may have no more than one.
        if explode(app, queue, seconds=BUSY).is_complete:
            with broker_client(app) as client:
                held: Any = client
                held.pexpire(turn, _milliseconds(REST))
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("Envelopes of queue %s were not divided: %s", queue, error)


def _milliseconds(seconds: float) -> int:
    return int(1000 * seconds)
