"""Ask all processes of the site what they counted."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import RedisError, ResponseError

from redis_optimizer.channel import CLIENT_NAME
from redis_optimizer.conf import get_settings
from redis_optimizer.connections import channel_connection
from redis_optimizer.core.counters import add_up, merge
from redis_optimizer.stats.messages import (
    MAX_ANSWER,
    Answer,
    Question,
    control_channel,
    read_answer,
    reply_channel,
)
from redis_optimizer.stats.servers import pools

__all__ = ["TIMEOUT", "Gathered", "Process", "Silent", "ask", "gather"]

TIMEOUT: Final = 0.8
"""Seconds for which answers are awaited."""

CONNECT_TIMEOUT: Final = 2.0

LARGEST: Final = ("staleness_bound",)
"""Numbers of which that of the site is the largest of its processes'."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Process:
    """What one process answered.

    Args:
        facts: See `redis_optimizer.stats.process.facts`.
        totals: What it counted since it began, by source.
        history: Its last hour, where that was asked for.
        seconds: How long its answer took.
        dropped: Parts that its answer had no room for.
    """

    facts: Mapping[str, Any]
    totals: Mapping[str, Any]
    history: Mapping[str, Any] | None
    seconds: float
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Silent:
    """A process that has a channel and did not answer in time.

    Args:
        pid: Its number, None where the server does not tell.
        address: Of its channel, as the server sees it; "" where that is not known.
        is_certain: False where it may be a process of another site on that server.
    """

    pid: int | None
    address: str = ""
    is_certain: bool = True


@dataclass(frozen=True)
class Gathered:
    """What came of a question.

    Args:
        processes: Those that answered. A process without a channel is not seen: it has not read a
            cache with a tier yet, or that cache needs no channel.
        silent: Those that did not answer in time.
        commands: What asking and answering cost, in commands.
        seconds: How long it took.
        ignored: Messages that were no answers.
        unreachable: What went wrong with servers that could not be asked.
    """

    processes: list[Process] = field(default_factory=list)
    silent: list[Silent] = field(default_factory=list)
    commands: int = 0
    seconds: float = 0.0
    ignored: int = 0
    unreachable: list[str] = field(default_factory=list)

    def totals(self) -> dict[str, Any]:
        """Return what all processes counted, together."""
        return add_up((each.totals for each in self.processes), largest=LARGEST)

    def history(self) -> dict[str, Any]:
        """Return the last hour of all processes, together."""
        return merge(process.history for process in self.processes if process.history)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "processes": [
                {
                    "process": dict(each.facts),
                    "totals": dict(each.totals),
                    "history": each.history,
                    "seconds": round(each.seconds, 6),
                    "dropped": list(each.dropped),
                }
                for each in self.processes
            ],
            "silent": [
                {"pid": each.pid, "address": each.address, "is_certain": each.is_certain}
                for each in self.silent
            ],
            "totals": self.totals(),
            "history": self.history(),
            "commands": self.commands,
            "seconds": round(self.seconds, 6),
            "ignored": self.ignored,
            "unreachable": self.unreachable,
        }


def gather(timeout: float = TIMEOUT, *, history: bool = False) -> Gathered:
    """Ask every process that has a channel what it counted, and wait until all have answered.

    It costs three commands and one for each process, for each server that the site's caches are
    on, and two more where it asks for a password.

    Args:
        timeout: Seconds to wait for those that do not answer.
        history: Ask for the last hour as well.

    Raises:
        redis.exceptions.RedisError: when no server could be asked.
        LookupError: when no cache of this site keeps a channel.
    """
    return ask(Question("stats", history), timeout)


def ask(
    question: Question,
    timeout: float = TIMEOUT,
    *,
    through: Iterable[ConnectionPool] | None = None,
    now: Clock = time.monotonic,
) -> Gathered:
    """Ask a question of every process that has a channel.

    Args:
        question: What is asked.
        timeout: Seconds to wait for those that do not answer.
        through: A pool for each server; those of this site's caches unless given.
        now: Clock in seconds; must be monotonic.

    Raises:
        redis.exceptions.RedisError: when no server could be asked.
        LookupError: when no cache of this site keeps a channel.
    """
    began = now()
    servers = list(pools() if through is None else through)
    if not servers:
        raise LookupError("No cache of this site has a tier that is told of writes by a channel.")
    asked: list[Asking] = []
    errors: list[Exception] = []
    try:
        for pool in servers:
            try:
                asked.append(Asking(pool, question, now))
            except (RedisError, OSError) as error:
                errors.append(error)
        if not asked:
            raise errors[0]
        for asking in asked:
            try:
                asking.listen(began + timeout)
            except (RedisError, OSError) as error:
                errors.append(error)
    finally:
        for asking in asked:
            asking.close()
    found: dict[str, Process] = {}  # one with channels to two servers answers twice
    for asking in asked:
        found |= asking.answers
    return Gathered(
        processes=sorted(found.values(), key=lambda each: (each.facts["kind"], each.facts["pid"])),
        silent=[silent for asking in asked for silent in asking.silent()],
        commands=sum(asking.commands for asking in asked),
        seconds=now() - began,
        ignored=sum(asking.ignored for asking in asked),
        unreachable=[f"{type(error).__name__}: {error}" for error in errors],
    )


