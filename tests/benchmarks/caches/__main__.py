"""Compare TieredCache with other caches in one run: times, throughput, commands, staleness, memory.

    python -m tests.benchmarks.caches [--quick] [--json] [--only tiered,locmem]
                                      [--environments DIR | --here]

Each contender has a process, a server and, where it needs one, an environment of its own; they
take turns, and the best round of each counts. The processors are kept awake meanwhile. What must
hold is printed as "holds" or "missed".
"""

import argparse
from pathlib import Path
from typing import Any

from tests.benchmarks.caches import measure, stores
from tests.benchmarks.caches.contenders import CONTENDERS
from tests.benchmarks.caches.report import claims, sections
from tests.benchmarks.peers import report
from tests.benchmarks.peers.environments import DEFAULT, Environments


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.caches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="little of each: to see that it works")
    parser.add_argument("--json", action="store_true", help="print JSON")
    choices = [*CONTENDERS, *stores.STORES]
    parser.add_argument("--only", help=f"of {', '.join(choices)}")
    parser.add_argument("--environments", type=Path, default=DEFAULT, metavar="DIR")
    parser.add_argument("--here", action="store_true", help="no peer that must be installed")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else choices
    if unknown := set(names) - set(choices):
        parser.error(f"no such contender: {', '.join(sorted(unknown))}")
    environments = Environments(given.environments, only_here=given.here)
    before = report.machine()
    found: dict[str, Any] = measure.measure(
        [name for name in names if name in CONTENDERS],
        environments,
        measure.QUICK if given.quick else measure.Plan(),
    )
    alone = stores.measure(
        [name for name in names if name in stores.STORES], environments, quick=given.quick
    )
    result = {
        "machine": before,
        "caches": found["rows"],
        "stores": alone["stores"],
        "absent": found["absent"] | alone["absent"],
        "claims": [claim.as_dict() for claim in claims(found["rows"])],
    }
    report.show("Caches", result, as_json=given.json, sections=sections(result))


if __name__ == "__main__":
    main()
