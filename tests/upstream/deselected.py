"""The upstream tests that are not run, each with the reason."""

# A test is meant when its id has every part of the key: those between "::", and its [variant].
DESELECTED = {
    "TestSortedSetOperations[shard]": (
        "django-redis has no sorted sets on its ShardClient: without us, too, it raises "
        "NotImplementedError"
    ),
    "test_intenum[msgpack]": (
        "django-redis's msgpack serializer makes a plain int of an IntEnum: without us, too"
    ),
    "test_delete_pattern_with_custom_count": (
        "it puts a mock in place of the client, and that makes mocks of the keys to be dropped"
    ),
    "test_delete_pattern_with_settings_default_scan_count": (
        "it puts a mock in place of the client, and that makes mocks of the keys to be dropped"
    ),
}
