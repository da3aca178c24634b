"""How jobs of open envelopes go to Celery, a few at a time."""

from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError

from redis_optimizer.tasks.feed import UNBOUNDED
from redis_optimizer.tasks.kombu.sending import PartlySent
from redis_optimizer.tasks.opened import Unit
from tests.tasks.stage import Stage


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_two_for_each_process_are_with_celery(stage: Stage) -> None:
    stage.open("a", 10)
    assert stage.started == [("a", n) for n in range(4)]
    stage.finish("a", 2)
    assert stage.started[4:] == [("a", 4)]
    stage.pool.num_processes = 3
    stage.finish("a", 0)
    assert stage.started[5:] == [("a", 5), ("a", 6), ("a", 7)]


def test_the_window_is_that_of_all_envelopes(stage: Stage) -> None:
    stage.open("a", 3)
    stage.open("b", 3)
    assert stage.started == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]


def test_higher_priority_goes_first_and_then_who_came_first(stage: Stage) -> None:
    stage.open("hold", 4)
    stage.open("low", 1, priority=9)
    stage.open("high", 1, priority=0)
    stage.open("middle", 2, priority=3)
    for index in range(4):
        stage.finish("hold", index)
    assert stage.started[4:] == [("high", 0), ("middle", 0), ("middle", 1), ("low", 0)]


def test_a_lane_that_is_full_does_not_hold_up_others(stage: Stage) -> None:
    stage.open("limited", 10, lane="task")
    stage.open("a", 2)
    assert len(stage.started) == 6
    assert stage.started[4:] == [("a", 0), ("a", 1)]
    stage.finish("limited", 0)
    assert stage.started[6:] == [("limited", 4)]


def test_what_is_not_for_the_pool_yet_has_no_window(stage: Stage) -> None:
    stage.open("eta", 10, lane=UNBOUNDED)
    assert len(stage.started) == 10


def test_an_envelope_is_acknowledged_once_when_all_are_done(stage: Stage) -> None:
    stage.open("a", 3)
    stage.finish("a", 0)
    stage.finish("a", 2)
    stage.jobs["a", 2].ack()
    stage.jobs["a", 2].reject()
    assert not stage.acknowledged
    stage.jobs["a", 1].reject()
    assert stage.acknowledged == ["a"]
    assert not stage.feed.envelopes


def test_many_ends_wake_it_once(stage: Stage) -> None:
    stage.open("a", 10)
    for index in range(4):
        stage.jobs["a", index].ack()
    assert len(stage.soon) == 1
    stage.turn()
    assert len(stage.started) == 8


def test_an_end_that_comes_as_it_stops_is_not_missed(stage: Stage) -> None:
    """In a thread of the pool, while another one has found no place."""
    take = stage.feed._next

    def look() -> Unit | None:
        if (unit := take()) is None:
            for index in range(4):
                stage.jobs["a", index].ack()
        return unit

    stage.feed._next = look  # type: ignore[method-assign]
    stage.open("a", 8)
    stage.feed._next = take  # type: ignore[method-assign]
    stage.turn()
    assert len(stage.started) == 8


def test_jobs_that_run_at_once_do_not_recurse(stage: Stage) -> None:
    stage.inline = True
    stage.open("a", 5_000)
    assert len(stage.started) == 5_000
    assert stage.acknowledged == ["a"]


def test_jobs_that_run_at_once_give_the_loop_its_turn(stage: Stage) -> None:
    def run(unit: Unit) -> None:
        stage.now += 1
        start(unit)

    start, stage.feed._start = stage.start, run
    stage.inline = True
    stage.open("a", 3)
    assert len(stage.started) == 1
    stage.timer.fire()
    assert len(stage.started) == 2
    stage.timer.fire()
    assert stage.acknowledged == ["a"]


@pytest.fixture
def green(stage: Stage) -> Stage:
    stage.feed._is_green = True
    stage.feed._consumer.hub = None
    return stage


