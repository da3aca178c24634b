"""As in tests/cache."""

from tests.cache.conftest import _no_tiers, cache, url

__all__ = ["_no_tiers", "cache", "url"]
