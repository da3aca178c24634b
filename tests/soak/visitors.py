"""Those who use the site: threads that ask, one after the other, and note what they are told."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from typing import Any

from .jobs import BATCHED, Call, Sent
from .plan import Plan
from .versions import Versions

HOST = "127.0.0.1"
TIMEOUT = 60.0  # seconds; more than the site takes for anything while no fault lasts longer
SENDERS, CALLERS, READERS = 2, 1, 4
CALL_KEYS = 5
CROWD = 32


class Visitors:
    """All visitors of a run.

    Args:
        plan: The run.
        port: Of the site.
    """

    def __init__(self, plan: Plan, port: int, bounds: dict[str, float]) -> None:
        self.plan = plan
        self.port = port
        self.versions = Versions(bounds)
        self.sent = Sent()
        self.answers: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}
        self.broken: list[str] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        aliases = list(bounds)
        self._paths = [f"/read/{alias}/{plan.keys}/" for alias in aliases]
        self._paths += ["/call/crowd/", "/load/0/"]
        acts = [
            *((self.read, aliases[number % len(aliases)], 0.2) for number in range(READERS)),
            *((self.write, alias, 0.1) for alias in aliases),
            *((self.send, f"s{number}", 0.1) for number in range(SENDERS)),
            *((self.call, "c", 0.1) for _ in range(CALLERS)),
            (self.load, "l", 0.2),
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(number, *act), daemon=True)
            for number, act in enumerate(acts)
        ]

    def crowd(self, seconds: float) -> None:
        """Come all at once, so that each thread of each process has what it needs."""
        until = time.monotonic() + seconds

        def ask() -> None:
            # Not on one connection: the system gives most of those to the processes that are idle
            # at first, and others would get none.
            while time.monotonic() < until:
                for path in self._paths:
                    visitor = Visitor(self.port)
                    visitor.ask(path)
                    visitor.close()

        threads = [threading.Thread(target=ask) for _ in range(CROWD)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def are_served(self) -> bool:
        """Ask once for everything; tell whether all of it is answered."""
        visitor = Visitor(self.port)
        try:
            return all(visitor.ask(path)[0] == "200" for path in self._paths)
        finally:
            visitor.close()

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait until everybody has an answer.

        Raises:
            AssertionError: somebody is still waiting, or has met what must not be.
        """
        self._done.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 10)
            if thread.is_alive():
                self.broken.append(f"{thread.name} waits for an answer for ever")

    def _run(self, number: int, act: Any, who: str, pause: float) -> None:
        dice = random.Random(self.plan.seed * 1000 + number)
        visitor = Visitor(self.port)
        turn = 0
        try:
            while not self._done.wait(dice.uniform(0.5, 1.5) * pause):
                turn += 1
                began = time.monotonic()
                status = act(visitor, who, turn, dice)
                took = time.monotonic() - began
                with self._lock:
                    name = act.__name__
                    self.answers[f"{name} {status}"] += 1
                    self.slowest[name] = max(self.slowest.get(name, 0.0), took)
        except Exception as error:
            self.broken.append(f"a visitor ended: {error!r}")
        finally:
            visitor.close()

    def read(self, visitor: Visitor, alias: str, turn: int, dice: random.Random) -> str:
        began = time.monotonic()
        status, told = visitor.ask(f"/read/{alias}/{self.plan.keys}/")
        if status == "200":
            seen = {int(key): version for key, version in told["seen"].items()}
            missing = self.plan.keys if told["errors"] else 0
            for key in range(self.plan.keys):
                # One that failed is not one that was absent.
                if key in seen or not missing:
                    self.versions.judge((alias, key), seen.get(key), began)
            if told["errors"]:
                return told["errors"][0]
        return status

    def write(self, visitor: Visitor, alias: str, turn: int, dice: random.Random) -> str:
        key = (alias, dice.randrange(self.plan.keys))
        version = self.versions.begin(key)
        status, _ = visitor.ask(f"/write/{alias}/{key[1]}/{version}/")
        if status == "200":
            self.versions.acknowledge(key, version, time.monotonic())
        return status

    def send(self, visitor: Visitor, who: str, turn: int, dice: random.Random) -> str:
        label = f"{who}-{turn}"
        status, _ = visitor.ask(f"/send/{label}/")
        if status == "200":
            at = time.monotonic()
            with self.sent.lock:
                self.sent.labels |= {f"{label}{BATCHED}": at, f"{label}-single": at}
        return status

    def call(self, visitor: Visitor, who: str, turn: int, dice: random.Random) -> str:
        key = f"{who}{dice.randrange(CALL_KEYS)}"
        began = time.monotonic()
        status, told = visitor.ask(f"/call/{key}/")
        if status == "200":
            ended = time.monotonic()
            with self.sent.lock:
                self.sent.once.append(Call(began, ended, key, told["once"]))
                self.sent.throttled.append(Call(began, ended, key, told["throttled"]))
        return status

    def load(self, visitor: Visitor, who: str, turn: int, dice: random.Random) -> str:
        return visitor.ask(f"/load/{dice.randrange(3)}/")[0]


class Visitor:
    """One connection to the site, kept as browsers keep theirs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, path: str) -> tuple[str, Any]:
        """Return the status, or the name of what was raised, and what was told."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(HOST, self.port, timeout=TIMEOUT)
            self._connection.request("GET", path)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return type(error).__name__, {}
        told: Any = {}
        with contextlib.suppress(ValueError):
            told = json.loads(body)
        status = str(response.status)
        return (told.get("error", status) if status != "200" else status), told

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
