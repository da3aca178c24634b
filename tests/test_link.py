"""One tracked connection: the same events whether the server speaks RESP3 or RESP2."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.link import Event, Invalidated, Link, Message, Pong

from .servers import wait_until

TIMEOUT = 10.0
CONTROL = "redis_optimizer:tests"


@pytest.fixture(scope="module")
def old_server() -> Iterator[EmbeddedServer]:
    """Run a server that knows no HELLO, as old ones and some proxies."""
    with EmbeddedServer(args=["--rename-command", "HELLO", ""]) as running:
        yield running


@pytest.fixture(params=[3, 2], ids=["RESP3", "RESP2"])
def client(
    request: pytest.FixtureRequest, server: EmbeddedServer, old_server: EmbeddedServer
) -> Iterator[redis.Redis]:
    """Yield a client of a server that speaks this protocol."""
    port = server.port if request.param == 3 else old_server.port
    with redis.Redis(HOST, port, protocol=2) as client:
        yield client
        client.flushall()


@pytest.fixture
def open_link(client: redis.Redis) -> Iterator[Callable[..., Link]]:
    links: list[Link] = []

    def make(*prefixes: str) -> Link:
        link = Link.open(client.connection_pool, name="tests:link", timeout=TIMEOUT)
        links.append(link)
        link.track(list(prefixes or ("t:",)), CONTROL)
        return link

    yield make
    for link in links:
        link.close()


def events(link: Link, number: int) -> list[Event]:
    """Return the next events."""
    found: list[Event] = []
    wait_until(lambda: (event := link.poll(TIMEOUT)) and (found.append(event) or True))
    while len(found) < number:
        event = link.poll(TIMEOUT)
        if event is not None:
            found.append(event)
    return found


def test_it_speaks_resp3_where_the_server_does(
    client: redis.Redis, open_link: Callable[..., Link], request: pytest.FixtureRequest
) -> None:
    expected = 3 if "RESP3" in request.node.callspec.id else 2
    assert open_link().protocol == expected


def test_it_speaks_resp2_where_a_server_with_a_password_knows_no_hello(
    old_server: EmbeddedServer,
) -> None:
    with redis.Redis(HOST, old_server.port, protocol=2) as admin:
        admin.config_set("requirepass", "secret")
        try:
            pool = redis.ConnectionPool(host=HOST, port=old_server.port, password="secret")
            link = Link.open(pool, name="tests:link", timeout=TIMEOUT)
            link.track(["t:"], CONTROL)
            admin.set("t:1", 1)
            assert link.protocol == 2
            assert events(link, 1) == [Invalidated(["t:1"])]
            link.close()
            pool = redis.ConnectionPool(host=HOST, port=old_server.port, password="wrong")
            with pytest.raises(redis.AuthenticationError):
                Link.open(pool, name="tests:link", timeout=TIMEOUT)
        finally:
            admin.config_set("requirepass", "")


def test_writes_under_the_prefixes_are_events(
    client: redis.Redis, open_link: Callable[..., Link]
) -> None:
    link = open_link("a:", "b:")
    for key in ("a:1", "c:1", "b:1"):
        client.set(key, 1)
    found = events(link, 1)
    if len(found[0].keys) == 1:  # type: ignore[union-attr] # one message for each, or for both
        found += events(link, 1)
    keys = [key for event in found for key in event.keys]  # type: ignore[union-attr]
    assert keys == ["a:1", "b:1"]


def test_a_flush_is_an_event_without_keys(
    client: redis.Redis, open_link: Callable[..., Link]
) -> None:
    link = open_link()
    client.flushdb()
    assert events(link, 1) == [Invalidated(None)]


def test_a_published_message_is_an_event(
    client: redis.Redis, open_link: Callable[..., Link]
) -> None:
    link = open_link()
    client.publish(CONTROL, b"\xffhello")
    assert events(link, 1) == [Message(b"\xffhello")]


def test_a_ping_is_answered_behind_the_writes_before_it(
    client: redis.Redis, open_link: Callable[..., Link]
) -> None:
    link = open_link()
    client.set("t:1", 1)
    link.ping()
    assert events(link, 2) == [Invalidated(["t:1"]), Pong()]


def test_many_events_at_once_come_one_by_one(
    client: redis.Redis, open_link: Callable[..., Link]
) -> None:
    link = open_link()
    for number in range(2000):  # more than fit on a recursive reader's stack
        client.publish(CONTROL, str(number))
    assert events(link, 2000) == [Message(str(number).encode()) for number in range(2000)]
    assert link.poll(0) is None


def test_a_large_message_arrives_whole(client: redis.Redis, open_link: Callable[..., Link]) -> None:
    link = open_link()
    with client.pipeline() as pipeline:
        for number in range(5000):
            pipeline.set(f"t:{number}", 1)
        pipeline.execute()
    heard: set[str] = set()

    def all_heard() -> bool:
        event = link.poll(TIMEOUT)
        if isinstance(event, Invalidated):
            heard.update(event.keys or ())
        return len(heard) == 5000

    wait_until(all_heard, step=0)


def test_where_nothing_comes_in_time_there_is_no_event(open_link: Callable[..., Link]) -> None:
    link = open_link()
    assert link.poll(0) is None
    assert link.poll(0.05) is None


@pytest.mark.parametrize("end", ["killed", "interrupted"])
def test_a_lost_connection_is_an_error_and_is_not_made_anew(
    client: redis.Redis, open_link: Callable[..., Link], end: str
) -> None:
    link = open_link()
    if end == "interrupted":
        link.interrupt()
    else:
        (mine,) = [c for c in client.client_list() if c["name"] == "tests:link"]
        client.client_kill_filter(_id=mine["id"])

    def fails() -> bool:
        try:
            link.poll(0.1)
        except (redis.RedisError, OSError):
            return True
        return False

    wait_until(fails)
    for _ in range(2):
        with pytest.raises((redis.RedisError, OSError)):
            link.poll(0.1)
    assert not [c for c in client.client_list() if c["name"] == "tests:link"]


def test_another_thread_ends_a_poll(open_link: Callable[..., Link]) -> None:
    link = open_link()
    ended: list[Any] = []

    def wait() -> None:
        try:
            link.poll(60)
        except (redis.RedisError, OSError) as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while thread.is_alive() and not ended:
        link.interrupt()
        thread.join(0.05)
    assert len(ended) == 1


def test_invalid_prefixes_are_refused_by_the_server(open_link: Callable[..., Link]) -> None:
    with pytest.raises(redis.ResponseError):
        open_link("a:", "a:b:")


def test_a_server_that_cannot_be_reached_is_an_error() -> None:
    with EmbeddedServer() as own:
        pool = redis.ConnectionPool(host=HOST, port=own.port)
    with pytest.raises(redis.ConnectionError):
        Link.open(pool, name="tests:link", timeout=1)


def test_a_key_is_read_while_events_come_and_none_is_lost(
    client: redis.Redis, open_link: Callable[..., Link]
) -> None:
    link = open_link()
    client.set("other", b"\xffvalue")
    for number in range(20):
        client.set(f"t:{number}", 1)
        client.publish(CONTROL, b"%d" % number)
    assert link.read("other", TIMEOUT) == b"\xffvalue"
    assert link.read("nothing", TIMEOUT) is None
    found = events(link, 40)
    assert [event.data for event in found if isinstance(event, Message)] == [
        b"%d" % number for number in range(20)
    ]
    keys = [key for event in found if isinstance(event, Invalidated) for key in event.keys or ()]
    assert keys == [f"t:{number}" for number in range(20)]
    client.lpush("list", 1)
    with pytest.raises(redis.ResponseError):
        link.read("list", TIMEOUT)


def test_a_key_is_added_unless_it_exists(
    client: redis.Redis, open_link: Callable[..., Link]
) -> None:
    link = open_link()
    link.add("other", b"first", TIMEOUT)
    link.add("other", b"second", TIMEOUT)
    client.set("t:1", 1)
    link.ping()
    assert events(link, 2) == [Invalidated(["t:1"]), Pong()]  # nobody waits for the answers
    assert client.get("other") == b"first"


def test_who_may_not_listen_to_the_control_channel_hears_of_writes(client: redis.Redis) -> None:
    rules = ["on", "nopass", "~*", "&__redis__:*", "+@all"]
    client.execute_command("ACL", "SETUSER", "deaf", *rules)
    host, port = client.connection_pool.connection_kwargs["host"], client.get_connection_kwargs()
    with redis.Redis(host, port["port"], username="deaf", password="any", protocol=2) as user:
        link = Link.open(user.connection_pool, name="tests:link", timeout=TIMEOUT)
        assert link.track(["t:"], CONTROL) is False
        client.set("t:1", 1)
        assert events(link, 1) == [Invalidated(["t:1"])]
        link.close()
    client.acl_deluser("deaf")
