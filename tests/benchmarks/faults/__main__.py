"""Print what users see while Redis fails: each fault lasts 10 seconds, on a server of its own.

python -m tests.benchmarks.faults [--faults killed,frozen] [--rst] [--json]

Each cell says what was seen, the most frequent first; the longest call in seconds; and, where it
was bad for a while after the fault was over, for how long.
"""

import argparse
import json
import subprocess
import sys

from .measure import ROWS, measure
from .table import rst, text


def main() -> int:
    """Run the program and return its exit status: 1 when a job was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--faults", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--rst", action="store_true", help="print the table of the documentation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--one", choices=ROWS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one)))
        return 0
    faults = given.faults.split(",")
    if unknown := set(faults) - set(ROWS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    rows = {}
    for fault in faults:
        # Django is set up once in a process.
        command = [sys.executable, "-m", "tests.benchmarks.faults", "--one", fault]
        print(f"{fault} ...", file=sys.stderr, flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        rows[fault] = json.loads(done.stdout)
    form = json.dumps if given.json else rst if given.rst else text
    print(form(rows))
    return 1 if any(row["jobs"]["lost"] for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
