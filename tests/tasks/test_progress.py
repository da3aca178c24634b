"""The record of which jobs of an envelope are finished."""

from collections.abc import Iterator

import pytest
import redis
from celery import Celery

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks import progress
from redis_optimizer.tasks.kombu.producers import broker_client
from redis_optimizer.tasks.progress import Bits


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    app = Celery("p", broker=f"redis://{HOST}:{server.port}/0", set_as_current=False)
    yield app
    app.close()


def load(app: Celery, identity: str) -> bytes:
    with broker_client(app) as client:
        assert client is not None
        return bytes(progress.load(app, client, identity, 16))


def test_bits_count_what_is_left() -> None:
    bits = Bits(10)
    assert bits.left == 10
    assert [bits.add(9), bits.add(0), bits.add(9)] == [True, True, False]
    assert bits.left == 8
    assert [index for index in range(10) if index in bits] == [0, 9]
    assert Bits(10, bytes(bits)).left == 8


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x01\x00", b"\x01\x00\xff\xff"])
def test_bits_take_a_record_of_any_length(content: bytes) -> None:
    bits = Bits(10, content)
    assert bits.left == (9 if content else 10)
    assert len(bytes(bits)) == 2


def test_records_are_kept_for_as_long_as_envelopes_may_come_again(
    app: Celery, admin: redis.Redis
) -> None:
    app.conf.broker_transport_options = {"visibility_timeout": 60}
    progress.save(app, {"one": b"\x07", "two": b"\xff\x00"})
    assert load(app, "two") == b"\xff\x00"
    assert 86_450 < admin.ttl("redis_optimizer:default:progress:one") <= 86_460
    progress.forget(app, ["one", "two"])
    assert load(app, "one") == b"\x00\x00"
    assert not admin.exists("redis_optimizer:default:progress:two")


def test_a_key_prefix_of_the_broker_does_not_part_writing_from_reading(app: Celery) -> None:
    app.conf.broker_transport_options = {"global_keyprefix": "site:"}
    progress.save(app, {"one": b"\x07"})
    assert load(app, "one") == b"\x07\x00"


def test_another_broker_has_no_records() -> None:
    app = Celery("p", broker="memory://", set_as_current=False)
    progress.save(app, {"one": b"\x07"})
    progress.forget(app, ["one"])
    with broker_client(app) as client:
        assert client is None
