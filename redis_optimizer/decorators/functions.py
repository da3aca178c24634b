"""``cached``: keeps what a function or a coroutine returns in any cache of the site."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from redis_optimizer.core.keep import Keeper
from redis_optimizer.core.kept import Found, Made
from redis_optimizer.core.limits import errors_suppressed
from redis_optimizer.decorators.alias import AliasPlace, Box, Key
from redis_optimizer.decorators.arguments import CallKey
from redis_optimizer.decorators.background import run_in_thread
from redis_optimizer.decorators.limits import callable_or_none, seconds, title
from redis_optimizer.switches import is_on

__all__ = ["Cached", "cached"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Cached(Protocol[P, R_co]):
    """A function whose results are kept. All three are coroutine functions where it is one."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return what the function returns for these arguments, kept or fresh."""

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Forget the result for these arguments, and what a call under way will return.

        Raises:
            Exception: what the cache raised; then the old result may still be there.
        """

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function, keep and return what it returns now."""

    def __get__(self, instance: object, owner: Any = None) -> Any:
        """Bind a method, as functions do."""


def cached(
    ttl: float,
    *,
    key: str | Callable[..., str] | None = None,
    vary: Callable[..., Any] | None = None,
    cache: str = "default",
    early: float = 0,
    stale_if_error: float = 0,
) -> Callable[[Callable[P, R]], Cached[P, R]]:
    """Keep what a function or a coroutine function returns, None as well. Errors are not kept.

    Callers of one process that want the same at the same time share one call. While the cache does
    not answer, each group of them calls the function. On a method, `self` is an argument like all
    others; `invalidate` and `refresh` are called on the class: ``Shop.total.invalidate(shop)``.

    Args:
        ttl: Seconds that a result is kept. 0: the function is called each time.
        key: What to keep it under: a template such as ``"profile:{user_id}"``, whose arguments are
            put in as text, or a function of the arguments that returns one. By default the name of
            the function and its arguments, which must be numbers, texts, dates, model instances,
            or tuples of such.
        vary: Called with the arguments, returns something that the result depends on besides.
        cache: The alias of the cache.
        early: Seconds before the end of `ttl` from which on a call renews the result in the
            background, in a thread or a task, while all go on getting the one there is. Not where
            the KEY_FUNCTION of the cache makes another key there than in the call.
        stale_if_error: Seconds after the end of `ttl` for which the result is returned if the
            function raises.

    Raises:
        TypeError: an argument is of a wrong type; so does a call with an argument of which no key
            can be made.
        ValueError: a number of seconds is negative or endless, or `early` is not less than `ttl`.
    """
    if callable(ttl):
        raise TypeError("cached needs to know for how many seconds: write @cached(60).")

    def decorate(function: Callable[P, R]) -> Cached[P, R]:
        name = title(function)
        _check(function, name)
        for argument, value in (("ttl", ttl), ("early", early), ("stale_if_error", stale_if_error)):
            seconds(argument, value, name)
        if 0 < ttl <= early:
            raise ValueError(f"early of {name} must be less than its ttl, not {early!r}.")
        place = AliasPlace(cache)
        keeper: Keeper[Box] = Keeper(
            place,
            name=name,
            stale_for=stale_if_error,
            early=early,
            seal=Box.seal,
            begin=functools.partial(run_in_thread, aliases=(cache,)),
        )
        make_key = CallKey(function, name, key, callable_or_none("vary", vary, name))
        wrap = _wrap_coroutine if inspect.iscoroutinefunction(function) else _wrap
        return cast("Cached[P, R]", wrap(function, keeper, place, make_key, ttl))

    return decorate


def _wrap(
    function: Any, keeper: Keeper[Box], place: AliasPlace, make_key: CallKey, ttl: float
) -> Any:
    def key_of(args: Any, kwargs: Any) -> Key:
        return place.key(make_key(args, kwargs))

    def get(args: Any, kwargs: Any, key: Key, *, is_old: bool = False) -> Any:
        def make() -> Made[Box]:
            return Made(Box(function(*args, **kwargs)), ttl)

        def renew() -> Made[Box]:
            _ensure_same(key, place.key(key.name))
            return make()

        return _value(keeper.get(key, make, renew=renew, now=is_old, supersedes=is_old))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not (ttl and is_on("endpoints")):
            return function(*args, **kwargs)
        return get(args, kwargs, key_of(args, kwargs))

    def invalidate(*args: Any, **kwargs: Any) -> None:
        keeper.drop(key_of(args, kwargs))

    def refresh(*args: Any, **kwargs: Any) -> Any:
        if not (ttl and is_on("endpoints")):
            if ttl:  # else it would be served when the part is on again
                with errors_suppressed():
                    invalidate(*args, **kwargs)
            return function(*args, **kwargs)
        key = key_of(args, kwargs)
        keeper.void(key)  # what a call under way has read may be what the caller has changed
        return get(args, kwargs, key, is_old=True)

    return _with(call, keeper, invalidate, refresh)


def _wrap_coroutine(
    function: Any, keeper: Keeper[Box], place: AliasPlace, make_key: CallKey, ttl: float
) -> Any:
    async def key_of(args: Any, kwargs: Any) -> Key:
        return await place.akey(make_key(args, kwargs))

    async def get(args: Any, kwargs: Any, key: Key, *, is_old: bool = False) -> Any:
        async def make() -> Made[Box]:
            return Made(Box(await function(*args, **kwargs)), ttl)

        async def renew() -> Made[Box]:
            _ensure_same(key, await place.akey(key.name))
            return await make()

        return _value(await keeper.aget(key, make, renew=renew, now=is_old, supersedes=is_old))

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not (ttl and is_on("endpoints")):
            return await function(*args, **kwargs)
        return await get(args, kwargs, await key_of(args, kwargs))

    async def invalidate(*args: Any, **kwargs: Any) -> None:
        await keeper.adrop(await key_of(args, kwargs))

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        if not (ttl and is_on("endpoints")):
            if ttl:
                with errors_suppressed():
                    await invalidate(*args, **kwargs)
            return await function(*args, **kwargs)
        key = await key_of(args, kwargs)
        keeper.void(key)
        return await get(args, kwargs, key, is_old=True)

    return _with(call, keeper, invalidate, refresh)


def _ensure_same(key: Key, here: Key) -> None:
    """Refuse to make a value in the name of another one than who asked.

    Raises:
        RuntimeError: the cache makes another key here, in the background of a call.
    """
    if key.final is not None and key != here:
        raise RuntimeError(
            "The KEY_FUNCTION of the cache makes another key in the background of a call than in "
            "the call itself: a function that is kept there cannot be renewed `early`."
        )


def _with(call: Any, keeper: Keeper[Box], invalidate: Any, refresh: Any) -> Any:
    call.invalidate, call.refresh, call.keeper = invalidate, refresh, keeper
    return call


def _value(found: Found[Box]) -> Any:
    return found.value.copy() if found.is_joined else found.value.value


def _check(function: Any, name: str) -> None:
    if isinstance(function, type):
        raise TypeError(f"{name} is a class: cached decorates functions.")
    if isinstance(function, classmethod | staticmethod):
        raise TypeError(f"{name}: write cached below classmethod or staticmethod, not above.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} yields: what it gives can be read only once, and is not kept.")
