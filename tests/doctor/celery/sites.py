"""Sites that the doctor looks at: their settings, and what their server shows."""

from collections.abc import Mapping
from typing import Any

from celery import Celery

from redis_optimizer.connections import celery_settings
from redis_optimizer.doctor import Evidence, Finding, examine
from redis_optimizer.doctor.celery.evidence import Broker, Kept
from redis_optimizer.doctor.evidence import Server, Use

URL = "redis://h:1/0"
SECONDS = 10.0


def make_app(url: str = URL, **conf: Any) -> Celery:
    """Return an app that is not that of the tests' site, with none of the tasks of other tests."""
    app = Celery("site", broker=url, set_as_current=False)
    app.conf.update(conf)
    app.finalize()  # which takes over all shared tasks
    for name in [name for name in app.tasks if not name.startswith("celery.")]:
        app.tasks.unregister(name)
    return app


def with_profile(profile: str, url: str = URL, **conf: Any) -> Celery:
    """Return an app with the settings of a profile."""
    settings = celery_settings(url, profile)
    return make_app(
        url, **{n.removeprefix("CELERY_").lower(): v for n, v in settings.items()} | conf
    )


def add_task(app: Celery, name: str, **options: Any) -> None:
    """Give an app, and no other, a task that does nothing."""
    app.task(name=name, shared=False, **options)(_nothing)


def _nothing() -> None: ...


def make_server(rates: Mapping[str, float] | None = None, **fields: Any) -> Server:
    """Return a server of a broker and of results.

    Args:
        rates: How often commands were called a second.
        fields: Of the server.
    """
    after = {
        f"cmdstat_{name}": f"calls={round(rate * SECONDS)},usec=1"
        for name, rate in (rates or {}).items()
    }
    uses = (
        Use(kind="broker", name="broker_url"),
        Use(kind="results", name="result_backend"),
    )
    given: dict[str, Any] = {"address": "h:1", "uses": uses, "seconds": SECONDS, "clients": ()}
    return Server(after=after, **given | fields)


def waits(*idle: int, database: int = 0) -> tuple[Mapping[str, str], ...]:
    """Return clients that have waited for jobs for so many seconds."""
    return tuple({"cmd": "brpop", "db": str(database), "idle": str(each)} for each in idle)


def jobs(number: float) -> dict[str, float]:
    """Return the rates of so many jobs a second, without results."""
    once = ("lpush", "brpop", "zadd", "hset", "zrem", "hdel")
    return dict.fromkeys(once, number) | {"multi": 2 * number, "exec": 2 * number}


def see(
    app: Any,
    server: Server | None = None,
    broker: Broker | None = None,
    kept: Kept | None = None,
) -> Evidence:
    """Return evidence of a site; without a server nobody could look."""
    return Evidence(
        app=app,
        servers=(server,) if server else (),
        broker=broker or (Broker() if server else None),
        kept=kept,
        seconds=SECONDS,
    )


def find(evidence: Evidence, id: str) -> list[Finding]:
    """Return what one examination finds; it must be able to look."""
    report = examine(evidence, only=[id])
    assert not report.unknown, report.unknown
    return list(report.findings)
