"""The process's channels to a cluster: one to each primary, together as good as one to a server.

What is kept is trusted only while every primary tells of writes. A key may then move from one to
another: whoever it is written on says so. When the cluster changes, all channels are closed, with
them goes all that was kept, and new ones are opened to the primaries that there are now.
"""

import logging
import os
import threading
from collections.abc import Collection
from typing import Final

from redis.exceptions import ResponseError

from redis_optimizer.channel import CLIENT_NAME, JOIN_TIMEOUT, Channel
from redis_optimizer.connections import Address, Cluster, is_busy
from redis_optimizer.core.forks import join_thread
from redis_optimizer.shares import Part, Whole
from redis_optimizer.subscriber import Control, Subscriber
from redis_optimizer.topology import Changed, Topology, discover, read_state

__all__ = ["ClusterChannel"]

logger = logging.getLogger("redis_optimizer.channel")

RETRY_FIRST: Final = 0.05
RETRY_LONGEST: Final = 2.0
"""Seconds until the cluster is looked at again while not all is well."""

REFUSED_AGAIN: Final = 60.0
"""Seconds until it is where no node says what it is part of."""


class ClusterChannel:
    """Keep a channel to each primary of a cluster, for all subscribers of this process.

    It is used as a `redis_optimizer.channel.Channel` is.

    Args:
        cluster: To listen to.
        namespace: Of the site.
        control: Is handed what is published on the site's control channel. A cluster publishes on
            all nodes what is published on one, so one channel alone has it.
        control_key: Where the control keeps what it keeps: its owner's channel is the one.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, control: Control, control_key: str
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._control = control
        self._control_key = control_key
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._news = threading.Event()  # something may have changed
        self._settled = threading.Event()
        self._topology: Topology | None = None
        self._channels: dict[Address, Channel] = {}
        self._wholes: list[Whole] = []
        self._connects = 0  # of channels that are gone
        self._error = ""
        self._has_warned = False
        self._is_refused = False

    @property
    def is_up(self) -> bool:
        """True while invalidations of all primaries arrive."""
        channels = list(self._channels.values())
        return bool(channels) and all(channel.is_up for channel in channels)

    @property
    def is_ours(self) -> bool:
        """False in a forked child: threads and connections are its parent's."""
        return self._pid == os.getpid()

    @property
    def protocol(self) -> int | None:
        """The RESP version in use, or None while not connected."""
        return next((c.protocol for c in list(self._channels.values())), None)

    @property
    def connects(self) -> int:
        """How often a channel to a node came up."""
        return self._connects + sum(c.connects for c in list(self._channels.values()))

    @property
    def last_error(self) -> str:
        """What went wrong last, of the cluster as a whole or of one node."""
        errors = [c.last_error for c in list(self._channels.values()) if not c.is_up]
        return next((error for error in errors if error), self._error)

    def subscribe(self, subscriber: Subscriber) -> bool:
        """Begin to tell ``subscriber`` of writes, see `Channel.subscribe`. Returns at once."""
        with self._lock:
            if self._stopping.is_set():
                return False
            if subscriber in self._subscribers:
                return True
            self._subscribers.append(subscriber)
            self._topology = None  # all channels begin anew, with its prefixes as well
            self._news.set()
            if self._is_refused:
                subscriber.on_refused(self._error)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=CLIENT_NAME, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads, or the interpreter is shutting down
                    self._subscribers.remove(subscriber)
                    raise
                self._thread = thread
            return True

    def stop(self) -> None:
        """End all threads and connections, for good; subscribers are told, and forgotten."""
        if not self.is_ours:
            self.abandon()
            return
        with self._lock:
            self._stopping.set()
            subscribers, self._subscribers = self._subscribers, []
        self._news.set()
        self._settled.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            join_thread(self._thread, JOIN_TIMEOUT)
        self._close()
        for subscriber in subscribers:
            subscriber.on_down()

    def abandon(self) -> None:
        """In a forked child: close the copies of the parent's sockets."""
        for channel in self._channels.values():
            channel.abandon()

    def ping(self) -> None:
        """Ask every node whether it lives and the cluster is as it was, without waiting."""
        for channel in list(self._channels.values()):
            channel.ping()

    def hears(self, nodes: Collection[Address]) -> bool:
        """Say whether these nodes tell of writes; look at the cluster anew when one does not."""
        channels = self._channels
        if nodes and all(node in channels and channels[node].is_up for node in nodes):
            return True
        self._news.set()
        return False

    # The thread

    def _run(self) -> None:
        retry = pause = RETRY_FIRST
        while True:
            self._news.clear()
            if self._stopping.is_set():  # after that: who stops it makes news
                return
            try:
                # One node may be news for long, such as one that a slot is moving to.
                pause = RETRY_FIRST if self._look() else min(2 * pause, RETRY_LONGEST)
            except Exception as error:  # whatever went wrong, it is looked at again
                self._error = f"{type(error).__name__}: {error}"
                logger.debug("The cluster could not be looked at: %s", self._error)
                self._close()
                if isinstance(error, ResponseError) and not is_busy(error):
                    self._wait_refused()
                    continue
            if self._settles(within=retry):
                retry, self._has_warned = RETRY_FIRST, False
                if not self._news.wait(RETRY_LONGEST):
                    pause = RETRY_FIRST
                    self._news.wait()
                self._stopping.wait(pause)  # where there is news, there may be more of it
            else:
                retry = min(2 * retry, RETRY_LONGEST)

    def _wait_refused(self) -> None:
        """Let values be kept for a short time, as where a node does not tell of writes."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The cluster does not say who has which slots (%s). Cached values are kept in "
                "process for a few seconds only. Allow CLUSTER INFO and CLUSTER SLOTS.",
                self._error,
            )
        with self._lock:
            self._is_refused = True
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.on_refused(self._error)
        self._stopping.wait(REFUSED_AGAIN)
        with self._lock:
            self._is_refused = False
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.on_down()

    def _settles(self, *, within: float) -> bool:
        """Wait until every primary tells of writes, or has refused to."""
        self._settled.wait(within)
        wholes = self._wholes
        is_settled = bool(wholes) and all(whole.is_settled for whole in wholes)
        if not is_settled:
            self._settled.clear()
        return is_settled or self._stopping.is_set()

    def _look(self) -> bool:
        """Look at the cluster, and say whether all begins anew."""
        with self._lock:
            known = self._topology
            subscribers = list(self._subscribers)
        if not subscribers:
            return False
        timeout = min(subscriber.max_staleness for subscriber in subscribers)
        found = discover(self._cluster, list(self._channels), timeout)
        if found == known:
            return False
        self._close()
        with self._lock:
            if self._stopping.is_set() or len(subscribers) != len(self._subscribers):
                return True
            self._topology = found
            owner = found.owner(self._control_key)
            self._wholes = [Whole(s, len(found.primaries), self) for s in subscribers]
            for node in found.primaries:  # one by one: no more threads may be had for the next
                self._channels[node] = self._open(found, node, has_control=node == owner)
        return True

    def _open(self, topology: Topology, node: Address, *, has_control: bool) -> Channel:
        def check(said: str) -> None:
            try:
                if read_state(said) != topology.state:
                    raise Changed("The cluster has changed.")
            except Changed:
                self._news.set()
                raise

        pool = self._cluster.pool(node)
        control = self._control if has_control else None
        channel = Channel(pool, self._namespace, control=control, check=check)
        for whole in self._wholes:
            channel.subscribe(Part(whole, pool, node, topology))
        return channel

    def tell_settled(self) -> None:
        """Take note that one subscriber has heard of every primary."""
        self._settled.set()

    def tell_lost(self) -> None:
        """Take note that a primary does not tell of writes any more."""
        self._settled.clear()
        self._news.set()

    def _close(self) -> None:
        with self._lock:
            wholes, self._wholes = self._wholes, []
            channels, self._channels = self._channels, {}
            self._topology = None
        for whole in wholes:
            whole.end()
        for channel in channels.values():
            channel.stop()
            self._connects += channel.connects
