"""One visitor of the site: asks for pages as people do, and checks every one of them.

An operator alone changes his own organisation and settings, so he knows what each answer about
them must say: an older state after his own change is a stale read.
"""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from example_project.dashboard.choices import TIMEZONES, State, Theme

from .client import Client, Reply

# Of 100 turns, how many are of each kind. A change is a POST and the page that follows it.
MIX = {
    "home": 8,
    "organisation": 49,
    "own_organisation": 12,
    "status": 15,
    "own_status": 6,
    "health": 5,
    "open_settings": 2,
    "change_state": 1,
    "change_settings": 1,
    "sync": 1,
}
# What somebody who is not logged in does at those turns.
INSTEAD = {
    "own_organisation": "organisation",
    "own_status": "status",
    "open_settings": "organisation",
    "change_state": "organisation",
    "change_settings": "organisation",
    "sync": "organisation",
}

LINK = re.compile(r'href="/organisations/(\d+)/">([^<]+)</a>')
ROW = re.compile(r'id="integration-(\d+)" data-state="(\w+)"')
THEME = re.compile(r'<html lang="en" data-theme="(\w+)"')
SELECTED = re.compile(r'<option value="([^"]+)" selected>')


@dataclass(slots=True)
class Traffic:
    """What one or several visitors did and saw.

    Args:
        requests: number of requests, by what they asked for.
        changes: number of changes made.
        failures: what was wrong with responses; empty when all is well.
        stale: own changes that a later response did not show.
        seconds: how long each request took.
    """

    requests: Counter[str] = field(default_factory=Counter)
    changes: int = 0
    failures: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, other: "Traffic") -> None:
        """Take over what another one counted."""
        self.requests += other.requests
        self.changes += other.changes
        self.failures += other.failures
        self.stale += other.stale
        self.seconds += other.seconds


