"""What the primaries of a cluster tell a subscriber: as much as all of them together vouch for."""

import pytest
import redis
from redis.crc import key_slot

from redis_optimizer.shares import Whole
from redis_optimizer.topology import Changed, State, Topology, read_state

from .listeners import Listener

A, B = ("a", 1), ("b", 2)
TOPOLOGY = Topology(State(epoch=3, size=2), ((0, 0, A), (1, 16_383, B)))


class Notes:
    """In the place of a channel to a cluster: counts what it is told."""

    def __init__(self) -> None:
        self.settled = self.lost = 0

    def tell_settled(self) -> None:
        self.settled += 1

    def tell_lost(self) -> None:
        self.lost += 1


def listening() -> tuple[Whole, Listener, Notes]:
    listener, notes = Listener(redis.Redis()), Notes()
    return Whole(listener, 2, notes), listener, notes  # type: ignore[arg-type]


def test_it_is_up_once_all_are() -> None:
    whole, listener, _ = listening()
    whole.trust(A, 10)
    assert listener.events == []
    assert not whole.is_settled
    whole.trust(B, 9)
    assert listener.events == [("up", 9)]
    assert whole.is_settled


def test_it_vouches_for_as_long_as_the_one_that_answered_first() -> None:
    whole, listener, _ = listening()
    whole.trust(A, 10)
    whole.trust(B, 11)
    whole.trust(B, 21)
    whole.trust(A, 20)
    assert listener.events == [("up", 10), ("alive", 10), ("alive", 20)]


def test_it_is_down_from_the_loss_of_one_until_that_is_back() -> None:
    whole, listener, notes = listening()
    whole.trust(A, 10)
    whole.trust(B, 10)
    whole.distrust(A)
    whole.trust(B, 20)
    assert listener.events == [("up", 10), ("down", None)]
    assert notes.lost == 1
    whole.trust(A, 30)
    assert listener.events[2:] == [("up", 20)]


def test_it_is_refused_while_one_refuses() -> None:
    whole, listener, _ = listening()
    whole.refuse(A, "no")
    whole.trust(B, 10)
    assert listener.events == [("refused", "no")]
    assert whole.is_settled
    whole.trust(A, 11)
    assert listener.events[1:] == [("up", 10)]


def test_it_stays_refused_when_another_is_lost_meanwhile() -> None:
    whole, listener, _ = listening()
    whole.refuse(A, "no")
    whole.trust(B, 10)
    whole.distrust(B)
    assert listener.events == [("refused", "no"), ("down", None), ("refused", "no")]
    whole.trust(B, 20)
    whole.trust(A, 21)
    assert listener.events[3:] == [("up", 20)]


def test_it_takes_no_news_once_it_has_ended() -> None:
    whole, listener, notes = listening()
    whole.trust(A, 10)
    whole.trust(B, 10)
    whole.end()
    for _ in range(2):
        whole.trust(A, 20)
        whole.trust(B, 20)
        whole.distrust(A)
        whole.refuse(B, "no")
    assert listener.events == [("up", 10), ("down", None)]
    assert notes.lost == 0


class TestTopology:
    def test_a_key_is_found_on_each_node_however_few_slots_it_has(self) -> None:
        for node in (A, B):
            key = TOPOLOGY.key_at(node, "site:probe:")
            assert key is not None
            assert key.startswith("site:probe:")
            assert TOPOLOGY.owner(key) == node

    def test_a_beginning_with_a_hash_tag_is_on_one_node_alone(self) -> None:
        assert key_slot(b"site") > 0
        assert TOPOLOGY.key_at(B, "{site}:probe:") == "{site}:probe:"
        assert TOPOLOGY.key_at(A, "{site}:probe:") is None

    def test_a_cluster_that_does_not_work_is_none(self) -> None:
        said = "cluster_state:{}\r\ncluster_size:2\r\ncluster_current_epoch:3\r\n"
        assert read_state(said.format("ok")) == TOPOLOGY.state
        for state in ("fail", "unknown"):
            with pytest.raises(Changed):
                read_state(said.format(state))
