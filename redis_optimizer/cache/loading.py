"""``get_or_set``: callers that miss one key share one run of the loader."""

import asyncio
import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from redis.exceptions import RedisError

from redis_optimizer.cache import together
from redis_optimizer.cache.fleet import FleetLock
from redis_optimizer.cache.signed import Keyed
from redis_optimizer.core.limits import pass_time_limit
from redis_optimizer.core.store import MISSING
from redis_optimizer.core.values import Load, freeze, thaw

if TYPE_CHECKING:
    from redis_optimizer.cache.tier import Tier
    from redis_optimizer.cache.tiered import TieredCache

__all__ = ["Loading"]

Shared = tuple[Any, Load]
"""A value as :func:`redis_optimizer.core.values.freeze` keeps it: each caller thaws its own."""

POLL_FIRST: Final = 0.025
POLL_LONGEST: Final = 1.0


class Loading:
    """One call of ``get_or_set`` that found nothing in the process.

    Args:
        cache: The backend.
        tier: Its tier.
        final: The final key.
        key: The key as the site names it.
        default: The value, or a callable that makes it.
        timeout: Seconds to keep it in Redis, as Django's ``timeout``.
        version: The key's version, as Django's ``version``.
    """

    def __init__(
        self,
        cache: "TieredCache",
        tier: "Tier",
        final: str,
        key: Any,
        default: Any,
        timeout: float | None,
        version: int | None,
    ) -> None:
        self._cache = cache
        self._tier = tier
        self.final = final
        self._key = key
        self._default = default
        self._timeout = timeout
        self._version = version
        self._fleet = tier.options.SINGLE_FLIGHT == "fleet"

    def run(self) -> Any:
        """Return the value, found in Redis or made."""
        return thaw(*self._tier.flights.run(self.final, self._lead))

    async def arun(self) -> Any:
        """Return the value, found in Redis or made, without blocking the event loop."""
        return thaw(*await self._tier.flights.arun(self.final, self._alead))

    def _lead(self) -> Shared:
        with self._open_to_others():
            return self._load_in_fleet() if self._fleet else self._load()

    async def _alead(self) -> Shared:
        with self._open_to_others():
            return await (self._aload_in_fleet() if self._fleet else self._aload())

    @contextlib.contextmanager
    def _open_to_others(self) -> Iterator[None]:
        """Let others share this load until the key is written: they must not get what was before.

        Begins before anything is read, so that no write falls between.
        """
        forget = functools.partial(self._tier.flights.forget, self.final)
        unwatch = self._tier.store.watch(self.final, forget)
        try:
            yield
        finally:
            unwatch()

    # Within the process

    def _load(self) -> Shared:
        found = self._read()
        if found is not MISSING:
            return self._share(found)
        return self._add(self._default() if callable(self._default) else self._default)

    async def _aload(self) -> Shared:
        if self.final in self._tier.store.entries:  # on the event loop, if it may be served
            found = await self._cache.aget(self._key, MISSING, self._version)
        else:
            found = await _in_thread(self._read)()
        if found is not MISSING:
            return self._share(found)
        return await _in_thread(self._add)(await self._make())

    def _read(self) -> Any:
        return together.read(self._cache, self._tier, self.final, self._key, self._version)

    def _add(self, made: Any) -> Shared:
        if self._cache.add(self._key, made, self._timeout, self._version) is False:
            # Somebody was faster; theirs is the one that Redis holds.
            return self._share(self._cache.get(self._key, made, self._version))
        raw, load = self._as_stored(made)
        if isinstance(raw, bytes) and len(raw) > together.LARGEST:
            self._tier.known.forget(self.final)
        return raw, load

    async def _make(self) -> Any:
        made = self._default() if callable(self._default) else self._default
        return await made if inspect.isawaitable(made) else made

    # Across processes

    def _load_in_fleet(self) -> Shared:
        poll = POLL_FIRST
        while True:
            woken = threading.Event()
            lock = self._lock()
            with self._watching(lock, woken.set):
                found = self._cache.get(self._key, MISSING, self._version)
                if found is not MISSING:
                    return self._share(found)
                left = self._acquire(lock)
                if left is None:
                    found = self._look_again()
                    if found is not MISSING:
                        return self._share(found)
                if not left:
                    break
                poll = self._pause(poll)
                woken.wait(min(left, poll))
        try:
            made = self._default() if callable(self._default) else self._default
            return self._publish(lock, made) if self._holds_lock(left) else self._add(made)
        except BaseException:
            self._give_back(lock)
            raise

    async def _aload_in_fleet(self) -> Shared:
        loop = asyncio.get_running_loop()
        poll = POLL_FIRST
        while True:
            woken = asyncio.Event()
            lock = self._lock()
            with self._watching(lock, functools.partial(_set_from_thread, loop, woken)):
                found = await self._cache.aget(self._key, MISSING, self._version)
                if found is not MISSING:
                    return self._share(found)
                left = await self._aacquire(lock)
                if left is None:
                    found = await _in_thread(self._look_again)()
                    if found is not MISSING:
                        return self._share(found)
                if not left:
                    break
                poll = self._pause(poll)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), min(left, poll))
        try:
            made = await self._make()
            store = functools.partial(self._publish, lock) if self._holds_lock(left) else self._add
            return await _in_thread(store)(made)
        except BaseException:
            await asyncio.shield(_in_thread(self._give_back)(lock))
            raise

    def _acquire(self, lock: FleetLock) -> float | None:
        try:
            left: float | None = self._cache.guarded(lock.acquire, 0.0)
        except BaseException:
            self._give_back(lock)  # the server may have given it before the reply was lost
            raise
        return left

    async def _aacquire(self, lock: FleetLock) -> float | None:
        asking = asyncio.ensure_future(_in_thread(self._acquire)(lock))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The thread asks on: what it is given must be given back.
            await asyncio.wait([asking])
            await _in_thread(self._give_back)(lock)
            raise

    def _holds_lock(self, left: float | None) -> bool:
        """Tell whether to store by the lock. Else add() replaces what is there and is no value."""
        return left is not None or not self._cache.signs

    def _lock(self) -> FleetLock:
        redis = self._cache.primary()
        return FleetLock(redis, self.final, self._tier.options.SINGLE_FLIGHT_TIMEOUT)

    @contextlib.contextmanager
    def _watching(self, lock: FleetLock, wake: Callable[[], object]) -> Iterator[None]:
        # Before the look into Redis: what happens after it must wake us.
        ends = [self._tier.store.watch(key, wake) for key in (self.final, lock.name)]
        try:
            yield
        finally:
            for end in ends:
                end()

    def _look_again(self) -> Any:
        """Read what was stored a moment ago: neither we nor a replica need have heard of it."""
        self._tier.drop((self.final,))
        return self._cache.get(self._key, MISSING, self._version, self._cache.primary())

    def _pause(self, poll: float) -> float:
        """Return how long to wait for news before looking again."""
        if self._tier.hears_of(self.final):
            return self._tier.options.SINGLE_FLIGHT_TIMEOUT
        return min(2 * poll, POLL_LONGEST)

    def _publish(self, lock: FleetLock, made: Any) -> Shared:
        client = self._cache.client
        timeout = self._timeout
        if timeout is DEFAULT_TIMEOUT:
            timeout = self._cache.default_timeout
        raw = client.encode(Keyed(self.final, made) if self._cache.signs else made)
        try:
            stored = self._cache.guarded(lambda: lock.publish(raw, timeout), True)
        finally:
            self._tier.drop((self.final, lock.name))
        if not stored:
            found = self._look_again()
            if found is not MISSING:
                return self._share(found)
        return raw, client.decode

    def _give_back(self, lock: FleetLock) -> None:
        try:
            # The loader's own error is the one to raise; the lock's lifetime ends by itself.
            with contextlib.suppress(RedisError, OSError):
                lock.release()
        finally:
            self._tier.drop((lock.name,))

    # Sharing

    def _share(self, value: Any) -> Shared:
        try:
            kept, load, _ = freeze(value)
        except Exception as error:
            pass_time_limit(error)
            # A serializer of the site's own may make what pickle cannot take.
            return self._as_stored(value)
        return kept, load

    def _as_stored(self, made: Any) -> Shared:
        """Give everybody what a later reader gets: a serializer may turn a tuple into a list."""
        client = self._cache.client
        return client.encode(made), client.decode


def _set_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed with the waiter in it
        loop.call_soon_threadsafe(event.set)


_in_thread = sync_to_async(thread_sensitive=False)
