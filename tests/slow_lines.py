"""Run the tests while some lines of the package take long in all threads but the main one.

A test that looks at what a thread notes one line later fails soon. Each test has other slow
lines; the failure's report names them.

python -m pytest -p tests.slow_lines [--slow-lines 1] [arguments of pytest]
"""

import hashlib
import pathlib
import sys
import threading
import time
from collections import Counter
from types import CodeType
from typing import Any

import pytest

import redis_optimizer

PACKAGE = f"{pathlib.Path(redis_optimizer.__file__).parent}/"
ONE_IN = 10  # lines
SHORTEST, LONGEST = 0.05, 0.3  # seconds
MOST = 12  # times in a test, and
MOST_OF_A_LINE = 2


class SlowLines:
    """Lets lines wait, chosen by the seed and the test."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.test = ""
        self.passed: Counter[str] = Counter()

    def pass_line(self, code: CodeType, number: int) -> Any:
        """Wait, if this line of this test is a slow one."""
        path = code.co_filename
        if not path.startswith(PACKAGE):
            return sys.monitoring.DISABLE
        if threading.current_thread() is threading.main_thread():
            return None
        line = f"{path.removeprefix(PACKAGE)}:{number} {code.co_qualname}"
        digest = hashlib.sha256(f"{self.seed} {self.test} {line}".encode()).digest()
        if (
            int.from_bytes(digest[:4]) % ONE_IN == 0
            and self.passed[line] < MOST_OF_A_LINE
            and self.passed.total() < MOST
        ):
            self.passed[line] += 1
            time.sleep(SHORTEST + (LONGEST - SHORTEST) * digest[4] / 255)
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.test, self.passed = item.nodeid, Counter()

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is not None and self.passed:
            item.add_report_section(call.when, "slow lines", "\n".join(self.passed))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow-lines", metavar="SEED", default="1", help="which lines are slow")


def pytest_configure(config: pytest.Config) -> None:
    if sys.version_info < (3, 12):
        raise pytest.UsageError("tests.slow_lines needs Python 3.12 or later: sys.monitoring.")
    lines = SlowLines(config.getoption("--slow-lines"))
    config.pluginmanager.register(lines)
    monitoring = sys.monitoring
    monitoring.use_tool_id(monitoring.PROFILER_ID, "slow lines")
    monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.LINE, lines.pass_line)
    monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.LINE)
