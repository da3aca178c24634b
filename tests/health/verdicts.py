"""Verdicts made by hand."""

from redis_optimizer.health import Observation, Report, Result, Status, Verdict

BEGAN = 1_790_000_000.25  # 2026-09-21T14:13:20.250Z

REDIS = Result(
    name="redis",
    component="datastore",
    status=Status.OK,
    seconds=0.0012,
    checked_at=BEGAN + 0.5,
    observed={"memory": Observation(1024, "bytes"), "role": Observation("master")},
)
BROKER = Result(
    name="broker",
    component="component",
    status=Status.DEGRADED,
    seconds=0.002,
    checked_at=BEGAN + 0.75,
    observed={"depth": Observation(12.5, "messages")},
    error='queue "mail" on\nredis://10.0.0.7 is long',
)
DATABASE = Result("database", "datastore", Status.FAILING, 2.0, BEGAN + 2, error="timed out")


def verdict(*results: Result, age: float = 12.34, kept_for: float = 100) -> Verdict:
    """Return a verdict that was known already.

    Args:
        results: Of the checks.
        age: Seconds.
        kept_for: Seconds.
    """
    report = Report(results=results, seconds=0.0034567, checked_at=BEGAN)
    return Verdict(report=report, is_cached=True, age=age, kept_for=kept_for)
