"""What the doctor says of what workers say, by evidence that shows it or does not."""

from typing import Any

import pytest

from redis_optimizer.doctor import examine
from redis_optimizer.doctor.celery import chatter
from redis_optimizer.doctor.celery.evidence import Broker, Worker
from tests.doctor.celery.sites import find, jobs, make_app, make_server, see, waits, with_profile

DAY = 86_400
BEATS = Worker(name="w@h", every=2.0)
PROFILES = ["balanced", "metered", "metered_no_remote_control"]


def polling(rate: float, *idle: int, **rates: float) -> Any:
    return see(make_app(), make_server({"brpop": rate, **rates}, clients=waits(*idle)))


def test_workers_that_poll_each_second_are_found() -> None:
    (finding,) = find(polling(3.0, 0, 1, 0), "idle-polling")
    assert "3 workers at h:1 asked for a job 3.00 times a second" in finding.what
    assert finding.saves == pytest.approx((3 - 3 / 60) * DAY)
    assert finding.arithmetic.endswith(f"= {finding.saves:,.0f}")
    assert "celery_settings" in finding.change


@pytest.mark.parametrize(
    ("rate", "idle"),
    [
        (0.5, (1, 3)),  # "balanced", or a polling_interval
        (0.25, (0,)),
        (1 / 60, (30,)),  # "metered"
        (5.0, ()),  # workers of others, or none
    ],
)
def test_workers_that_wait_longer_are_not(rate: float, idle: tuple[int, ...]) -> None:
    assert find(polling(rate, *idle), "idle-polling") == []


def test_what_brings_a_job_is_no_idle_polling() -> None:
    busy = jobs(20.0)
    server = make_server(busy, clients=waits(0, 0))
    assert find(see(make_app(), server), "idle-polling") == []
    server = make_server(busy | {"brpop": 21.8}, clients=waits(0, 0))
    (finding,) = find(see(make_app(), server), "idle-polling")
    assert finding.saves == pytest.approx((1.8 - 2 / 60) * DAY)


def test_workers_of_another_database_are_not_ours() -> None:
    clients = waits(40, 50) + waits(0, 1, 0, database=3)
    server = make_server({"brpop": 3.0}, clients=clients)
    assert find(see(make_app(), server), "idle-polling") == []
    (finding,) = find(see(make_app(), server, Broker(database=3)), "idle-polling")
    assert finding.saves == pytest.approx((3 - 3 / 60) * DAY)


def test_what_workers_elsewhere_ask_is_not_laid_to_ours() -> None:
    # Two that wait 4 s at a time and happen to have just asked; one elsewhere that polls.
    clients = waits(0, 1) + waits(0, database=3)
    assert find(see(make_app(), make_server({"brpop": 1.5}, clients=clients)), "idle-polling") == []
    # What polls here besides was not seen: ours cannot ask more often than once a second.
    (finding,) = find(polling(9.0, 0, 0), "idle-polling")
    assert finding.saves == pytest.approx((2 - 2 / 60) * DAY)


def test_without_a_list_of_clients_nobody_can_tell() -> None:
    report = examine(see(make_app(), make_server(clients=None)), only=["idle-polling"])
    assert report.findings == ()
    assert report.unknown == ("the workers that wait at h:1: CLIENT LIST is refused",)


def test_settings_that_say_so_already_need_a_restart() -> None:
    evidence = see(with_profile("metered"), make_server({"brpop": 1.0}, clients=waits(0)))
    (finding,) = find(evidence, "idle-polling")
    assert finding.change.startswith("Restart the workers")


def test_heartbeats_that_nobody_hears_are_found() -> None:
    broker = Broker(workers=(BEATS, Worker(name="v@h", every=4.0)), seconds=5.0)
    (finding,) = find(see(make_app(), make_server(), broker), "heartbeats")
    assert "2 workers sent heartbeats" in finding.what
    assert "w@h, v@h" in finding.what
    assert finding.saves == 0.75 * DAY


@pytest.mark.parametrize(
    "broker",
    [
        Broker(),
        Broker(workers=(BEATS,), monitors=1),
        Broker(workers=(Worker(name="w@h", every=20.0),)),  # "balanced"
    ],
)
def test_heartbeats_that_somebody_hears_or_that_are_few_are_not(broker: Broker) -> None:
    assert find(see(make_app(), make_server(), broker), "heartbeats") == []


def test_gossip_is_found_for_as_many_workers_as_there_are() -> None:
    server, broker = make_server(clients=waits(0, 0)), Broker(gossips=4_112)
    (finding,) = find(see(make_app(), server, broker), "gossip")
    assert finding.saves == pytest.approx(2 * 2.2 * 1_440)
    assert find(see(make_app(), server, Broker()), "gossip") == []
    assert find(see(make_app(), make_server(), broker), "gossip") == []  # what was left behind


@pytest.mark.parametrize(
    ("conf", "each"),
    [
        ({"worker_send_task_events": True}, 1.5),
        ({"task_send_sent_event": True}, 1.0),
        ({"worker_send_task_events": True, "task_send_sent_event": True}, 2.5),
    ],
)
def test_events_of_jobs_are_found_by_the_settings(conf: dict[str, Any], each: float) -> None:
    server = make_server(jobs(4.0))
    (finding,) = find(see(make_app(**conf), server), "job-events")
    assert finding.saves == 4.0 * each * DAY
    assert all(f"CELERY_{name.upper()}" in finding.what for name in conf)
    assert find(see(make_app(**conf), server, Broker(monitors=1)), "job-events") == []
    assert find(see(make_app(), server), "job-events") == []


def test_events_of_jobs_are_found_when_they_are_heard() -> None:
    broker = Broker(events=30, seconds=10.0)
    (finding,) = find(see(make_app(), make_server(), broker), "job-events")
    assert finding.saves == 3.0 * DAY


def test_a_broker_that_is_not_redis_is_left_alone() -> None:
    evidence = see(make_app("amqp://h", worker_send_task_events=True))
    assert examine(evidence, through=chatter.EXAMINATIONS).findings == ()
    assert examine(see(None), through=chatter.EXAMINATIONS).findings == ()
