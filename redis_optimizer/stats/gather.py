"""Ask all processes of the site what they counted."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from asgiref.sync import sync_to_async
from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import RedisError, ResponseError

from redis_optimizer.channel import CLIENT_NAME
from redis_optimizer.conf import get_settings
from redis_optimizer.connections import channel_connection, logs_in
from redis_optimizer.core.counters import add_up
from redis_optimizer.stats.gathered import Gathered, Process, Silent
from redis_optimizer.stats.messages import (
    MAX_ANSWER,
    Answer,
    Question,
    control_channel,
    new_id,
    read_answer,
    reply_channel,
)
from redis_optimizer.stats.servers import pools

__all__ = ["NO_SERVER", "TIMEOUT", "agather", "ask", "gather"]

TIMEOUT: Final = 0.8
"""Seconds for which answers are awaited."""

CONNECT_TIMEOUT: Final = 1.0
"""Seconds for which a server is awaited that hangs, before the others are listened to."""

MAX_IGNORED: Final = 1_000
"""Messages that are read beside the answers, so that a flood of them comes to an end."""

NO_SERVER: Final = "No cache of this site has a tier that is told of writes by a channel."

Clock = Callable[[], float]


def gather(timeout: float = TIMEOUT, *, history: bool = False) -> Gathered:
    """Ask every process that has a channel what it counted, and wait until all have answered.

    It costs two commands and one for each process, for each server that the site's caches are on;
    two more where it asks for a password, and one more where somebody does not answer.

    Args:
        timeout: Seconds to wait for those that do not answer.
        history: Ask for the last hour as well.

    Raises:
        redis.exceptions.RedisError: when no server could be asked.
        LookupError: when no cache of this site keeps a channel.
    """
    return ask(Question("stats", history), timeout)


async def agather(timeout: float = TIMEOUT, *, history: bool = False) -> Gathered:
    """Do what `gather` does, in a thread of its own: the event loop goes on meanwhile."""
    return await sync_to_async(gather, thread_sensitive=False)(timeout, history=history)


def ask(
    question: Question,
    timeout: float = TIMEOUT,
    *,
    through: Iterable[ConnectionPool] | None = None,
    now: Clock = time.monotonic,
) -> Gathered:
    """Ask a question of every process that has a channel.

    Args:
        question: What is asked; each server is asked under an id of its own.
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
        raise LookupError(NO_SERVER)
    asked: list[Asking] = []
    errors: list[Exception] = []
    try:
        for pool in servers:
            try:
                # One server may have two names: its answers must not be counted for both.
                asked.append(Asking(pool, replace(question, id=new_id()), now))
            except (RedisError, OSError) as error:
                errors.append(error)
        if not asked:
            raise errors[0]
        until = now() + timeout  # from here: a server that hangs takes no time of the others
        for asking in asked:
            try:
                asking.listen(until)
            except (RedisError, OSError) as error:
                errors.append(error)
            if question.only in asking.answers:
                break
    finally:
        for asking in asked:
            asking.close()
    found: dict[str, Process] = {}  # one with channels to two servers answers twice
    for asking in asked:
        for id, process in asking.answers.items():
            found[id] = _join(found.get(id), process)
    silent = [silent for asking in asked for silent in asking.silent()]
    missing = sum(asking.missing for asking in asked)
    if question.only is not None:  # nobody else answers
        missing = int(question.only not in found)
        silent = [Silent(None)] * missing
    return Gathered(
        processes=sorted(found.values(), key=lambda each: (each.facts["kind"], each.facts["pid"])),
        silent=silent,
        missing=missing,
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
        self._heard: Counter[int] = Counter()  # by pid: a process answers on each of its channels
        self._question = question
        self._now = now
        namespace = get_settings().NAMESPACE
        self._began = now()
        self._known: list[tuple[int, str]] = []
        self._connections: list[AbstractConnection] = []
        try:
            self._ear = self._connect(pool)
            self._ear.send_command("SUBSCRIBE", reply_channel(namespace, question.id))
            self._ear.read_response()
            self._mouth = self._connect(pool)
            self._mouth.send_command("PUBLISH", control_channel(namespace), question.pack())
            self._receivers = int(self._mouth.read_response())
        except BaseException:
            self.close()
            raise
        self._own_commands = 2 + 2 * logs_in(pool)

    @property
    def commands(self) -> int:
        """Return how many commands were sent, by all who took part."""
        return self._own_commands + self._heard.total()

    @property
    def missing(self) -> int:
        """Return how many channels heard the question on which no answer came."""
        if self._question.only is not None:
            return 0 if self._question.only in self.answers else min(self._receivers, 1)
        return max(self._receivers - self._heard.total(), 0)

    def listen(self, until: float) -> None:
        """Wait for the answers of all who heard the question, at most until then.

        Those that have arrived by then are read all the same. Who is missed then, the server is
        asked.
        """
        for _ in range(self._receivers + MAX_IGNORED):
            if not self.missing or not self._ear.can_read(max(until - self._now(), 0)):
                break
            match self._ear.read_response():
                case [b"message", _, bytes(data)] if len(data) <= MAX_ANSWER:
                    self._take(data)
                case _:
                    self.ignored += 1
        if self.missing and self._question.only is None:
            self._own_commands += 1
            self._mouth.send_command("CLIENT", "LIST", "TYPE", "PUBSUB")
            self._known = _channels(self._mouth)

    def silent(self) -> list[Silent]:
        """Return who heard the question and did not answer."""
        if not self.missing:
            return []
        answered = self._heard.copy()
        left = []
        for pid, address in self._known:
            if answered[pid]:
                answered[pid] -= 1
            else:
                left.append((pid, address))
        # More than there can be: some listen to the control channel of another site, or have
        # connected since.
        is_certain = len(left) <= self.missing
        named = [Silent(pid, address, is_certain) for pid, address in left]
        return named + [Silent(None)] * max(self.missing - len(left), 0)

    def close(self) -> None:
        """End the subscription."""
        for connection in self._connections:
            connection.disconnect()

    def _connect(self, pool: ConnectionPool) -> AbstractConnection:
        connection = channel_connection(pool, protocol=2, timeout=CONNECT_TIMEOUT, passing=True)
        self._connections.append(connection)
        return connection

    def _take(self, data: bytes) -> None:
        try:
            answer: Answer = read_answer(data, self._question)
        except ValueError:
            self.ignored += 1
            return
        seconds = self._now() - self._began
        process = Process(
            answer.process, answer.totals, answer.history, seconds, answer.dropped, answer.states
        )
        id = answer.process["id"]
        if self._question.only not in (None, id):
            self.ignored += 1
            return
        self.answers[id] = _join(self.answers.get(id), process)
        self._heard[answer.process["pid"]] += 1


def _join(before: Process | None, now: Process) -> Process:
    """Return the later of two answers of one process; what was done for either was done."""
    done = [each.totals["done"] for each in (before, now) if each and "done" in each.totals]
    if not done:
        return now
    return replace(now, totals={**now.totals, "done": add_up(done, largest=("left",))})


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
