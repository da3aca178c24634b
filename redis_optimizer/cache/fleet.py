"""One loader for the whole fleet: a lock in Redis with a token and a lifetime."""

import uuid
from typing import Any, Final

__all__ = ["FleetLock"]

# Nobody loads what was stored after he looked for it. And nobody waits longer than he would hold a
# lock, whatever is there: what is no lock may have no end. Nor is it a string (pcall).
_ACQUIRE: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return 0 end -- ours: the reply was lost
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    left = tonumber(ARGV[2])
end
return math.max(left, 1)
"""

# The value is stored by the holder alone, and only where nobody wrote one meanwhile: what was
# loaded may be older.
_PUBLISH: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
local stored
if ARGV[3] == '' then stored = redis.call('SET', KEYS[2], ARGV[2], 'NX')
elseif tonumber(ARGV[3]) > 0 then stored = redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3])
else return 1 end -- nothing to keep, as for add()
return stored and 1 or 0
"""

_RELEASE: Final = """
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class FleetLock:
    """The right to load one key.

    Args:
        redis: A client of the primary.
        key: The final key that is loaded.
        lifetime: Seconds after which another may take over.
    """

    def __init__(self, redis: Any, key: str, lifetime: float) -> None:
        self._redis = redis
        self._key = key
        self.name = f"{key}:redis_optimizer.lock"
        """Begins as the key does, so that whoever is told of the one is told of the other."""
        self._lifetime = int(lifetime * 1000)
        self._token = uuid.uuid4().hex

    def acquire(self) -> float | None:
        """Try to take the lock.

        Returns:
            0 when it was taken, the seconds until the holder's time is up, or None when the key
            has a value.
        """
        script = self._redis.register_script(_ACQUIRE)
        left = script([self.name, self._key], [self._token, self._lifetime])
        return None if left is None else int(left) / 1000

    def publish(self, value: bytes | int, timeout: float | None) -> bool:
        """Store what was loaded and give the lock back, in one step.

        Args:
            value: The encoded value.
            timeout: Seconds to keep it; None is for ever.

        Returns:
            False when nothing was stored: the lock had passed to somebody else, or the key has a
            value.
        """
        lifetime = "" if timeout is None else int(timeout * 1000)
        script = self._redis.register_script(_PUBLISH)
        return bool(script([self.name, self._key], [self._token, value, lifetime]))

    def release(self) -> None:
        """Give the lock back without a value."""
        self._redis.register_script(_RELEASE)([self.name], [self._token])
