"""What Django expects of every cache backend, in the words of its own tests."""

from cache.tests import BaseCacheTests, caches_setting_for_tests
from django.conf import settings
from django.test import TestCase, override_settings
from l1 import await_l1


@override_settings(
    CACHES=caches_setting_for_tests(
        # Culling is for backends that count their entries; Django leaves it out for Redis, too.
        exclude={"cull", "zero_cull"},
        BACKEND=settings.BACKEND,
        LOCATION=settings.REDIS_TEST_URL,
        # What the keys of the aliases begin with: two of them have a key function of their own.
        OPTIONS={"L1": {"PREFIXES": [":", "cacheprefix", "CUSTOM-"]}},
    )
)
class TieredCacheTests(BaseCacheTests, TestCase):
    def setUp(self) -> None:
        super().setUp()
        await_l1()
