"""Keep the processors awake: an idle one may take longer to wake up than a command takes.

On a virtual machine a reply that finds its reader asleep comes 100 us late, or it does not, as the
host decides; whoever has two threads is met more often. Something of the lowest priority that never
sleeps costs the others 2 percent.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

# It ends with whoever started it, however that ends.
IDLE = """
import os
os.nice(19)
while os.getppid() == {parent}:
    pass
"""


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """Have one such process for each processor while the block runs."""
    code = IDLE.format(parent=os.getpid())
    running = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", code])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
