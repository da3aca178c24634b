"""What a worker has in hand is noted, and forgotten, by one command each."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer, Queue
from kombu.transport import redis as transport
from kombu.utils.json import loads
from redis.credentials import StreamingCredentialProvider

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.wire import Wire
from redis_optimizer.tasks import acks
from redis_optimizer.tasks.acks import Acks
from redis_optimizer.tasks.scripts import Script
from tests.servers import HOST

QUEUE = Queue("taken", routing_key="taken")

Take = Callable[..., Any]


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Iterator[Take]:
    """Send a message and take it as a worker does; return it, in hand."""
    monkeypatch.setattr(transport.Channel, "QoS", Acks)
    connections: list[Connection] = []

    def take(url: str, **options: Any) -> Any:
        app = Celery(broker=url, set_as_current=False)
        app.conf.broker_transport_options = options
        connection = app.connection_for_read()
        connections.append(connection)
        with connection.clone() as other:
            other.Producer(serializer="json").publish("a", routing_key="taken", declare=[QUEUE])
        taken: list[Any] = []
        with Consumer(connection, [QUEUE], on_message=taken.append):
            while not taken:
                connection.drain_events(timeout=10)
        return taken[0]

    yield take
    for connection in connections:
        connection.close()


def noted(admin: redis.Redis, prefix: str = "") -> dict[str, str]:
    """Return what is noted, by tag."""
    content: Any = admin.hgetall(f"{prefix}unacked")
    assert set(content) == set(admin.zrange(f"{prefix}unacked_index", 0, -1))  # type: ignore[arg-type]
    return content  # type: ignore[no-any-return]


def test_a_message_costs_one_command_to_note_and_one_to_forget(
    take: Take, server: EmbeddedServer
) -> None:
    take(server.url).ack()  # the server knows the scripts
    with Wire(server.url) as wire:
        message = take(server.url)
        assert wire.counts().commands["EVALSHA"] == 1
        message.ack()
        sent = wire.counts().commands
    assert sent["EVALSHA"] == 2
    assert not {"ZADD", "HSET", "ZREM", "HDEL"} & set(sent)


def test_what_is_noted_is_what_kombu_would_note(
    take: Take, server: EmbeddedServer, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = take(server.url)
    monkeypatch.setattr(transport.Channel, "QoS", transport.QoS)
    theirs = take(server.url)
    contents = noted(admin)
    mine, kombus = (loads(contents[each.delivery_tag]) for each in (ours, theirs))
    assert mine[1:] == kombus[1:] == ["", "taken"]
    assert mine[0]["body"] == kombus[0]["body"]
    assert set(mine[0]) == set(kombus[0])
    scores = [admin.zscore("unacked_index", each.delivery_tag) for each in (ours, theirs)]
    assert scores[0] < scores[1] < scores[0] + 60  # type: ignore[operator]
    for message in (ours, theirs):
        message.ack()
    assert noted(admin) == {}


@pytest.mark.parametrize("end", ["requeue", "reject"])
def test_a_message_that_is_not_wanted_goes_where_kombu_sends_it(
    take: Take, server: EmbeddedServer, admin: redis.Redis, end: str
) -> None:
    getattr(take(server.url), end)()
    assert noted(admin) == {}
    assert admin.llen("taken") == (end == "requeue")


def test_a_prefix_of_all_keys_is_before_these(
    take: Take, server: EmbeddedServer, admin: redis.Redis
) -> None:
    message = take(server.url, global_keyprefix="mine:")
    assert list(noted(admin, "mine:")) == [message.delivery_tag]
    assert noted(admin) == {}
    message.ack()
    assert noted(admin, "mine:") == {}


def test_a_server_that_runs_no_scripts_gets_the_commands_of_kombu(
    take: Take, server: EmbeddedServer, admin: redis.Redis
) -> None:
    admin.acl_setuser(
        "simple", True, ["+pw"], keys=["*"], channels=["*"], commands=["+@all", "-@scripting"]
    )
    try:
        message = take(f"redis://simple:pw@{HOST}:{server.port}/0")
        assert list(noted(admin)) == [message.delivery_tag]
        assert message.channel.qos._is_refused
        message.ack()
        assert noted(admin) == {}
    finally:
        admin.acl_deluser("simple")


def test_another_error_is_not_hidden(
    take: Take, server: EmbeddedServer, admin: redis.Redis
) -> None:
    message = take(server.url)
    admin.set("unacked", "no hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        message.ack()
    assert not message.channel.qos._is_refused
    admin.delete("unacked")


@pytest.mark.parametrize(
    "answer",
    [
        "ERR Lua scripting is disabled",
        # A replica before Redis 7.
        "ERR Error running script: @user_script:3: -READONLY You can't write against a replica.",
    ],
)
def test_what_a_script_is_refused_is_asked_for_as_kombu_does(
    take: Take,
    server: EmbeddedServer,
    admin: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    refused = Script(f'return redis.error_reply("{answer}")')
    monkeypatch.setattr(acks, "NOTE", refused)
    monkeypatch.setattr(acks, "FORGET", refused)
    message = take(server.url)
    assert list(noted(admin)) == [message.delivery_tag]
    message.ack()
    assert noted(admin) == {}
    assert not message.channel.qos._is_refused


class Tokens(StreamingCredentialProvider):
    """Takes note of who wants to hear of a new one."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def get_credentials(self) -> tuple[str]:
        return ("",)

    def on_next(self, callback: Any) -> None:
        self.told.append(callback)

    def on_error(self, callback: Any) -> None:
        pass

    def is_streaming(self) -> bool:
        return True


def test_one_client_hears_of_new_credentials_of_the_pool(
    take: Take, server: EmbeddedServer
) -> None:
    qos = take(server.url).channel.qos
    tokens = Tokens()
    qos.channel.pool.connection_kwargs["credential_provider"] = tokens
    qos._lent = None
    assert qos._client() is qos._client()
    assert len(tokens.told) == 1
