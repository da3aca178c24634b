"""Notice what makes a response one person's: then nobody else may get it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Self

from django.contrib.messages import get_messages
from django.contrib.messages.storage.base import BaseStorage
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from redis_optimizer.health.audience import WATCH
from redis_optimizer.internals import csrf_token_noted

__all__ = ["AUDIENCE", "NOTHING", "Watch"]

NOTHING: Final[frozenset[str]] = frozenset()
"""What a view may read of a user whose response is the same for everybody."""

AUDIENCE: Final = frozenset({"is_active", "is_staff"})
"""What a view may read of a user whose response is the same for all staff, and for all others."""


class Watch:
    """Look at what a view reads while it runs; undone when it has ended.

    Args:
        request: The request that the view gets.
        allowed: Attributes of the user that it may read; None where it may read all.
        is_staff: Whether the response is one for staff.

    Attributes:
        read: What it read first that it was not to, such as "request.user".
        changed: What of its own the client will be sent besides the response, such as a cookie.
        is_mistaken: It read that the caller is, or is not, staff, where the key says otherwise: who
            asks was remembered, or is told by something else than the session.
    """

    def __init__(
        self, request: HttpRequest, allowed: frozenset[str] | None, *, is_staff: bool = False
    ) -> None:
        self.request = request
        self.allowed = allowed
        self.read = ""
        self.changed = ""
        self.is_mistaken = False
        self._is_staff = is_staff
        self._values: dict[str, bool] = {}  # of the attributes that it may read
        self._session: Any = None
        self._was_accessed = False
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        token_used = self._undo.enter_context(csrf_token_noted(self.request))
        self._undo.callback(lambda: self._note_change(token_used(), "used a CSRF token"))
        self._watch_messages()
        session = vars(self.request).get("session")
        if hasattr(session, "accessed"):
            self._watch_session(session)
        if self.allowed is not None:
            self._watch_user(self.allowed)
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()
        if self._values.get("is_active") and "is_staff" not in self._values:
            # A member is active and a visitor is not, and both count as the public.
            self._note("request.user.is_active without is_staff")

    def _note(self, what: str) -> None:
        self.read = self.read or what

    def _note_change(self, is_so: bool, what: str) -> None:
        if is_so:
            self.changed = self.changed or what

    def _watch_messages(self) -> None:
        messages = get_messages(self.request)
        if not isinstance(messages, BaseStorage):  # the site has none
            return
        used, added = messages.used, messages.added_new

        def undo() -> None:
            shows = messages.used and not used and len(messages) > 0
            self._note_change(shows or messages.added_new > added, "used the user's messages")

        self._undo.callback(undo)

    def _watch_session(self, session: Any) -> None:
        # Asking who is there, for the key, has read it already.
        accessed, modified = session.accessed, session.modified
        session.accessed = session.modified = False
        self._session = session

        def undo() -> None:
            self._note_change(session.modified, "changed the session")
            if session.accessed and self.allowed is not None:
                self._note("the session")
            session.accessed = session.accessed or accessed or self._was_accessed
            session.modified = session.modified or modified

        self._undo.callback(undo)

    def _watch_user(self, allowed: frozenset[str]) -> None:
        fields = vars(self.request)

        def replace(name: str, replacement: Any) -> None:
            original = fields[name]
            fields[name] = replacement

            def undo() -> None:
                if fields.get(name) is replacement:  # a log-in puts another one there
                    fields[name] = original

            self._undo.callback(undo)

        if not allowed:
            fields[WATCH] = self._note
            self._undo.callback(fields.pop, WATCH, None)
        if "user" in fields:
            replace("user", Watched(fields["user"], self))
        if "auser" in fields:
            auser = fields["auser"]

            async def watched_auser() -> Any:
                with self.loading():
                    return Watched(await auser(), self)

            replace("auser", watched_auser)

    def note_user(self, attribute: str = "") -> None:
        """Hear that an attribute of the user was read; without a name, more than an attribute."""
        if not self.allowed:
            self._note("request.user")
        elif attribute not in self.allowed:
            self._note(f"request.user.{attribute}" if attribute else "request.user")

    def note_value(self, attribute: str, value: Any) -> None:
        """Hear what an attribute of the user was."""
        if self.allowed and attribute in self.allowed:
            self._values[attribute] = bool(value)
            self.is_mistaken |= attribute == "is_staff" and bool(value) is not self._is_staff

    def why(self) -> str:
        """Return why nobody else may get the response."""
        if self.changed:
            return self.changed
        if self.allowed:
            return f"read {self.read}, but cached_health tells apart staff and all others only"
        return f"read {self.read}, but vary=None says that all get the same"

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Do not take it for the view's own reading that a user is loaded from the session."""
        session = self._session
        accessed = session is None or session.accessed
        try:
            yield
        finally:
            if not accessed and session.accessed:
                session.accessed = False
                self._was_accessed = True


class Watched(SimpleLazyObject):  # type: ignore[type-arg]  # generic in its stubs alone
    """A user that tells what of it is read."""

    def __init__(self, user: Any, watch: Watch) -> None:
        def load() -> Any:
            # Called for all that is no attribute: it is compared, printed, or its class looked at.
            watch.note_user()
            return user

        super().__init__(load)
        vars(self)["_watched"] = user, watch

    def __getattr__(self, name: str) -> Any:
        user, watch = vars(self)["_watched"]
        watch.note_user(name)
        with watch.loading():
            value = getattr(user, name)
        watch.note_value(name, value)
        return value

    def __repr__(self) -> str:
        user, watch = vars(self)["_watched"]
        watch.note_user()
        return repr(user)
