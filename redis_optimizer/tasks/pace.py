"""How many jobs of a task go to a process of the pool at once.

Handing a job over costs more than running a short one. Jobs of a task that has been quick lately
are handed over together, as many as should take no longer than a moment: nobody notices that they
wait for one another, and a worker that stops waits no longer than without.
"""

from typing import Final

__all__ = ["MOMENT", "Pace"]

MOMENT: Final = 0.05  # seconds
MOST: Final = 100


class Pace:
    """What jobs of each task took lately."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def note(self, task: str, seconds: float) -> None:
        """Take in what a job took; a slow one is believed at once, a quick one little by little.

        Args:
            task: Its task.
            seconds: From its start in this process to its end, so with its way to the pool.
        """
        self._seconds[task] = max(seconds, self._seconds.get(task, 0) / 2)

    def size(self, task: str) -> int:
        """Return the number of jobs that take about a moment; 1 for a task not seen yet."""
        seconds = self._seconds.get(task, MOMENT)
        return MOST if seconds * MOST <= MOMENT else max(1, int(MOMENT / seconds))
