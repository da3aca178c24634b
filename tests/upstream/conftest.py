"""Collect the suites, give them a cache, and leave out what deselected.py lists."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deselected import DESELECTED
from suite_django_redis import VARIANTS


class Suite(pytest.Module):
    """Stands for the modules of django-redis's tests that suite_django_redis.py names."""

    def collect(self) -> Iterator[pytest.Module]:
        import sources

        for name in self.obj.MODULES:
            path = sources.django_redis_tests() / f"{name}.py"
            yield pytest.Module.from_parent(self, path=path)


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module | None:
    if module_path.name != "suite_django_redis.py":
        return None
    suite: pytest.Module = Suite.from_parent(parent, path=module_path)
    return suite


@pytest.fixture(autouse=True)
def default_cache(settings: Any) -> None:
    """Make the default cache: one of django-redis's fixtures deletes it before asking for it."""
    from django.core.cache import caches

    assert caches["default"]


@pytest.fixture(params=VARIANTS)
def cache(request: pytest.FixtureRequest, settings: Any) -> Iterator[Any]:
    """Yield the default cache, as django-redis's own fixture of that name does."""
    from django.core.cache import cache
    from l1 import await_l1
    from upstream_settings import caches

    settings.CACHES = caches(VARIANTS[request.param])
    await_l1(without=("doesnotexist",))
    assert cache.client  # a test of close() expects one that was used before
    yield cache
    cache.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unknown = set(DESELECTED)
    for item in items:
        for test, reason in DESELECTED.items():
            if split_id(test) <= split_id(item.nodeid):
                item.add_marker(pytest.mark.skip(reason=reason))
                unknown.discard(test)
    # Only when all of the suites were asked for: then a name without a test is an old one.
    if unknown and all(Path(arg).is_dir() for arg in config.args):
        raise pytest.UsageError(f"deselected.py lists tests that do not exist: {unknown}")


def split_id(test: str) -> set[str]:
    return set(test.replace("[", "::[").split("::"))
