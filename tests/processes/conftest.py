"""A site for each test, on the server of the test process."""

from pathlib import Path

import pytest

from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.processes.served import site_settings
from tests.tasks.processes import Site


@pytest.fixture
def site(tmp_path: Path, server: EmbeddedServer) -> Site:
    settings = site_settings(f"redis://{HOST}:{server.port}/0")
    return Site(tmp_path, server.port, tasks=["tests.processes.site.jobs"], settings=settings)
