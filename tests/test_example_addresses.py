"""Where the example site puts what on a server."""

import pytest

from example_project.addresses import jobs_url


@pytest.mark.parametrize(
    ("cache", "jobs"),
    [
        ("redis://h:1/0", "redis://h:1/1"),
        ("redis://h:1", "redis://h:1/1"),
        (
            "rediss://user:word@h:1/3?ssl_cert_reqs=none",
            "rediss://user:word@h:1/4?ssl_cert_reqs=none",
        ),
        ("redis://h:1/15", "redis://h:1/0"),
    ],
)
def test_jobs_are_in_the_next_database(cache: str, jobs: str) -> None:
    assert jobs_url(cache) == jobs
