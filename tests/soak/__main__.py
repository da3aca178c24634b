"""Run a site under load, let something go wrong every few seconds, and say what came of it.

python -m tests.soak [--minutes 30] [--seed 7] [--faults kill,freeze] [--json]

The exit status is 1 when anything was lost, stale beyond its bound, or left behind.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .faults import FAULTS
from .plan import Plan
from .run import soak


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="with faults (2)")
    parser.add_argument("--seed", type=int, help="of the order; printed, and random by default")
    parser.add_argument("--faults", type=names, default=FAULTS, help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--every", type=float, default=Plan.every, help="seconds (10)")
    parser.add_argument("--folder", type=Path, help="where the logs of all processes stay")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    plan = Plan(
        minutes=given.minutes,
        seed=random.randrange(10**6) if given.seed is None else given.seed,
        faults=given.faults,
        every=given.every,
    )
    print(f"seed {plan.seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = soak(plan, folder, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(report.as_dict(), indent=2) if given.json else report)
    return 1 if report.violations else 0


def names(text: str) -> tuple[str, ...]:
    """Return the faults that a text names, separated by commas.

    Raises:
        argparse.ArgumentTypeError: there is no fault of such a name.
    """
    found = tuple(text.split(","))
    if unknown := set(found) - set(FAULTS):
        raise argparse.ArgumentTypeError(f"no such fault: {', '.join(sorted(unknown))}")
    return found


if __name__ == "__main__":
    sys.exit(main())
