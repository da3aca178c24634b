"""A browser's part of HTTP: one keep-alive connection, cookies, the CSRF token of the last page."""

import html
import http.client
import re
import time
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import urlencode

HOST = "127.0.0.1"
TIMEOUT = 20.0  # seconds
# Answered by Django without reading the cache: it sends visitors to the log-in page.
PROBE = "/settings/"

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@dataclass(frozen=True, slots=True)
class Reply:
    """One response.

    Args:
        status: the HTTP status.
        text: the body; entities in HTML are replaced by what they stand for.
        location: where a redirect leads, else "".
        process: id of the process that answered, 0 when it did not say.
        seconds: from sending the request to having read the body.
    """

    status: int
    text: str
    location: str
    process: int
    seconds: float


class Client:
    """One visitor's connection to the site on a loopback port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT)
        self.cookies: dict[str, str] = {}
        self.token = ""

    def get(self, path: str) -> Reply:
        """Get a path."""
        return self._request("GET", path, None)

    def post(self, path: str, **fields: str) -> Reply:
        """Post a form with the CSRF token of the last page that had one."""
        return self._request("POST", path, urlencode({**fields, "csrfmiddlewaretoken": self.token}))

    def log_in(self, username: str, password: str) -> bool:
        """Log in through the form; tell whether it was accepted."""
        self.get("/log-in/")
        return self.post("/log-in/", username=username, password=password).status == 302

    def connect_to(self, process: int, *, timeout: float = TIMEOUT) -> None:
        """Connect anew until the given process of the site answers.

        Raises:
            TimeoutError: it did not within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while self.get(PROBE).process != process:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Process {process} of the site does not answer.")
            self.connection.close()

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self.connection.close()

    def _request(self, method: str, path: str, body: str | None) -> Reply:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        started = time.perf_counter()
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        seconds = time.perf_counter() - started
        self._keep(response.headers.get_all("Set-Cookie") or [])
        if found := TOKEN.search(text):
            self.token = found[1]
        return Reply(
            status=response.status,
            text=html.unescape(text)
            if "html" in (response.headers["Content-Type"] or "")
            else text,
            location=response.headers["Location"] or "",
            process=int(response.headers["X-Served-By"] or 0),
            seconds=seconds,
        )

    def _keep(self, headers: list[str]) -> None:
        for header in headers:
            for name, morsel in SimpleCookie(header).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.coded_value


def processes(port: int, count: int, *, timeout: float = TIMEOUT) -> list[int]:
    """Return the ids of the processes that answer, at most `count`, found within `timeout` seconds.

    Every connection goes to whichever process takes it, so new ones are opened until all have been
    seen.
    """
    found: set[int] = set()
    deadline = time.monotonic() + timeout
    while len(found) < count and time.monotonic() < deadline:
        client = Client(port)
        try:
            found.add(client.get(PROBE).process)
        except OSError:  # the site does not listen yet, or has just ended
            time.sleep(0.02)
        finally:
            client.close()
    return sorted(found)