def test_greenlets_need_no_turn_of_the_loop(green: Stage) -> None:
    green.open("a", 6)
    green.jobs["a", 0].ack()
    green.jobs["a", 1].ack()
    assert len(green.started) == 4  # the greenlets that have ended are not to wait for the pool
    green.timer.fire()
    assert len(green.started) == 6
    assert not green.soon


def test_a_greenlet_that_waits_for_a_place_as_the_worker_stops_starts_nothing(
    green: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    class Greenlet:
        def kill(self) -> None:
            raise Killed  # in a pool, out of the wait for a place

    monkeypatch.setattr("redis_optimizer.tasks.feed.current_greenlet", Greenlet)
    green.open("a", 6)
    start, green.feed._start = green.feed._start, lambda unit: green.feed.close()
    green.jobs["a", 0].ack()
    with pytest.raises(Killed):
        green.timer.fire()
    green.feed._start = start
    green.feed.close()
    for index in (1, 2, 3):
        green.jobs["a", index].ack()
    green.timer.fire()
    assert len(green.started) == 4
    green.feed.wind_up()
    assert sorted(green.sent) == ["a4", "a5"]


def test_a_greenlet_that_cannot_hand_over_says_so(
    green: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(unit: Unit) -> None:
        raise RuntimeError("the pool is closed")

    green.open("a", 6)
    start, green.feed._start = green.feed._start, refuse
    green.jobs["a", 0].ack()
    green.timer.fire()
    assert "could not be handed to the pool" in caplog.text
    green.feed._start = start
    green.jobs["a", 1].ack()
    green.timer.fire()
    assert green.started[4:] == [("a", 5)]


def test_one_that_is_to_run_again_is_sent_alone(stage: Stage) -> None:
    stage.open("a", 1)
    stage.jobs["a", 0].reject(requeue=True)
    assert stage.sent == ["a0"]
    assert stage.acknowledged == ["a"]


def test_one_that_cannot_be_sent_runs_again_here(stage: Stage) -> None:
    stage.open("a", 1)
    stage.broken = True
    stage.jobs["a", 0].requeue()
    assert not stage.acknowledged
    stage.turn()
    assert stage.started == [("a", 0), ("a", 0)]
    stage.finish("a", 0)
    assert stage.acknowledged == ["a"]


def test_what_waits_too_long_is_handed_back(stage: Stage) -> None:
    stage.open("old", 6)
    stage.now += 100
    stage.open("new", 2)
    stage.feed.hand_back(older_than=50)
    assert stage.sent == ["old4", "old5"]
    assert stage.records == [{"old": b"\x30"}]
    for index in range(4):
        stage.finish("old", index)
    assert stage.acknowledged == ["old"]
    assert stage.started[4:] == [("new", 0), ("new", 1)]


def test_a_worker_that_stops_hands_back_what_waits_at_once_and_the_rest_at_the_end(
    stage: Stage,
) -> None:
    stage.open("a", 6)
    stage.open("b", 1)
    stage.feed.close()
    assert stage.sent == ["a4", "a5", "b0"]
    assert stage.acknowledged == ["b"]
    assert stage.records == [{"a": b"\x30"}]
    stage.finish("a", 0)
    assert len(stage.started) == 4
    stage.feed.wind_up()
    assert stage.sent[3:] == ["a1", "a2", "a3"]
    assert stage.acknowledged == ["b", "a"]
    assert stage.forgotten == ["a"]


def test_what_cannot_be_handed_back_is_not_acknowledged(stage: Stage) -> None:
    stage.open("a", 6)
    stage.broken = True
    stage.feed.close()
    stage.feed.wind_up()
    assert not stage.acknowledged


@pytest.mark.parametrize("error", [OperationalError("down"), redis.ResponseError("OOM")])
def test_what_cannot_be_handed_back_yet_waits_on(stage: Stage, error: Exception) -> None:
    stage.open("old", 6)
    stage.now += 100
    stage.broken, stage.error = True, error
    stage.feed.hand_back(older_than=50)
    stage.broken = False
    assert not stage.records
    for index in range(4):
        stage.finish("old", index)
    assert stage.started[4:] == [("old", 4), ("old", 5)]
    for index in (4, 5):
        stage.finish("old", index)
    assert stage.acknowledged == ["old"]


def test_what_a_broker_took_before_it_was_lost_is_not_handed_back_again(stage: Stage) -> None:
    def send(app: Any, messages: Any) -> None:
        stage.sent.extend(message.id for message in messages[:1])
        raise PartlySent(messages[:1], messages[1:])

    stage.open("old", 7)
    stage.now += 100
    stage.send_hook = send
    stage.feed.hand_back(older_than=50)
    assert stage.sent == ["old4"]
    assert stage.records == [{"old": b"\x10"}]
    stage.jobs["old", 0].requeue()
    assert stage.sent == ["old4", "old0"]
    stage.send_hook = None
    stage.feed.hand_back(older_than=50)
    assert stage.sent == ["old4", "old0", "old5", "old6"]
    for index in (1, 2, 3):
        stage.finish("old", index)
    assert stage.acknowledged == ["old"]


def test_what_cannot_be_handed_back_finds_the_pool_idle(stage: Stage) -> None:
    def send(app: Any, messages: Any) -> None:
        for index in range(4):  # as threads do, meanwhile
            stage.jobs["a", index].ack()
        stage.turn()
        raise OperationalError("down")

    stage.open("a", 6)
    stage.send_hook = send
    stage.feed.hand_back()
    assert stage.started[4:] == [("a", 4), ("a", 5)]


def test_with_its_connection_the_broker_takes_an_envelope_back(stage: Stage) -> None:
    stage.open("a", 6)
    stage.finish("a", 1)
    stage.feed.abandon()
    assert stage.records == [{"a": b"\x02"}]
    stage.finish("a", 0)  # it was running, and goes on
    stage.now += 1
    stage.timer.fire()
    assert stage.records[-1] == {"a": b"\x03"}
    stage.jobs["a", 2].reject(requeue=True)
    stage.feed.wind_up()
    assert not stage.sent
    assert not stage.acknowledged
    assert len(stage.started) == 5


def test_progress_is_written_once_a_second_and_not_of_quick_envelopes(stage: Stage) -> None:
    stage.open("quick", 1)
    stage.open("slow", 3)
    stage.finish("slow", 0)
    stage.finish("slow", 1)
    stage.finish("quick", 0)
    assert len(stage.timer.entries) == 1
    stage.now += 0.9  # for it was opened when the timer ran already
    stage.timer.fire()
    assert not stage.records
    stage.now += 0.2
    stage.timer.fire()
    assert stage.records == [{"slow": b"\x03"}]
    assert not stage.timer.entries
    stage.finish("slow", 2)
    stage.timer.fire()
    assert stage.records == [{"slow": b"\x03"}]
    assert stage.forgotten == ["slow"]


def test_a_record_that_could_not_be_deleted_is_deleted_later(stage: Stage) -> None:
    stage.open("a", 2)
    stage.finish("a", 0)
    stage.now += 2
    stage.timer.fire()
    stage.finish("a", 1)
    stage.broken, stage.error = True, redis.ResponseError("NOPERM")
    stage.timer.fire()
    stage.broken = False
    stage.timer.fire()
    assert stage.forgotten == ["a"]


def test_while_enough_jobs_wait_envelopes_are_left_to_others(stage: Stage) -> None:
    assert stage.wait() == (stage.queues, 4)
    stage.open("a", 12)  # 4 are started
    assert stage.wait() == (stage.queues, 4)
    stage.open("b", 1)
    assert stage.wait() == (["celery"], 0.1)
    stage.finish("a", 0)  # 8 wait
    assert stage.wait() == (stage.queues, 4)


def test_what_waits_for_a_rate_limit_or_a_time_does_not_count(stage: Stage) -> None:
    stage.open("limited", 100, lane="task")
    stage.open("eta", 100, lane=UNBOUNDED)
    assert stage.wait() == (stage.queues, 4)


def test_a_second_of_quick_jobs_is_not_too_much(stage: Stage) -> None:
    stage.open("a", 50)
    assert stage.wait() == (["celery"], 0.1)
    for index in range(25):  # 21 wait
        stage.finish("a", index)
    assert stage.wait() == (stage.queues, 4)
    stage.open("b", 1)
    assert stage.wait() == (stage.queues, 4)
    stage.now += 1.5  # all of it is done in the last second
    stage.open("c", 3)
    assert stage.wait() == (stage.queues, 4)
    stage.now += 2
    stage.open("d", 1)
    assert stage.wait() == (["celery"], 0.1)


def test_a_wait_for_other_messages_is_over_before_the_jobs_are(stage: Stage) -> None:
    stage.open("a", 100)
    assert [stage.wait()[1] for _ in range(8)] == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4, 4]
    )
    for index in range(20):  # in a second, with 8 that may wait
        stage.finish("a", index)
    stage.wait()
    assert stage.wait() == (["celery"], 0.5)


