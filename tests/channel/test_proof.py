"""When it is proved anew that data goes where the channel hears of it, step by step."""

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from redis_optimizer import proof as module
from redis_optimizer.link import Event, Invalidated, Pong
from redis_optimizer.proof import Proof
from tests.health.told import Clock


class Data:
    """Where data goes, as far as a proof sees it.

    Attributes:
        connects: How many connections there have been.
        written: The keys that were written.
        error: Is raised instead of writing one.
    """

    heartbeat = 5.0
    max_staleness = 12.0
    prefixes = ("t:",)

    def __init__(self) -> None:
        self.connects = 0
        self.written: list[str] = []
        self.error: Exception | None = None

    def prove(self, key: str) -> str:
        if self.error is not None:
            raise self.error
        self.written.append(key)
        return key

    def tell(self, seconds: float) -> Event:
        return Invalidated([self.written[-1]])


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Any:
    data = Data()
    monkeypatch.setattr(module, "connects", lambda purpose: data.connects)
    return data


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def proof(data: Any, clock: Clock) -> Proof:
    return Proof(clock)


def test_it_holds_while_no_connection_is_new(proof: Proof, data: Any) -> None:
    assert proof.holds(data.tell, [data])
    assert data.written == []


def test_new_connections_are_proved_once(proof: Proof, data: Any) -> None:
    data.connects += 1
    assert [proof.holds(data.tell, [data]) for _ in range(2)] == [True, True]
    assert len(data.written) == 1
    assert data.written[0].startswith("t:redis_optimizer:probe:")


def test_one_that_nobody_tells_of_leads_elsewhere(proof: Proof, data: Any, clock: Clock) -> None:
    def listen(seconds: float) -> None:
        clock.advance(seconds)

    data.connects += 1
    with pytest.raises(RedisConnectionError, match="another server"):
        proof.holds(listen, [data])


def test_where_no_key_can_be_written_it_is_tried_again_after_a_heartbeat(
    proof: Proof, data: Any, clock: Clock
) -> None:
    data.connects += 1
    data.error = ResponseError("OOM")
    assert not proof.holds(data.tell, [data])
    data.error = None
    clock.advance(4.9)
    assert not proof.holds(data.tell, [data])
    assert data.written == []
    clock.advance(0.2)
    assert proof.holds(data.tell, [data])


def test_an_answer_amid_a_proof_begins_no_other(proof: Proof, data: Any) -> None:
    """It would wait for its own key alone, and the invalidation of the first would be gone."""
    inner: list[bool] = []

    def listen(seconds: float) -> Event:
        if not inner:  # as the channel does with each answer to a PING
            inner.append(proof.holds(listen, [data]))
            return Pong()
        return data.tell(seconds)  # type: ignore[no-any-return]

    data.connects += 1
    key = data.prove("t:first")
    assert proof.arrives(listen, key, 12)
    assert inner == [False]
    assert data.written == [key]
    assert proof.holds(data.tell, [data])