class Visitor:
    """One client and what it knows about the site.

    Args:
        client: the connection.
        seed: makes the turns of this visitor the same in every run.
    """

    def __init__(self, client: Client, seed: int) -> None:
        self.client = client
        self.traffic = Traffic()
        self.chance = random.Random(seed)  # noqa: S311  (repeatable, not secret)
        self.names: dict[int, str] = {}
        self.operator = False
        self.own = 0
        self.states: dict[int, str] = {}
        self.settings: dict[str, str] = {}
        self.views = 0  # pages seen that a job counts
        self.syncs = 0  # asked for
        self.synced: dict[int, datetime] = {}  # when each integration's last one was asked for
        self._turns: list[str] = []

    def arrive(self) -> None:
        """Open the home page and learn which organisations there are."""
        reply = self._ask("home", "/")
        self.names = {int(pk): name for pk, name in LINK.findall(reply.text)}
        self._expect(len(self.names) > 1, "the home page lists organisations", reply)

    def log_in(self, username: str, password: str, place: int) -> None:
        """Log in as an operator and take the organisation at a place of the list for one's own."""
        self.traffic.requests["log-in"] += 2
        if not self.client.log_in(username, password):
            self.traffic.failures.append(f"{username} cannot log in")
            return
        self.operator = True
        self.own = sorted(self.names)[place % len(self.names)]
        reply = self._ask("organisation", f"/organisations/{self.own}/")
        self.states = _states_on(reply)
        reply = self._ask("settings", "/settings/")
        self.settings = _settings(reply)

    def take_turn(self) -> None:
        """Do the next thing of the mix, in an order that only the seed decides."""
        if not self._turns:
            self._turns = [kind for kind, count in MIX.items() for _ in range(count)]
            self.chance.shuffle(self._turns)
        kind = self._turns.pop()
        getattr(self, kind if self.operator else INSTEAD.get(kind, kind))()

    def home(self) -> None:
        """Read the list of organisations."""
        reply = self._ask("home", "/")
        names = {int(pk): name for pk, name in LINK.findall(reply.text)}
        self._expect(names == self.names, "the home page lists every organisation", reply)

    def organisation(self) -> None:
        """Read the page of any organisation."""
        pk, name = self.chance.choice(sorted(self.names.items()))
        reply = self._ask("organisation", f"/organisations/{pk}/")
        self._expect(f"<h1>{name}</h1>" in reply.text, f"the page of {name} has its name", reply)
        self._expect(bool(ROW.search(reply.text)), f"the page of {name} has rows", reply)

    def own_organisation(self) -> None:
        """Read the page of one's own organisation; it shows one's own changes."""
        reply = self._ask("organisation", f"/organisations/{self.own}/")
        self._expect_own(_states_on(reply) == self.states, "states on the page", reply)

    def status(self) -> None:
        """Read the integrations of any organisation as JSON."""
        pk = self.chance.choice(sorted(self.names))
        reply = self._ask("status", f"/api/integrations/status?org={pk}")
        body = _body(reply)
        right = body.get("organisation") == {"id": pk, "name": self.names[pk]}
        self._expect(right and bool(body.get("integrations")), "the status is complete", reply)

    def own_status(self) -> None:
        """Read one's own integrations as JSON; they show one's own changes."""
        reply = self._ask("status", f"/api/integrations/status?org={self.own}")
        self._expect_own(_states_in(reply) == self.states, "states in the status", reply)

    def health(self) -> None:
        """Read the system's health."""
        reply = self._ask("health", "/api/health")
        body = _body(reply)
        right = body.get("status") == "ok" and isinstance(body.get("cached"), bool)
        self._expect(right, "the system is healthy", reply)

    def open_settings(self) -> None:
        """Read one's settings; they show one's own changes."""
        reply = self._ask("settings", "/settings/")
        self._expect_own(_settings(reply) == self.settings, "settings", reply)

    def change_state(self) -> None:
        """Pause or resume one of one's own integrations, and read the page that follows."""
        pk = self.chance.choice(sorted(self.states))
        resume = self.states[pk] == State.PAUSED
        state = str(State.WORKING if resume else State.PAUSED)
        reply = self._ask("change", f"/integrations/{pk}/state/", 302, state=state)
        if self._expect(reply.location == f"/organisations/{self.own}/", "it leads back", reply):
            self.states[pk] = state
            self.traffic.changes += 1
        self.own_organisation()

    def change_settings(self) -> None:
        """Save other settings, and read the page that follows."""
        wish = {
            "theme": str(self.chance.choice([t for t in Theme if t != self.settings["theme"]])),
            "timezone": self.chance.choice(TIMEZONES),
        }
        reply = self._ask("change", "/settings/", 302, failing_first="on", **wish)
        if self._expect(reply.location == "/settings/", "it leads back", reply):
            self.settings = wish
            self.traffic.changes += 1
        self.open_settings()

    def sync(self) -> None:
        """Have one of one's own integrations synced, with a double click."""
        working = sorted(pk for pk, state in self.states.items() if state == State.WORKING)
        if working:
            pk = self.chance.choice(working)
            self.synced[pk] = datetime.now(UTC)
            for _ in range(2):
                reply = self._ask("sync", f"/integrations/{pk}/sync/", 302, now="yes")
                self.syncs += reply.status == 302
        self.own_organisation()

    def open_another(self, process: int) -> Client:
        """Return a second connection of the same session, to the given process of the site."""
        client = Client(self.client.port)
        client.connect_to(process)
        client.cookies = dict(self.client.cookies)
        return client

    def is_up_to_date(self, client: Client) -> bool:
        """Tell whether what a connection shows includes all of one's own changes."""
        states = _states_in(client.get(f"/api/integrations/status?org={self.own}"))
        settings = _settings(client.get("/settings/"))
        return states == self.states and settings == self.settings

    def _ask(self, kind: str, path: str, status: int = 200, **fields: str) -> Reply:
        reply = self.client.post(path, **fields) if fields else self.client.get(path)
        self.traffic.requests[kind] += 1
        self.views += kind == "organisation" and reply.status == 200
        self.traffic.seconds.append(reply.seconds)
        self._expect(reply.status == status, f"{path} answers {status}", reply)
        if self.settings and (theme := THEME.search(reply.text)):
            self._expect_own(theme[1] == self.settings["theme"], "colours", reply)
        return reply

    def _expect(self, right: bool, what: str, reply: Reply) -> bool:
        if not right:
            self.traffic.failures.append(f"not so: {what} (status {reply.status})")
        return right

    def _expect_own(self, right: bool, what: str, reply: Reply) -> None:
        if not right and reply.status == 200:
            self.traffic.stale.append(f"older {what} than the visitor's own change")


def _body(reply: Reply) -> dict[str, Any]:
    """Return the JSON object of a reply; an empty one when it holds none."""
    try:
        body = json.loads(reply.text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _states_in(reply: Reply) -> dict[int, str]:
    return {each["id"]: each["state"] for each in _body(reply).get("integrations", ())}


def _states_on(reply: Reply) -> dict[int, str]:
    return {int(pk): state for pk, state in ROW.findall(reply.text)}


def _settings(reply: Reply) -> dict[str, str]:
    return dict(zip(("theme", "timezone"), SELECTED.findall(reply.text), strict=False))
