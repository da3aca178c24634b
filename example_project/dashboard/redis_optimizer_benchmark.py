"""The subject `site` of the benchmark: this site under load, plain and optimized.

`redis_optimizer_benchmark` finds it by the name of this module, as it would find one of yours.
"""

import io
from typing import Any, TextIO

from django.core.management.base import CommandError, CommandParser

from example_project.demo.comparison import Comparison
from example_project.demo.ground import prepared
from example_project.demo.process import ProcessError
from example_project.demo.progress import Progress
from example_project.demo.report import table
from example_project.demo.smoke import Smoke
from example_project.demo.visitor import MIX
from example_project.demo.website import find_missing

NAME = "site"
HELP = "compare this site under mixed load, with everything switched off and on"
# option: (lowest, highest) value that makes sense
BOUNDS: dict[str, tuple[float, float]] = {
    "seconds": (1, 86_400),
    "warm_up": (0, 86_400),
    "rate": (0.1, 10_000),
    "processes": (1, 64),
    "threads": (1, 64),
}


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--seconds", type=float, default=60, help="of load on each of both (60)")
    add("--warm-up", type=float, default=20, help="seconds of the same load before it counts (20)")
    add("--rate", type=float, default=30, help="turns of visitors a second (30)")
    add("--processes", type=int, default=2, help="of the web server (2)")
    add("--threads", type=int, default=4, help="in each process (4)")


def run(options: dict[str, Any], stream: TextIO | None) -> Comparison:
    """Run the site twice under the same load.

    Args:
        stream: where progress goes; None shows none.

    Raises:
        ServerNotFound, ServerNotStarted: no server can be started.
        CommandError: something is missing, or a site did not start, did not answer, or did wrong.
        redis.RedisError: the server could not be reached.
    """
    if missing := find_missing():
        raise CommandError(f"It needs {' and '.join(missing)}: pip install 'redis-optimizer[demo]'")
    progress = Progress(io.StringIO() if stream is None else stream)
    try:
        with prepared(progress, None) as ground:
            comparison = Smoke(
                ground,
                seconds=options["seconds"],
                workers=options["processes"],
                threads=options["threads"],
                rate=options["rate"],
                warm_up=options["warm_up"],
            ).compare(progress)
    except ProcessError as error:
        raise CommandError(str(error)) from error
    if faults := comparison.find_faults():
        raise CommandError("\n".join(faults))
    return comparison


def render(report: Comparison) -> str:
    """Return the report as text."""
    turns = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in MIX.items())
    begin = (
        f" The first {report.warm_up:g} s, on both sites, are not counted."
        if report.warm_up
        else ""
    )
    return f"Of 100 turns of a visitor: {turns}.{begin}\n\n{table(report)}"
