"""What Django expects of every cache backend, in the words of its own tests."""

from cache.tests import BaseCacheTests, caches_setting_for_tests
from django.conf import settings
from django.test import TestCase, override_settings
from l1 import await_ready, count_served
from redis.exceptions import ResponseError


@override_settings(
    CACHES=caches_setting_for_tests(
        # Culling is for backends that count their entries; Django leaves it out for Redis, too.
        exclude={"cull", "zero_cull"},
        BACKEND=settings.BACKEND,
        LOCATION=settings.REDIS_TEST_URL,
        OPTIONS={"L1": {"START_AFTER": 0}},
    )
)
class TieredCacheTests(BaseCacheTests, TestCase):
    incr_decr_type_error = ResponseError

    def setUp(self) -> None:
        super().setUp()
        await_ready()

    def tearDown(self) -> None:
        count_served()
        super().tearDown()
