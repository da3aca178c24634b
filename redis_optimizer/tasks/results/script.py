"""The script that stores results in Redis, and its arguments."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from celery import states

from redis_optimizer.tasks.results import retention
from redis_optimizer.tasks.results.retention import Retention, key_of_kept

__all__ = ["STORE", "Record", "pack"]

# A success is never overwritten. The state of what is there is read off its first bytes, where
# every JSON result has it: parsing a large value would hold up the server, and Lua's parser gives
# up on deep ones. What begins otherwise (pickle, compressed) goes back to the caller, who tells by
# the digest that this very value may be replaced.
STORE: Final = """
local undecided, stored_count, pruned = {}, 0, 0
for record = 1, (#ARGV - 1) / 6 do
    local at = record * 6 - 4
    local key, value, lifetime = KEYS[record], ARGV[at], tonumber(ARGV[at + 1])
    local kept, other = KEYS[tonumber(ARGV[at + 3])], KEYS[tonumber(ARGV[at + 4])]
    local limit = tonumber(ARGV[at + 5])

    local function set(...)
        if lifetime > 0 then return redis.call('SET', key, value, 'EX', lifetime, ...) end
        return redis.call('SET', key, value, ...)
    end

    local stored = set('NX')
    if not stored then
        local begins = redis.pcall('GETRANGE', key, 0, 99)
        local state = 'none' -- of what is no text: it is replaced
        if type(begins) == 'string' then state = begins:match('^{"status": ?"([^"]*)"') end
        if not state then
            local found = redis.call('GET', key)
            local digest = redis.sha1hex(found)
            if digest == ARGV[at + 2] then
                state = 'replaceable'
            else
                undecided[#undecided + 1] = {record, found, digest}
            end
        end
        stored = state and state ~= 'SUCCESS' and set()
        if stored and kept then
            redis.pcall('LREM', kept, 0, key)
            redis.pcall('LREM', other, 0, key)
        end
    end

    if stored then
        redis.call('PUBLISH', key, value)
        stored_count = stored_count + 1
    end
    if stored and kept then
        local count = redis.pcall('LPUSH', kept, key)
        if type(count) ~= 'number' then -- there is something else
            redis.call('DEL', kept)
            count = redis.call('LPUSH', kept, key)
        end
        if count > limit then
            for _, old in ipairs(redis.call('LRANGE', kept, limit, -1)) do
                local left = redis.call('TTL', old)
                if left == -1 or left > tonumber(ARGV[1]) then
                    pruned = pruned + redis.call('EXPIRE', old, ARGV[1])
                end
            end
            redis.call('LTRIM', kept, 0, limit - 1)
        end
        if lifetime > 0 then redis.call('EXPIRE', kept, lifetime)
        else redis.call('PERSIST', kept) end
    end
end
return {stored_count, pruned, undecided}
"""


class Record(NamedTuple):
    """One result to store.

    Attributes:
        key: Where it goes, and the channel that it is published on.
        value: The result as the backend encodes it.
        lifetime: Seconds; 0 for ever.
        retention: What it is counted under.
        replaces: Digest of a value that is no success, so that it may be overwritten.
    """

    key: Any
    value: Any
    lifetime: int
    retention: Retention | None
    replaces: str = ""


def pack(records: Iterable[Record], prefix: str = "") -> tuple[list[Any], list[Any]]:
    """Return the keys and the arguments that `STORE` takes for records.

    Args:
        records: The results.
        prefix: That of their backend.
    """
    records = list(records)
    keys: list[Any] = [record.key for record in records]
    arguments: list[Any] = [retention.GRACE]
    places: dict[str, int] = {}  # of the lists among the keys; each is named once
    for _, value, lifetime, counted, replaces in records:
        kept = other = limit = 0
        if counted is not None:
            opposite = states.FAILURE if counted.kind == states.SUCCESS else states.SUCCESS
            names = [key_of_kept(counted.task, kind, prefix) for kind in (counted.kind, opposite)]
            kept, other = (
                places.setdefault(name, len(records) + 1 + len(places)) for name in names
            )
            limit = counted.limit
        arguments += value, lifetime, replaces, kept, other, limit
    return keys + list(places), arguments