def test_a_worker_that_may_take_no_more_waits_as_ever(stage: Stage) -> None:
    stage.open("a", 100)
    stage.feed.close()
    assert stage.wait() == (stage.queues, 4)


def test_progress_that_could_not_be_written_is_written_later(stage: Stage) -> None:
    stage.open("a", 3)
    stage.finish("a", 0)
    stage.now += 2
    stage.broken = True
    stage.timer.fire()
    stage.broken = False
    stage.timer.fire()
    assert stage.records == [{"a": b"\x01"}]


def test_quick_jobs_go_several_at_a_time_but_to_every_process(stage: Stage) -> None:
    def hold(unit: Unit) -> None:
        units.append(unit)

    units: list[Unit] = []
    stage.feed._start = hold
    stage.open("a", 100, shares=True)
    assert [list(unit.indexes) for unit in units] == [[0], [1], [2], [3]]
    stage.now += 0.005
    stage.feed.settle(units[0], [0])
    stage.turn()
    assert list(units[4].indexes) == list(range(4, 14))
    stage.now += 0.0001
    stage.feed.settle(units[4], units[4].indexes)
    stage.turn()
    assert list(units[5].indexes) == list(range(14, 34))
    for unit in units[1:4]:
        unit.started_at = stage.now
        stage.feed.settle(unit, unit.indexes)
    stage.turn()
    assert [len(unit.indexes) for unit in units[6:]] == [50, 16]
    assert not stage.acknowledged
    for unit in units[5:]:
        stage.feed.settle(unit, unit.indexes)
    assert stage.acknowledged == ["a"]