class Asking:
    """A question that was put on one server, and what came of it.

    It has two connections, as one that is subscribed takes no other command on every server.

    Args:
        pool: Of the server.
        question: What is asked.
        now: Clock in seconds; must be monotonic.

    Raises:
        redis.exceptions.RedisError, OSError: when the server cannot be asked.
    """

    def __init__(self, pool: ConnectionPool, question: Question, now: Clock) -> None:
        self.answers: dict[str, Process] = {}
        self.ignored = 0
        self._question = question
        self._now = now
        namespace = get_settings().NAMESPACE
        self._began = now()
        self._ear = channel_connection(pool, protocol=2, timeout=CONNECT_TIMEOUT)
        try:
            self._ear.send_command("SUBSCRIBE", reply_channel(namespace, question.id))
            self._ear.read_response()
            mouth = channel_connection(pool, protocol=2, timeout=CONNECT_TIMEOUT)
            try:
                # The names first: nobody who hears the question is overlooked then.
                mouth.send_command("CLIENT", "LIST", "TYPE", "PUBSUB")
                mouth.send_command("PUBLISH", control_channel(namespace), question.pack())
                self._known = _channels(mouth)
                self._receivers = int(mouth.read_response())
            finally:
                mouth.disconnect()
        except BaseException:
            self._ear.disconnect()
            raise
        self._own_commands = 3 + 2 * _logs_in(pool)

    @property
    def commands(self) -> int:
        """Return how many commands were sent, by all who took part."""
        return self._own_commands + len(self.answers)

    def listen(self, until: float) -> None:
        """Wait for the answers of all who heard the question, at most until then."""
        while len(self.answers) < self._receivers:
            left = until - self._now()
            if left <= 0 or not self._ear.can_read(left):
                return
            match self._ear.read_response():
                case [b"message", _, bytes(data)] if len(data) <= MAX_ANSWER:
                    self._take(data)
                case _:
                    self.ignored += 1

    def silent(self) -> list[Silent]:
        """Return who heard the question and did not answer."""
        missing = self._receivers - len(self.answers)
        if missing <= 0:
            return []
        answered = Counter(process.facts["pid"] for process in self.answers.values())
        left = []
        for pid, address in self._known:
            if answered[pid]:
                answered[pid] -= 1
            else:
                left.append((pid, address))
        # More than there can be: some listen to the control channel of another site.
        is_certain = len(left) <= missing
        named = [Silent(pid, address, is_certain) for pid, address in left]
        return named + [Silent(None)] * max(missing - len(left), 0)

    def close(self) -> None:
        """End the subscription."""
        self._ear.disconnect()

    def _take(self, data: bytes) -> None:
        try:
            answer: Answer = read_answer(data, self._question)
        except ValueError:
            self.ignored += 1
            return
        self.answers[answer.process["id"]] = Process(
            answer.process,
            answer.totals,
            answer.history,
            self._now() - self._began,
            answer.dropped,
        )


def _channels(connection: AbstractConnection) -> list[tuple[int, str]]:
    """Read what CLIENT LIST says; return the pid and the address of each channel."""
    try:
        listed = connection.read_response()
    except ResponseError:  # not allowed: they are counted all the same, by PUBLISH
        return []
    text = listed.decode(errors="replace") if isinstance(listed, bytes) else str(listed)
    found = []
    for line in text.splitlines():
        fields = dict(part.partition("=")[::2] for part in line.split(" "))
        name, _, pid = fields.get("name", "").rpartition(":")
        if name == CLIENT_NAME and pid.isdecimal():
            found.append((int(pid), fields.get("addr", "")))
    return found


def _logs_in(pool: ConnectionPool) -> bool:
    options = pool.connection_kwargs
    return bool(options.get("password") or options.get("credential_provider"))
