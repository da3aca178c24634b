"""What the worker's main process makes of the outcomes of a call; the rest needs real workers."""

from typing import Any

from redis_optimizer.tasks.bulk_request import BulkRequest
from redis_optimizer.tasks.call import NEVER_RAN, NOT_BEGUN, UNREADABLE


class Call(BulkRequest):
    """One whose jobs note what they are told."""

    def __init__(self, *indexes: int) -> None:
        self._indexes, self._is_acknowledged = list(indexes), True
        self.told: list[tuple[Any, ...]] = []
        self._feed: Any = self
        self._unit: Any = None

    def _end(self) -> None: ...

    def _request(self, index: int) -> Any:
        return self

    def _tell(self, index: int, what: str, *args: Any, **kwargs: Any) -> None:
        self.told.append((index, what, *args))

    def put_back(self, unit: Any, indexes: list[int]) -> None:
        self.told.append(("put back", *indexes))


def test_each_job_is_told_of_its_own_outcome() -> None:
    call = Call(10, 11, 12, 13, 14, 15)
    failed, never_ran = (1, "info", 0.5), (NEVER_RAN, "info", 0.0)
    call.on_success({1: failed, 2: NOT_BEGUN, 3: UNREADABLE, 4: never_ran, 5: (0, "done", 0.1)})
    assert call.told == [
        (11, "on_success", failed),
        (13, "reject"),
        (14, "on_failure", "info"),  # of which nobody has been told: Celery stores it
        (15, "on_success", (0, "done", 0.1)),
        ("put back", 12),
    ]
