"""A site of each test's own, on the server of the test process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redis_optimizer.embedded import EmbeddedServer
from tests.tasks.processes import Site


@pytest.fixture
def make_site(tmp_path: Path, server: EmbeddedServer) -> Callable[..., Site]:
    """Return a maker of sites, which takes `tasks` and `settings`."""

    def make(**options: Any) -> Site:
        return Site(tmp_path, server.port, **options)

    return make