def test_what_a_process_did_not_come_to_waits_again(stage: Stage) -> None:
    units: list[Unit] = []
    stage.feed._start = units.append
    stage.open("a", 4, together=True)
    stage.feed.settle(units[0], [0, 2])
    stage.feed.put_back(units[0], [1, 3])
    stage.turn()
    assert list(units[1].indexes) == [1, 3]
    stage.feed.settle(units[1], [1, 3])
    assert stage.acknowledged == ["a"]


def test_those_that_are_to_run_again_are_sent_singly_and_together(stage: Stage) -> None:
    units: list[Unit] = []
    stage.feed._start = units.append
    stage.open("a", 4, together=True)
    stage.feed.settle(units[0], [1])
    stage.feed.send_again(units[0], [0, 2, 3])
    assert stage.sent == ["a0", "a2", "a3"]
    assert stage.acknowledged == ["a"]


def test_jobs_of_a_call_take_one_place_until_all_are_done(stage: Stage) -> None:
    stage.open("hold", 3)
    envelope = stage.open("call", 3, together=True)
    stage.open("next", 1)
    assert stage.started[3:] == [("call", 0), ("call", 1), ("call", 2)]
    stage.finish("call", 0)
    stage.finish("call", 2)
    assert stage.started[-1] == ("call", 2)
    assert envelope.unfinished() == [1]
    stage.finish("call", 1)
    assert stage.started[-1] == ("next", 0)
