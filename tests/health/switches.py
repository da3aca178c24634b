"""A check whose outcome a test sets, and which says more than everybody should hear."""

import threading
from dataclasses import dataclass

from redis_optimizer.health import Check, Degraded, Observation, Status, refresh_verdict

SECRETS = ("vault", "db-7.internal", "PostgreSQL 17.2", "hunter2", "Traceback", "tests.health")
"""Words that nobody but staff may read, in lower or upper case."""

SETTINGS = {"HEALTH_CHECKS": ["tests.health.switches.Vault"]}

_TEXT = "could not connect to db-7.internal as root:hunter2 (PostgreSQL 17.2)"

_status = Status.OK
runs = 0
_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Vault(Check):
    """Comes to what `switch` has said last."""

    component = "datastore"
    ready: bool = True

    def run(self) -> dict[str, Observation]:
        global runs
        with _lock:
            runs += 1
        if _status is Status.DEGRADED:
            raise Degraded(_TEXT)
        if _status is Status.FAILING:
            raise ConnectionError(_TEXT)
        return {"version": Observation("PostgreSQL 17.2"), "clients": Observation(3, "clients")}


def switch(status: Status) -> None:
    """Let the check come to a status from now on, and this process know it."""
    set_status(status)
    refresh_verdict("health")
    refresh_verdict("ready")


def set_status(status: Status) -> None:
    """Let the check come to a status from now on."""
    global _status
    _status = status
