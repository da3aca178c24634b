"""The process's channel to one server: invalidations and control messages arrive here.

One connection per process and server, read by one daemon thread. It begins when somebody
subscribes and makes a new connection whenever the old one is lost; between the two, no subscriber
trusts what it holds. What it guarantees: docs/cache.rst.
"""

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from typing import Final

from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from redis_optimizer.connections import is_busy
from redis_optimizer.core.bursts import MOST, Bursts
from redis_optimizer.core.forks import join_thread
from redis_optimizer.link import Event, Invalidated, Link, Message, Pong
from redis_optimizer.proof import Proof, probe_of
from redis_optimizer.signals import server_lost
from redis_optimizer.subscriber import Control, Subscriber, merge_prefixes

__all__ = ["CLIENT_NAME", "CONTROL", "JOIN_TIMEOUT", "Channel", "Refused"]

logger = logging.getLogger("redis_optimizer.channel")

CLIENT_NAME: Final = "redis_optimizer:channel"
CONTROL: Final = "redis_optimizer"

RETRY_FIRST: Final = 0.05
RETRY_LONGEST: Final = 2.0
REFUSED_FIRST: Final = 60.0
REFUSED_LONGEST: Final = 3600.0
ASIDE_TIMEOUT: Final = 0.5
"""Seconds for which this thread does not listen, where RESP2 needs another connection to speak."""

JOIN_TIMEOUT: Final = 1.0


class Refused(Exception):
    """The server cannot or will not say what was written; a retry soon would change nothing."""


