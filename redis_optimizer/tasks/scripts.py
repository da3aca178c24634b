"""What the locks of jobs need of the server in one step each, in Lua."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.exceptions import NoScriptError

__all__ = [
    "ACQUIRE",
    "CLAIM_DEBOUNCED",
    "CLAIM_LAST",
    "DEBOUNCE",
    "DROP",
    "EXTEND",
    "FINISH",
    "KEEP_LAST",
    "RELEASE",
    "Script",
]


class Script:
    """A script that is sent in full only to a server that does not know it yet.

    Args:
        text: In Lua.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: "redis.Redis", keys: Sequence[str], *args: str | bytes | int) -> Any:
        """Run it and return what it returns."""
        run: Any = client.evalsha
        try:
            return run(self.digest, len(keys), *keys, *args)
        except NoScriptError:
            run = client.eval
            return run(self.text, len(keys), *keys, *args)


# Where the latest arguments are kept the lock is a hash, with the job's id in a field.
_HELD = """
local function held(key)
    local kind = redis.call('TYPE', key).ok
    if kind == 'hash' then
        return redis.call('HGET', key, 'id')
    end
    return kind == 'string' and redis.call('GET', key)
end
"""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

ACQUIRE: Final = Script("""
-- lock; id, lifetime: the id of the job that has it, nil when it is this one
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    return false
end
return redis.call('GET', KEYS[1])
""")

RELEASE: Final = Script(
    _HELD
    + """
-- locks; the id of each: how many are released
local released = 0
for i, key in ipairs(KEYS) do
    if held(key) == ARGV[i] then
        released = released + redis.call('DEL', key)
    end
end
return released
"""
)

EXTEND: Final = Script(
    _HELD
    + """
-- lock; id, lifetime, 'hash' or 'string'
local id = held(KEYS[1])
if not id then
    if ARGV[3] == 'hash' then
        redis.call('HSET', KEYS[1], 'id', ARGV[1], 'runs', 1)
    else
        redis.call('SET', KEYS[1], ARGV[1])
    end
elseif id ~= ARGV[1] then
    return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
)

DEBOUNCE: Final = Script(
    _NOW
    + """
-- lock; id, window, lifetime, call: the id of the job that will run, 1 when it is new
local id = redis.call('HGET', KEYS[1], 'id') or ARGV[1]
local is_new = id == ARGV[1]
redis.call('HSET', KEYS[1], 'id', id, 'due', now + ARGV[2])
if is_new then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
else
    -- Its job renews it, not each call: it would outlive a lost job for as long as they come.
    redis.call('HSET', KEYS[1], 'body', ARGV[4])
end
return {id, is_new and 1 or 0}
"""
)

CLAIM_DEBOUNCED: Final = Script(
    _NOW
    + """
-- lock, arguments of this job; id, lifetime: how long it must wait; the latest call, nil when the
-- message has it
local held = redis.call('HMGET', KEYS[1], 'id', 'due', 'body')
if held[1] ~= ARGV[1] then
    return {0, redis.call('GET', KEYS[2])}  -- delivered again, or lapsed
end
local left = held[2] - now
if left > 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {left, held[3]}
end
-- A call from now on begins a window of its own; this one may yet be delivered again.
if held[3] then
    redis.call('SET', KEYS[2], held[3], 'PX', ARGV[2])
end
redis.call('DEL', KEYS[1])
return {0, held[3]}
"""
)

DROP: Final = Script("""
-- lock, arguments of this job; id
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return redis.call('DEL', KEYS[2])
""")

KEEP_LAST: Final = Script("""
-- lock; id, lifetime, call: the id of the job that will run, 1 when it is to be sent now
local held = redis.call('HMGET', KEYS[1], 'id', 'runs', 'next')
local id, body, is_new = held[1] or ARGV[1], 'body', 0
if id == ARGV[1] then
    is_new = 1
elseif held[2] then
    id, body = held[3] or ARGV[1], 'next_body'
    redis.call('HSET', KEYS[1], 'next', id)
    if not held[3] then
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
    end
end
if is_new == 1 then
    redis.call('HSET', KEYS[1], 'id', id)  -- its message has the arguments
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
    -- Its job renews it, not each call: it would outlive a lost job for as long as they come.
    redis.call('HSET', KEYS[1], body, ARGV[3])
end
return {id, is_new}
""")

CLAIM_LAST: Final = Script("""
-- lock; id, lifetime: the latest call, nil when the message has it
local held = redis.call('HMGET', KEYS[1], 'id', 'body', 'next', 'next_body')
local body = held[2]
if held[1] and held[1] ~= ARGV[1] then
    if held[3] ~= ARGV[1] then
        return false  -- this one has lapsed, and another stands in its place
    end
    body = held[4]
    redis.call('HDEL', KEYS[1], 'next', 'next_body')
    redis.call('HSET', KEYS[1], 'body', body)
end
redis.call('HDEL', KEYS[1], 'over')
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'runs', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return body
""")

FINISH: Final = Script("""
-- lock; id, lifetime, end: id and call of the job that is to be sent now, or nil
local held = redis.call('HMGET', KEYS[1], 'id', 'next', 'next_body', 'over')
-- The next may be over before it takes the lock: it was revoked, or had expired.
local is_next = held[4] and held[2] == ARGV[1]
-- It may be over already for whoever hears of it, too, but not for this one, who asks once more.
local is_over = held[4] and held[4] ~= ARGV[3]
if not is_next and (held[1] ~= ARGV[1] or is_over) then
    return false
end
if is_next or not held[2] then
    redis.call('DEL', KEYS[1])
    return false
end
-- The next takes the lock when it runs. Should it not be sent because this process is killed, this
-- job is delivered again and sends it.
redis.call('HSET', KEYS[1], 'over', ARGV[3], 'runs', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {held[2], held[3]}
""")
