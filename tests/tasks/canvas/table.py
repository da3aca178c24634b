"""The cases. Each sends jobs; what becomes of them is what two runs must agree on."""

from tests.tasks.canvas import calls, canvases, ends
from tests.tasks.canvas.case import Case

MODULES = (calls, canvases, ends)


def cases() -> list[Case]:
    """Return every case, in the order in which it is run."""
    return [
        value for module in MODULES for value in vars(module).values() if hasattr(value, "eager")
    ]
