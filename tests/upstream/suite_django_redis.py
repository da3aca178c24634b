"""What users of django-redis expect, in the words of its own tests: conftest.py collects them."""

# Those of the backend. The others test parts that TieredCache uses as they are.
MODULES = (
    "test_backend",
    "test_backend_sorted_sets",
    "test_cache_options",
    "test_client",
    "test_session",
)
# OPTIONS of the caches; every test that takes a cache runs with each.
VARIANTS = {
    "default": {},
    "json": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"},
    "msgpack": {"SERIALIZER": "django_redis.serializers.msgpack.MSGPackSerializer"},
    "zlib": {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"},
    # These two run without L1, and must still work.
    "herd": {"CLIENT_CLASS": "django_redis.client.HerdClient"},
    "shard": {"CLIENT_CLASS": "django_redis.client.ShardClient"},
}
