"""Run the tests while processes of theirs are paused at random, as a busy machine does.

A test that takes a moment for granted between two lines of its own fails soon.

python -m tests.pauses [--longest 0.6] [arguments of pytest]
"""

import argparse
import random
import sys
import time

import psutil

OFTEN = (0.1, 0.5)  # seconds between two pauses
SHORTEST = 0.25  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longest", type=float, default=0.6, help="seconds of a pause, at most")
    options, arguments = parser.parse_known_args()
    tests = psutil.Popen([sys.executable, "-m", "pytest", *arguments])
    count = 0
    while tests.poll() is None:
        time.sleep(random.uniform(*OFTEN))
        count += pause(tests, options.longest)
    print(f"{count} pauses of processes, {SHORTEST} to {options.longest} s each")
    return int(tests.returncode)


def pause(tests: psutil.Process, longest: float) -> bool:
    """Stop one of the processes below for a moment; return whether there was one."""
    try:
        # One that a test has stopped itself stays so.
        running = [
            each
            for each in tests.children(recursive=True)
            if each.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        ]
        if not running:
            return False
        chosen = random.choice(running)
        chosen.suspend()
        try:
            time.sleep(random.uniform(SHORTEST, longest))
        finally:
            chosen.resume()
    except psutil.NoSuchProcess:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
