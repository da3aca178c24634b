"""Keep what is dear to make: one load for all who ask, renewed early, served stale when all fails.

Where values are kept is up to a `Place`; it also has the clock that their ages are told by.
"""

import asyncio
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, Final, Generic, TypeVar

from redis_optimizer.core.flight import Flights
from redis_optimizer.core.forks import around_fork
from redis_optimizer.core.kept import Found, Kept, Made, Place, State
from redis_optimizer.core.limits import errors_suppressed, pass_time_limit
from redis_optimizer.core.underway import Underway

__all__ = ["Keeper"]

T = TypeVar("T")

logger: Final = logging.getLogger(__name__)


class Keeper(Generic[T]):
    """Return kept values, and make those that are missing, one load at a time for each key.

    Args:
        place: Where the values are kept.
        name: What is made, as logs name it.
        stale_for: Seconds past its time for which a value is served when making a new one fails.
        early: Seconds before the end of its time when a value is renewed in the background.
        excuses: Tells of an error whether a value past its time may be served instead.
        believes: Tells whether a value that is young enough may be served all the same.
        seal: Prepares a value for others that wait for it; False where they cannot have it.
        begin: Runs a renewal in the background, where a caller is not a coroutine.
    """

    def __init__(
        self,
        place: Place[T],
        *,
        name: str,
        stale_for: float = 0.0,
        early: float = 0.0,
        excuses: Callable[[Exception], bool] = lambda error: True,
        believes: Callable[[T], bool] = lambda value: True,
        seal: Callable[[T], bool] = lambda value: True,
        begin: Callable[[Callable[[], object]], object] = lambda run: run(),
    ) -> None:
        self.place = place
        self.name = name
        self.stale_for = stale_for
        self.early = early
        self.flights = Flights()
        self._excuses = excuses
        self._believes = believes
        self._seal = seal
        self._begin = begin
        self._lock = threading.Lock()
        self._stored = 0  # values put into the place: who saw none need not look again
        self._underway = Underway()
        self._renewing: set[Hashable] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop refers to them weakly
        _keepers.add(self)

    def get(
        self,
        key: Hashable,
        make: Callable[[], Made[T]],
        *,
        renew: Callable[[], Made[T]] | None = None,
        max_age: float = inf,
        now: bool = False,
        supersedes: bool = False,
    ) -> Found[T]:
        """Return the value of a key: kept, or made by this call or by one that is under way.

        Args:
            key: Of the value.
            make: Makes it.
            renew: Makes it in the background; as `make` does, where it is None.
            max_age: Seconds that it may be old.
            now: Make it whatever is kept.
            supersedes: What is kept is out of date: where another cannot be kept, drop it.

        Raises:
            Exception: What `make` raised, for all that waited for it.
        """
        stored = self._stored
        if not now:
            kept = self.place.get(key)
            found = self._judge(kept, max_age)
            if found is not None:
                if self.early and self._claims(key, kept, found):
                    self._begin_renewal(key, renew or make)
                return found
        leads = False

        def load() -> Found[T]:
            nonlocal leads
            leads = True
            return self._load(key, make, max_age, None if now else stored, supersedes)

        found = self.flights.run(key, load)
        if leads:
            return found
        if found.is_shared:
            return found._replace(is_joined=True)
        return self._load(key, make, max_age, None, supersedes)

    async def aget(
        self,
        key: Hashable,
        make: Callable[[], Awaitable[Made[T]]],
        *,
        renew: Callable[[], Awaitable[Made[T]]] | None = None,
        max_age: float = inf,
        now: bool = False,
        supersedes: bool = False,
    ) -> Found[T]:
        """Do as `get`, for asyncio; a renewal in the background is a task."""
        stored = self._stored
        if not now:
            kept = await self.place.aget(key)
            found = self._judge(kept, max_age)
            if found is not None:
                if self.early and self._claims(key, kept, found):
                    task = asyncio.create_task(self._arenew(key, renew or make))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                return found
        leads = False

        async def load() -> Found[T]:
            nonlocal leads
            leads = True
            return await self._aload(key, make, max_age, None if now else stored, supersedes)

        found = await self.flights.arun(key, load)
        if leads:
            return found
        if found.is_shared:
            return found._replace(is_joined=True)
        return await self._aload(key, make, max_age, None, supersedes)

    def void(self, key: Hashable) -> None:
        """Keep nothing that a load under way makes, and let nobody join it any more."""
        self._underway.void(key)
        self.flights.forget(key)

    def drop(self, key: Hashable) -> None:
        """Keep a value no longer, nor what a load that is under way will make.

        Raises:
            Exception: What the place raised; then the value may still be there.
        """
        self.void(key)
        self.place.drop(key)

    async def adrop(self, key: Hashable) -> None:
        """Do as `drop`, for asyncio."""
        self.void(key)
        await self.place.adrop(key)

    def reset(self) -> None:
        """Forget all loads; for a forked child, where the threads that load do not exist."""
        self._lock = threading.Lock()
        self._underway = Underway()
        self._renewing = set()
        self.flights.reset()

    # Loading: inside a flight, so one at a time for each key

    def _load(
        self,
        key: Hashable,
        make: Callable[[], Made[T]],
        max_age: float,
        stored: int | None,
        supersedes: bool,
    ) -> Found[T]:
        # Another load may have ended between the look above and this flight.
        if stored is not None and stored != self._stored:
            found = self._judge(self.place.get(key), max_age)
            if found is not None:
                return self._share(found)
        with self._underway.load(key) as is_current:
            try:
                made = make()
            except Exception as error:
                pass_time_limit(error)
                stale = self._judge_stale(self.place.get(key) if self.stale_for else None, error)
                if stale is None:
                    raise
                return self._share(stale)
            if made.fresh_for > 0 and is_current():
                where = key if made.key is None else made.key
                is_there = self.place.put(where, self._wrap(made))
                self._note_stored(key)
                # Dropped while it was being put there; or what is there is out of date.
                if not is_current() or (supersedes and not is_there):
                    with errors_suppressed():
                        self.place.drop(where)
        return self._share(Found(made.value, State.MISS, is_shared=made.is_shared))

    async def _aload(
        self,
        key: Hashable,
        make: Callable[[], Awaitable[Made[T]]],
        max_age: float,
        stored: int | None,
        supersedes: bool,
    ) -> Found[T]:
        if stored is not None and stored != self._stored:
            found = self._judge(await self.place.aget(key), max_age)
            if found is not None:
                return self._share(found)
        with self._underway.load(key) as is_current:
            try:
                made = await make()
            except Exception as error:
                pass_time_limit(error)
                kept = await self.place.aget(key) if self.stale_for else None
                stale = self._judge_stale(kept, error)
                if stale is None:
                    raise
                return self._share(stale)
            if made.fresh_for > 0 and is_current():
                # Who is cancelled meanwhile leaves it to a task, which drops what it has put there:
                # once this block is left, the load is not current.
                storing = asyncio.create_task(self._astore(key, made, is_current, supersedes))
                self._tasks.add(storing)
                storing.add_done_callback(self._tasks.discard)
                await asyncio.shield(storing)
        return self._share(Found(made.value, State.MISS, is_shared=made.is_shared))

    async def _astore(
        self, key: Hashable, made: Made[T], is_current: Callable[[], bool], supersedes: bool
    ) -> None:
        where = key if made.key is None else made.key
        is_there = await self.place.aput(where, self._wrap(made))
        self._note_stored(key)
        if not is_current() or (supersedes and not is_there):
            with errors_suppressed():
                await self.place.adrop(where)

    def _note_stored(self, key: Hashable) -> None:
        # Afterwards: who has counted this one, and then looks, sees it.
        with self._lock:
            self._stored += 1
            self._renewing.discard(key)  # whoever was to do it may have died

    # Renewing

    def _claims(self, key: Hashable, kept: Kept[T] | None, found: Found[T]) -> bool:
        """Tell whether a value is to be renewed, and by this call."""
        if kept is None or found.age < kept.fresh_for - self.early:
            return False
        with self._lock:
            if key in self._renewing:
                return False
            self._renewing.add(key)
            return True

    def _begin_renewal(self, key: Hashable, make: Callable[[], Made[T]]) -> None:
        try:
            self._begin(lambda: self._renew(key, make))
        except RuntimeError:  # no thread is to be had
            self._renewing.discard(key)
            logger.warning("%s could not be renewed.", self.name, exc_info=True)

    def _renew(self, key: Hashable, make: Callable[[], Made[T]]) -> None:
        with self._renewal(key):
            self.get(key, make, now=True)

    async def _arenew(self, key: Hashable, make: Callable[[], Awaitable[Made[T]]]) -> None:
        with self._renewal(key):
            await self.aget(key, make, now=True)

    @contextmanager
    def _renewal(self, key: Hashable) -> Iterator[None]:
        try:
            yield
        except Exception:
            logger.warning("%s could not be renewed.", self.name, exc_info=True)
        finally:
            self._renewing.discard(key)

    # Judging

    def _judge(self, kept: Kept[T] | None, max_age: float) -> Found[T] | None:
        """Return a kept value if it may be served."""
        if kept is None:
            return None
        age = max(self.place.now() - kept.made_at, 0.0)
        if age >= kept.fresh_for or age >= max_age or not self._believes(kept.value):
            return None
        return Found(kept.value, State.HIT, age)

    def _judge_stale(self, kept: Kept[T] | None, error: Exception) -> Found[T] | None:
        """Return a kept value if it may be served instead of an error."""
        if kept is None or not self._excuses(error):
            return None
        age = max(self.place.now() - kept.made_at, 0.0)
        if age >= kept.fresh_for + self.stale_for:
            return None
        logger.warning(
            "%s failed: what it gave %.0f s ago is served.", self.name, age, exc_info=error
        )
        return Found(kept.value, State.STALE, age)

    def _wrap(self, made: Made[T]) -> Kept[T]:
        return Kept(made.value, self.place.now(), made.fresh_for, self.stale_for)

    def _share(self, found: Found[T]) -> Found[T]:
        is_own = found.is_shared and not self._seal(found.value)
        return found._replace(is_shared=False) if is_own else found


# In a forked child nobody is left to end a load that was under way.
_keepers: "weakref.WeakSet[Keeper[Any]]" = weakref.WeakSet()


def _after_fork() -> None:
    for keeper in _keepers:
        keeper.reset()


around_fork(after_in_child=_after_fork)
