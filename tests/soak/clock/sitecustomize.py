"""The wall clock of a process of the site: ``time.time`` can be set, as an operator sets a clock.

Python imports this before all else where its folder is in PYTHONPATH. What takes the time by
`datetime` is not reached: that asks the machine itself.
"""

import mmap
import os
import struct
import time

if path := os.environ.get("SOAK_CLOCK"):
    with open(path, "r+b") as file:
        _step = mmap.mmap(file.fileno(), 8)
    _time = time.time

    def stepped() -> float:
        """Return the seconds since the epoch, and so many more as the file holds."""
        return _time() + struct.unpack("d", _step[:8])[0]  # type: ignore[no-any-return]

    time.time = stepped
