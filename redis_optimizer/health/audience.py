"""Who asks: staff see details, all others a word. The answer costs nothing once it is known."""

import copy
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest

from redis_optimizer.core.forks import around_fork
from redis_optimizer.internals import loaded_user

__all__ = [
    "WATCH",
    "Audience",
    "aaudience",
    "audience",
    "forget",
    "forget_caller",
    "is_known",
    "is_staff_known",
    "session_spared",
]

KEPT_AT_MOST: Final = 4_096
"""Answers that a process remembers."""

WATCH: Final = "_redis_optimizer_watch"
"""The attribute of a request through which whoever keeps its response hears that it was asked who
asks: a function that takes the name of what was read."""


class Audience(StrEnum):
    """Those who are shown the same."""

    PUBLIC = "public"
    STAFF = "staff"


KEPT_FOR: Final = {Audience.STAFF: 60.0, Audience.PUBLIC: 600.0}
"""Seconds for which an answer is remembered. For so long one who is staff no more still counts as
staff, in a process that did not see the log-out; and one who has become so, without a new log-in,
as the public. Few are staff, and all others poll less often than once a minute."""

KEPT_UNSURE_FOR: Final = 10.0
"""Seconds for which it is remembered where the cookie's session seems to be empty: it is over, or
it is in a cache that did not answer."""


class Known:
    """The answers that are remembered, by what the client shows: the session's cookie.

    Args:
        now: Clock in seconds; must be monotonic.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._lock = threading.Lock()
        # What is in memory may be seen in a dump: it is no use for taking over a session.
        self._secret = os.urandom(32)
        self._answers: OrderedDict[bytes, tuple[float, Audience]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, shown: str) -> Audience | None:
        """Return who shows something, if that is remembered."""
        answer = self._answers.get(self._digest(shown))
        if answer is None or self.now() >= answer[0]:
            return None
        return answer[1]

    def put(self, shown: str, answer: Audience, *, is_sure: bool = True) -> None:
        """Remember who shows something."""
        digest = self._digest(shown)
        seconds = KEPT_FOR[answer] if is_sure else KEPT_UNSURE_FOR
        with self._lock:
            self._answers[digest] = (self.now() + seconds, answer)
            self._answers.move_to_end(digest)
            while len(self._answers) > KEPT_AT_MOST:
                self._answers.popitem(last=False)

    def drop(self, shown: str) -> None:
        """Remember it no longer."""
        with self._lock:
            self._answers.pop(self._digest(shown), None)

    def clear(self) -> None:
        """Remember nothing. Takes a new lock, as a forked child needs one."""
        self._lock = threading.Lock()
        self._answers = OrderedDict()

    def _digest(self, shown: str) -> bytes:
        data = shown.encode("utf-8", "surrogatepass")
        return blake2b(data, key=self._secret, digest_size=16).digest()


known: Final = Known()
"""What this process remembers."""


def audience(request: HttpRequest) -> Audience:
    """Return who asks. Without a session cookie, that is the public, and nothing is touched.

    The answer for a cookie is remembered, see `KEPT_FOR` and `KEPT_UNSURE_FOR`. Where it cannot be
    had, because the store of the sessions or the table of users does not answer, say, it is the
    public as well. Nobody is logged out by being asked for.

    Args:
        request: The request.
    """
    _tell(request)
    shown = _shown(request)
    if not shown:
        return Audience.PUBLIC
    answer = known.get(shown)
    if answer is None:
        try:
            with session_spared(request):
                answer = _judge(request.user)
                is_sure = not _has_empty_session(request)
        except Exception:
            return Audience.PUBLIC
        known.put(shown, answer, is_sure=is_sure)
    return answer


async def aaudience(request: HttpRequest) -> Audience:
    """Do as `audience`, without blocking the event loop.

    Args:
        request: The request.
    """
    _tell(request)
    shown = _shown(request)
    if not shown:
        return Audience.PUBLIC
    answer = known.get(shown)
    if answer is None:
        try:
            with session_spared(request):
                answer = _judge(await request.auser())
                is_sure = not _has_empty_session(request)
        except Exception:
            return Audience.PUBLIC
        known.put(shown, answer, is_sure=is_sure)
    return answer


def is_known(request: HttpRequest) -> bool:
    """Tell whether `audience` will look nothing up.

    Args:
        request: The request.
    """
    shown = _shown(request)
    return not shown or known.get(shown) is not None


def is_staff_known(request: HttpRequest) -> bool:
    """Tell whether it is known, without asking anybody, that staff asks.

    Args:
        request: The request.
    """
    try:
        user = loaded_user(request)
        if user is not None:
            return _judge(user) is Audience.STAFF
    except Exception:
        return False
    if not len(known):  # to parse the cookies takes longer than all else
        return False
    shown = _shown(request)
    return shown is not None and known.get(shown) is Audience.STAFF


@contextmanager
def session_spared(request: HttpRequest) -> Iterator[None]:
    """Leave a session as it was that turns out to be empty when it is read inside.

    Sessions in a cache seem so while the cache does not answer, and for an empty one Django has the
    browser delete the cookie: everybody whose page polls would be logged out.

    Args:
        request: The request.
    """
    session: Any = vars(request).get("session")
    untouched = copy.copy(session) if session is not None and not session.accessed else None
    try:
        yield
    finally:
        if untouched is not None and session.is_empty() and request.session is session:
            untouched.accessed = True  # the response depends on it all the same
            request.session = untouched


def forget(cookie: str | None) -> None:
    """Forget who sends a cookie; done at log-in and log-out, in the process that serves them.

    Args:
        cookie: The value of the session's cookie.
    """
    if cookie:
        known.drop(cookie)


def forget_caller(request: HttpRequest) -> None:
    """Forget who sends a request.

    Args:
        request: The request.
    """
    forget(_shown(request))


def _has_empty_session(request: HttpRequest) -> bool:
    session: Any = vars(request).get("session")
    return session is not None and session.is_empty()


def _shown(request: HttpRequest) -> str | None:
    cookie: str | None = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    # Some sites take the user from there: what it says is not true of the cookie alone.
    credentials = request.META.get("HTTP_AUTHORIZATION")
    return f"{cookie}\n{credentials}" if cookie and credentials else cookie


def _judge(user: Any) -> Audience:
    is_staff = user is not None and user.is_active and user.is_staff
    return Audience.STAFF if is_staff else Audience.PUBLIC


def _tell(request: HttpRequest) -> None:
    watch = vars(request).get(WATCH)
    if watch is not None:
        watch("the audience")


def _forget_request(*, request: HttpRequest | None = None, **kwargs: object) -> None:
    if request is not None:
        forget_caller(request)


def _connect() -> None:
    # Importing the signals alone needs no installed app.
    from django.contrib.auth.signals import user_logged_in, user_logged_out

    for signal in (user_logged_in, user_logged_out):
        signal.connect(_forget_request, dispatch_uid="redis_optimizer.health.audience")


_connect()
around_fork(after_in_child=known.clear)
