"""MONITOR, read by a thread: what the server shows of every command, by connection."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace

import redis

from redis_optimizer.management.benchmark.sockets import process_of

CONTAINERS = frozenset({"ACL", "CLIENT", "CONFIG", "FUNCTION", "OBJECT", "PUBSUB", "SCRIPT"})
SCRIPT = "lua"  # in the place of an address, when a script called the command
TIMEOUT = 30.0  # seconds for MONITOR to show what the server has answered


@dataclass(frozen=True, slots=True)
class Client:
    """One connection.

    Args:
        address: host and port of the client's end.
        name: what CLIENT SETNAME said.
        user: who logged in.
        process: its id; None where that cannot be known (another machine, not Linux).
    """

    address: str
    name: str = ""
    user: str = ""
    process: int | None = None


@dataclass
class Snapshot:
    """What MONITOR had shown at one moment.

    Args:
        restart: forget all that afterwards.
        sent: commands by connection.
        taken: set when the moment has come, or never will; `complete` tells which.
    """

    restart: bool
    sent: dict[Client, Counter[str]] = field(default_factory=dict)
    taken: threading.Event = field(default_factory=threading.Event)
    complete: bool = False


class Monitor:
    """A connection that is shown every command, and a thread that counts them.

    Args:
        url: of the server.

    Raises:
        redis.RedisError: the server does not answer.
    """

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, single_connection_client=True)
        self._client.ping()  # connects before anything is counted
        # No timeout: MONITOR says nothing while nobody sends anything.
        self._pool = redis.ConnectionPool.from_url(url, socket_timeout=None)
        self._connection = self._pool.get_connection()
        self._connection.send_command("MONITOR")
        self._connection.read_response()
        self.asked = 0  # commands that the thread has sent itself
        self._awaited: dict[str, Snapshot] = {}
        # What follows belongs to the thread.
        self._clients: dict[str, Client] = {}
        self._sent: dict[str, Counter[str]] = {}
        self._own: set[str] = set()
        self._ending = ""
        self._ended = False
        self._thread = threading.Thread(target=self._listen, name="monitor", daemon=True)
        self._thread.start()

    def take(self, client: redis.Redis, *, restart: bool = False) -> Snapshot:
        """Return what MONITOR shows of everything up to now.

        Args:
            client: what to ask the server for an ECHO with, which MONITOR shows after all that was
                before; its connection is not counted from then on.
            restart: count from here.

        Raises:
            redis.RedisError: the server does not answer, or was away meanwhile.
        """
        token = secrets.token_hex(16)
        self._awaited[token] = snapshot = Snapshot(restart)
        client.echo(token)
        if self._ended:  # nobody would set it any more
            snapshot.taken.set()
        if not snapshot.taken.wait(TIMEOUT) or not snapshot.complete:
            raise redis.ConnectionError("MONITOR has ended.")
        return snapshot

    def close(self) -> None:
        """End the thread and its connections."""
        self._ending = secrets.token_hex(16)
        with suppress(redis.RedisError):  # the server is gone, and the thread has noticed
            self._client.echo(self._ending)
        self._thread.join(TIMEOUT)
        self._pool.disconnect()
        self._client.close()

    def _listen(self) -> None:
        try:
            argument = ""
            while not self._ending or argument != self._ending:
                argument = self._count(self._connection.read_response(disable_decoding=True))
        except redis.RedisError:
            pass  # those who wait are told, and those who ask later
        finally:
            self._ended = True
            for snapshot in list(self._awaited.values()):
                snapshot.taken.set()

    def _count(self, line: bytes) -> str:
        """Count the command of a line; return its first argument."""
        address, name, argument = parse(line)
        if name == "ECHO" and (snapshot := self._awaited.pop(argument, None)):
            self._own.add(address)
            self._sent.pop(address, None)
            self._answer(snapshot)
        elif address != SCRIPT and address not in self._own:
            self._sent.setdefault(address, Counter())[name] += 1
            self._meet(address, name, argument)
        return argument

    def _answer(self, snapshot: Snapshot) -> None:
        snapshot.sent = {
            self._clients[address]: sent.copy() for address, sent in self._sent.items()
        }
        if snapshot.restart:
            self._sent.clear()
        snapshot.complete = True
        snapshot.taken.set()

    def _meet(self, address: str, name: str, argument: str) -> None:
        """Learn who is at an address while it is there; HELLO and AUTH say that it is another."""
        known = self._clients.get(address)
        if known is None or name in ("HELLO", "AUTH"):
            self._clients[address] = self._find(address)
        elif name == "CLIENT SETNAME":
            self._clients[address] = replace(known, name=argument)

    def _find(self, address: str) -> Client:
        self.asked += 1
        for each in self._client.client_list():
            if each["addr"] == address:
                user = each.get("user", "")
                return Client(address, each["name"], user, process_of(address, each["laddr"]))
        return Client(address)


def parse(line: bytes) -> tuple[str, str, str]:
    """Return the address, the command's name and its first argument of a line of MONITOR.

    The name is in capitals, of CLIENT and the like with the subcommand; the address of a command
    that a script called is `SCRIPT`.
    """
    head, _, command = line.partition(b"] ")  # b'1795575641.55 [0 127.0.0.1:56454] "GET" "key"'
    address = head.rpartition(b" ")[2].decode()
    # A quote inside an argument is shown as \", so this never stands there.
    words = [word.decode() for word in command.strip(b'"').split(b'" "', 3)[:3]]
    name, *arguments = words
    name = name.upper()
    if name in CONTAINERS and arguments:
        name = f"{name} {arguments.pop(0).upper()}"
    return address, name, arguments[0] if arguments else ""