class Channel:
    """Keep one tracked connection to a server, for all subscribers of this process.

    Args:
        pool: The pool that the data goes through.
        namespace: Of the site, see ``REDIS_OPTIMIZER["NAMESPACE"]``.
        now: Clock in seconds; must be monotonic.
        control: Is handed what is published on the site's control channel.
        check: Of a node of a cluster: is handed what the node says of the cluster, whenever it is
            asked whether it lives, and raises a ConnectionError where it must not be trusted.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        namespace: str,
        now: Callable[[], float] = time.monotonic,
        control: Control | None = None,
        check: Callable[[str], None] | None = None,
    ) -> None:
        self._pool = pool
        self._control_channel = f"{CONTROL}:{namespace}"
        self._control = control
        self._check = check
        self._now = now
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a finalizer that the GC runs inside may read, and PING
        self._sending = threading.Lock()  # what is sent on the link must not be mixed
        self._subscribers: list[Subscriber] = []
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._link: Link | None = None
        self._served: list[Subscriber] = []  # those whose probe has come back
        self._reads_seen = 0
        self._ping_sent: float | None = None
        self._is_talking = False  # the link is past its handshake: any thread may publish on it
        self._is_refused = False
        self._is_renewing = False
        self._proof = Proof(now)
        self.connects = 0
        self.last_error = ""

    @property
    def is_up(self) -> bool:
        """True while invalidations arrive."""
        return bool(self._served)

    @property
    def protocol(self) -> int | None:
        """The RESP version in use, or None while not connected."""
        link = self._link
        return link.protocol if link is not None else None

    def subscribe(self, subscriber: Subscriber) -> bool:
        """Begin to tell ``subscriber`` of writes under its prefixes. Returns at once.

        Returns:
            False when the channel was stopped: ask for another one.

        Raises:
            RuntimeError: when no thread can be started.
        """
        with self._lock:
            if self._stopping.is_set():
                return False
            if subscriber in self._subscribers:
                return True
            self._subscribers.append(subscriber)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=CLIENT_NAME, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads, or the interpreter is shutting down
                    self._subscribers.remove(subscriber)
                    raise
                self._thread = thread
            elif self._link is not None:
                self._is_renewing = True
                self._link.interrupt()  # connect anew, with its prefixes as well
            elif self._is_refused:
                subscriber.on_refused(self.last_error)
            return True

    def stop(self) -> None:
        """End the thread and the connection, for good; subscribers are told, and forgotten."""
        if not self.is_ours:
            self.abandon()
            return
        with self._lock:
            self._stopping.set()
            thread = self._thread
            subscribers, self._subscribers = self._subscribers, []
            link = self._link
        if link is not None:
            link.interrupt()
        if thread is not None and thread is not threading.current_thread():
            join_thread(thread, JOIN_TIMEOUT)
        for subscriber in subscribers:
            subscriber.on_down()

    @property
    def is_ours(self) -> bool:
        """False in a forked child: the thread and the connection are its parent's."""
        return self._pid == os.getpid()

    def abandon(self) -> None:
        """In a forked child: close the copy of the parent's socket."""
        if self._link is not None:
            self._link.close()  # redis-py closes, but does not shut down, another process's socket

    def ping(self) -> None:
        """Send a PING unless one is under way; its answer extends what subscribers may trust.

        Any thread may call this. It does not wait for the answer.
        """
        with self._lock:
            if not self._served or self._link is None or self._ping_sent is not None:
                return
            if not self._sending.acquire(blocking=False):
                return  # an answer is on its way; whoever asks next sends the PING
            try:
                self._ping_sent = self._now()
                # The reading thread meets the same error and acts on it.
                with contextlib.suppress(RedisError, OSError):
                    self._link.ping()
            finally:
                self._sending.release()

    # What the control asks for

    def publish(self, channel: str, data: bytes) -> None:
        """Publish a message, see `redis_optimizer.subscriber.Line`."""
        with self._sending:
            link = self._link
            if link is not None and self._is_talking:
                link.publish(channel, data, timeout=ASIDE_TIMEOUT)

    def read(self, key: str) -> bytes | None:
        """Return what a key holds, see `redis_optimizer.subscriber.Line`."""
        link = self._link
        return link.read(key, timeout=ASIDE_TIMEOUT) if link is not None else None

    def add(self, key: str, value: bytes) -> None:
        """Write a key that does not exist, see `redis_optimizer.subscriber.Line`."""
        with self._sending:
            if self._link is not None:
                self._link.add(key, value, timeout=ASIDE_TIMEOUT)

    def replace(self, key: str, before: bytes, value: bytes) -> bool:
        """Write a key that holds what it held, see `redis_optimizer.subscriber.Line`."""
        link = self._link
        return link is not None and link.replace(key, before, value, timeout=ASIDE_TIMEOUT)

    # The thread

    def _run(self) -> None:
        stopping = self._stopping
        retry, refused, warned = RETRY_FIRST, REFUSED_FIRST, False
        while not stopping.is_set():
            connects = self.connects
            try:
                self._connect_and_listen()
                continue
            except Refused as reason:
                self.last_error = str(reason)
                if not warned:
                    self._warn(again_in=refused)
                    warned = True
                self._wait_refused(refused)
                refused = min(2 * refused, REFUSED_LONGEST)
            except Exception as error:
                # Whatever went wrong, a message may have been missed: trust nothing, start anew.
                self.last_error = f"{type(error).__name__}: {error}"
                logger.debug("Channel lost: %s", self.last_error)
                if self.connects > connects:
                    self._tell_lost()
                    retry, refused, warned = RETRY_FIRST, REFUSED_FIRST, False
                stopping.wait(retry * random.uniform(0.5, 1.5))  # noqa: S311 # jitter
                retry = min(2 * retry, RETRY_LONGEST)

    def _connect_and_listen(self) -> None:
        """Serve the subscribers until the connection is lost, a new one comes, or we stop."""
        try:
            with self._lock:
                subscribers = list(self._subscribers)
                self._is_renewing = False
            timeout = min(subscriber.max_staleness for subscriber in subscribers)
            with _refusals():
                link = Link.open(self._pool, name=f"{CLIENT_NAME}:{os.getpid()}", timeout=timeout)
            with self._lock:
                self._link = link
                if self._stopping.is_set() or len(subscribers) != len(self._subscribers):
                    return
            prefixes = merge_prefixes(p for s in subscribers for p in s.prefixes)
            with _refusals():
                hears = link.track(prefixes, self._control_channel)
                if self._check is not None:
                    self._check(link.join_cluster())
            if self._control is not None and hears:
                self._control.on_connect(self)
            self._is_talking = True
            self._proof.begin()
            for subscriber in subscribers:
                self._prove(link, subscriber, timeout)
            self.connects += 1
            self._listen(link, timeout)
        finally:
            self._lose()

    def _prove(self, link: Link, subscriber: Subscriber, timeout: float) -> None:
        """Let a subscriber trust what it will hold, once it is proved that it hears of it."""
        key = probe_of(subscriber)
        sent = self._now()
        try:
            key = subscriber.prove(key)
        except NoPermissionError as error:  # any other error, such as a full memory, may pass
            raise Refused(f"writing {key!r} failed: {error}") from error
        if not self._proof.arrives(partial(self._poll, link), key, timeout):
            raise Refused(f"no invalidation came for {key!r}")
        with self._lock:
            if not self._stopping.is_set():  # else nobody would listen any more
                subscriber.on_up(sent + subscriber.max_staleness)
                self._served.append(subscriber)

    def _listen(self, link: Link, timeout: float) -> None:
        heartbeat = min(subscriber.heartbeat for subscriber in self._served)
        next_beat = self._now() + heartbeat
        next_look = self._now() if self._control is not None else inf
        bursts = Bursts()
        while not self._stopping.is_set():
            now = self._now()
            sent = self._ping_sent
            if sent is not None and now >= sent + timeout:
                raise RedisConnectionError("The server did not answer a PING.")
            if now >= next_beat:
                next_beat = now + heartbeat
                if self._was_read():
                    self.ping()
            if self._control is not None and now >= next_look:
                next_look = now + self._control.look()
            if bursts.is_on:
                if self._stopping.wait(bursts.pause):
                    return
                received = link.received
                for event in link.drain(MOST):
                    self._handle(event, link)
                bursts.taken(link.received - received)
                continue
            wake = min(next_beat, next_look, inf if sent is None else sent + timeout)
            next_event = link.poll(max(wake - now, 0))
            if next_event is not None:
                self._handle(next_event, link)
                bursts.came(self._now())

    def _poll(self, link: Link, timeout: float) -> Event | None:
        event = link.poll(timeout)
        if event is not None:
            self._handle(event, link)
        return event

    def _handle(self, event: Event, link: Link) -> None:
        if isinstance(event, Invalidated):
            for subscriber in self._served:
                subscriber.on_invalidated(event.keys)
            if event.keys is None and self._control is not None:
                self._control.on_flushed(self)
        elif isinstance(event, Pong):
            sent, self._ping_sent = self._ping_sent, None
            if sent is None:
                return
            if link.moved():
                raise RedisConnectionError("Sentinel names another master.")
            if self._check is not None:
                self._check(event.said)
            # A node of a cluster has a name of its own, which `check` knows.
            elif not self._proof.holds(partial(self._poll, link), list(self._served)):
                return
            for subscriber in () if self._stopping.is_set() else self._served:
                subscriber.on_alive(sent + subscriber.max_staleness)
        elif isinstance(event, Message) and self._control is not None:
            self._control.on_message(event.data, self)

    def _was_read(self) -> bool:
        reads = sum(subscriber.reads() for subscriber in self._served)
        was_read, self._reads_seen = reads != self._reads_seen, reads
        return was_read

    def _lose(self) -> None:
        with self._lock:
            link, self._link = self._link, None
            self._is_talking = False
            self._ping_sent = None
            self._served = []
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.on_down()
        if link is not None:
            link.interrupt()  # another thread may be waiting to get its answer through
            with self._sending:
                link.close()

    def _tell_lost(self) -> None:
        """Tell of the loss of a channel that was up, unless this process cut it itself."""
        if not self._is_renewing and not self._stopping.is_set():
            server_lost.send_robust(sender=Channel, reason=f"channel lost: {self.last_error}")

    def _wait_refused(self, seconds: float) -> None:
        with self._lock:
            self._is_refused = True
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.on_refused(self.last_error)
        self._stopping.wait(seconds)
        with self._lock:
            self._is_refused = False
        self._lose()

    def _warn(self, *, again_in: float) -> None:
        logger.warning(
            "The server does not tell of writes (%s). Cached values are kept in process for a few "
            "seconds only. Another try follows in %.0f s. To silence this, allow CLIENT TRACKING, "
            'or set OPTIONS["L1"]["COHERENCE"] = "ttl" or ["ENABLED"] = False.',
            self.last_error,
            again_in,
        )


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        if is_busy(error):  # as a lost connection: it passes
            raise
        raise Refused(str(error)) from error
