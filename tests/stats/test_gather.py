"""All processes that have a channel are asked, and those that do not answer are named."""

import asyncio
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest
import redis
from django.test import override_settings

from redis_optimizer.cache import TieredCache
from redis_optimizer.channel import Channel
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.stats import Gathered, agather, gather
from redis_optimizer.stats.desk import ANSWERS, BURST, Desk
from redis_optimizer.stats.gather import MAX_IGNORED, Asking, ask
from redis_optimizer.stats.gathered import Process, Silent
from redis_optimizer.stats.messages import (
    Answer,
    Question,
    pack_answer,
    read_question,
    reply_channel,
)
from redis_optimizer.stats.process import facts
from redis_optimizer.stats.registry import Registry, registry
from tests.cache.caches import counted, keep, tiered
from tests.cache.conftest import _no_tiers, url
from tests.channel.listeners import Listener
from tests.servers import wait_until
from tests.stats.processes import readers

__all__ = ["_no_tiers", "url"]

CONTROL = "redis_optimizer:default"
PATIENT = 60.0  # seconds that a busy machine may take


@pytest.fixture
def subscriber(admin: redis.Redis, server: EmbeddedServer) -> Iterator[Callable[[str], None]]:
    """Return what listens on a Pub/Sub channel, and never answers."""
    clients = []

    def subscribe(name: str) -> None:
        client = redis.Redis(HOST, server.port, client_name=name)
        pubsub = client.pubsub()
        pubsub.subscribe(CONTROL)
        pubsub.get_message(timeout=5)
        clients.append((client, pubsub))

    yield subscribe
    for client, pubsub in clients:
        pubsub.close()
        client.close()


@pytest.fixture
def pool(server: EmbeddedServer) -> Iterator[redis.ConnectionPool]:
    with redis.Redis(HOST, server.port) as client:
        yield client.connection_pool


def test_eight_processes_answer_by_a_command_each(admin: redis.Redis) -> None:
    with readers(8) as processes:
        with counted(admin) as calls:
            gathered = gather(PATIENT)
        assert {each.facts["pid"] for each in gathered.processes} == {p.pid for p in processes}
        assert sum(calls.values()) == gathered.commands == 10
        assert calls == {"subscribe": 1, "publish": 9}
        assert (gathered.silent, gathered.ignored, gathered.unreachable) == ([], 0, [])
        assert gathered.seconds < PATIENT / 2  # nobody is waited for
        caches = gathered.totals()["caches"]["default"]
        assert (caches["hits"], caches["staleness_bound"]) == (800, 12)
        assert json.loads(json.dumps(gathered.as_dict()))["commands"] == 10
        assert "cmdstat_client|list" not in admin.info("commandstats")  # nobody was missed

        processes[3].freeze()
        gathered = gather(timeout=2)
        assert gathered.commands == 10
        assert len(gathered.processes) == 7
        (silent,) = gathered.silent
        assert (silent.pid, silent.is_certain) == (processes[3].pid, True)
        assert gathered.missing == 1
        assert silent.address.startswith(HOST)
        assert gathered.seconds >= 2


def test_the_last_hour_comes_along(admin: redis.Redis) -> None:
    with readers(2) as processes:
        gather(PATIENT, history=True)
        for reader in processes:
            reader.hit(50)
        history = gather(PATIENT, history=True).history()
        assert sum(history["series"]["caches.hits"]) >= 100
        assert gather(PATIENT).history()["series"] == {}


def test_nothing_of_keys_or_values_is_told() -> None:
    with readers(1) as (reader,):
        reader.do("cache.set('secret key', 'secret value'); cache.get('secret key')")
        assert "secret" not in json.dumps(gather(PATIENT).as_dict())


def test_all_forget_what_they_keep_when_asked_to() -> None:
    with readers(2) as processes:
        for reader in processes:
            reader.do("cache.get('b'); cache.get('c')")
        gathered = ask(Question("clear"), PATIENT)
        done = [process.totals["done"]["entries"] for process in gathered.processes]
        assert len(done) == 2
        assert min(done) >= 1
        for reader in processes:
            reader.do("assert cache.stats()['valid_entries'] == 0")


def test_a_process_that_asks_answers_itself(url: str, admin: redis.Redis) -> None:
    with override_settings(CACHES={"default": {**_settings(url)}}):
        from django.core.cache import caches

        cache = caches["default"]
        assert isinstance(cache, TieredCache)
        assert cache.tier.wait_ready(10)
        (process,) = gather(PATIENT).processes
        assert process.facts["pid"] == os.getpid()
        assert process.totals["caches"]["default"]["coherence"] == "tracking"
        # Those that the question is asked on are closed in a moment.
        assert process.totals["connections"]["by"]["channel"] == 1


def test_a_process_on_two_servers_is_one(url: str) -> None:
    with (
        EmbeddedServer() as own,
        override_settings(CACHES={"default": _settings(url), "other": _settings(own.url)}),
    ):
        from django.core.cache import caches

        for alias in ("default", "other"):
            assert caches[alias].tier.wait_ready(10)
        gathered = gather(PATIENT)
        assert len(gathered.processes) == 1
        assert set(gathered.processes[0].totals["caches"]) == {"default", "other"}
        assert gathered.silent == []


def test_what_is_cleared_through_two_servers_is_told_as_one(url: str) -> None:
    with (
        EmbeddedServer() as own,
        override_settings(CACHES={"default": _settings(url), "other": _settings(own.url)}),
    ):
        from django.core.cache import caches

        for alias in ("default", "other"):
            cache = caches[alias]
            assert isinstance(cache, TieredCache)
            assert cache.tier.wait_ready(10)
            keep(cache, {f"{alias}:a": 1, f"{alias}:b": 2})
        (process,) = ask(Question("clear"), PATIENT).processes
        assert process.totals["done"]["entries"] >= 4  # the second time there is nothing left


def test_a_server_with_two_names_is_no_riddle(url: str, subscriber: Callable[[str], None]) -> None:
    other = _settings(url.replace(HOST, "localhost"))
    with override_settings(CACHES={"default": _settings(url), "other": other}):
        from django.core.cache import caches

        for alias in ("default", "other"):
            assert caches[alias].tier.wait_ready(10)
        gathered = gather(PATIENT)
        assert [process.facts["pid"] for process in gathered.processes] == [os.getpid()]
        assert (gathered.silent, gathered.missing, gathered.ignored) == ([], 0, 0)
        assert gathered.commands == 2 * (2 + 2)  # an answer on each channel to each question
        assert gathered.seconds < PATIENT / 2
        subscriber("redis_optimizer:channel:1")
        gathered = gather(5)
        assert ({silent.pid for silent in gathered.silent}, gathered.missing) == ({1}, 2)


def test_a_server_that_hangs_takes_no_time_of_the_others(
    url: str, pool: redis.ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiered(url)
    monkeypatch.setitem(registry._sources, "slow", (_take_a_moment, None))
    clock = chain([0.0], repeat(1_000.0))  # asking took that long
    with EmbeddedServer() as hung, redis.Redis(HOST, hung.port) as client:
        hung.freeze()
        gathered = ask(
            Question(), PATIENT, through=[client.connection_pool, pool], now=lambda: next(clock)
        )
        hung.thaw()
    assert [process.facts["pid"] for process in gathered.processes] == [os.getpid()]
    (error,) = gathered.unreachable
    assert "TimeoutError" in error
    assert gathered.missing == 0


def test_an_answer_that_has_arrived_is_read_though_the_time_is_over(
    url: str, pool: redis.ConnectionPool
) -> None:
    tiered(url)
    asking = Asking(pool, Question(), time.monotonic)
    try:
        assert asking._ear.can_read(PATIENT)
        asking.listen(time.monotonic() - 1)
        assert (len(asking.answers), asking.missing) == (1, 0)
    finally:
        asking.close()


def test_a_flood_of_answers_comes_to_an_end(
    pool: redis.ConnectionPool, admin: redis.Redis, subscriber: Callable[[str], None]
) -> None:
    subscriber("a")
    question = Question()
    asking = Asking(pool, question, time.monotonic)
    try:
        pipeline = admin.pipeline(transaction=False)
        for _ in range(MAX_IGNORED + 50):
            pipeline.publish(reply_channel("default", question.id), b"{}")
        pipeline.execute()
        asking.listen(time.monotonic() + PATIENT)
        assert asking.ignored == MAX_IGNORED + 1
    finally:
        asking.close()


def test_a_server_that_is_gone_is_named_and_the_others_are_asked(url: str) -> None:
    with EmbeddedServer() as own:
        gone = own.url
    with override_settings(CACHES={"default": _settings(url), "other": _settings(gone)}):
        gathered = gather(0.1)
        assert gathered.processes == []
        (error,) = gathered.unreachable
        assert "ConnectionError" in error
    with (
        override_settings(CACHES={"default": _settings(gone)}),
        pytest.raises(redis.ConnectionError),
    ):
        gather(0.1)


def test_where_no_cache_has_a_channel_nobody_can_be_asked(url: str) -> None:
    plain = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    for settings in (plain, _settings(url, COHERENCE="ttl"), _settings(url, ENABLED=False)):
        with override_settings(CACHES={"default": settings}), pytest.raises(LookupError):
            gather()


def test_who_hears_and_does_not_answer_is_named(
    pool: redis.ConnectionPool, subscriber: Callable[[str], None]
) -> None:
    subscriber("redis_optimizer:channel:17")
    subscriber("somebody")
    gathered = ask(Question(), 0.05, through=[pool])
    named, unnamed = gathered.silent
    assert (named.pid, named.is_certain) == (17, True)
    assert unnamed == Silent(None)


def test_channels_of_another_site_are_not_accused(
    pool: redis.ConnectionPool, server: EmbeddedServer, subscriber: Callable[[str], None]
) -> None:
    with redis.Redis(HOST, server.port, client_name="redis_optimizer:channel:18") as other:
        pubsub = other.pubsub()
        pubsub.subscribe("redis_optimizer:another")
        pubsub.get_message(timeout=5)
        assert ask(Question(), 0.05, through=[pool]).silent == []
        subscriber("redis_optimizer:channel:17")
        silent = ask(Question(), 0.05, through=[pool]).silent
        assert {(each.pid, each.is_certain) for each in silent} == {(17, False), (18, False)}
        assert ask(Question(), 0.05, through=[pool]).missing == 1
        pubsub.close()


def test_a_server_that_names_nobody_is_no_obstacle(
    admin: redis.Redis, server: EmbeddedServer, subscriber: Callable[[str], None]
) -> None:
    subscriber("redis_optimizer:channel:17")
    rules = ["on", "nopass", "~*", "&*", "+@all", "-client|list"]
    admin.execute_command("ACL", "SETUSER", "blind", *rules)
    try:
        with redis.Redis(HOST, server.port, username="blind", password="any") as client:
            gathered = ask(Question(), 0.05, through=[client.connection_pool])
        assert gathered.silent == [Silent(None)]
        assert gathered.commands == 5  # with a log-in on both connections
    finally:
        admin.acl_deluser("blind")


def test_what_is_no_answer_is_counted_and_not_believed(
    pool: redis.ConnectionPool, admin: redis.Redis, subscriber: Callable[[str], None]
) -> None:
    subscriber("a")
    subscriber("b")
    asked = admin.pubsub()
    asked.subscribe(CONTROL)
    asked.get_message(timeout=5)

    def answer() -> None:
        told = wait_until(lambda: asked.get_message(timeout=1))
        question = read_question(told["data"].encode(), time.time())
        forged = pack_answer(question, Answer(facts() | {"pid": "rm -rf"}, {}))
        good = pack_answer(question, Answer(facts(), {"jobs": {"sent": 3}}))
        changed = good.replace(b'"sent":3', b'"sent":4')
        for data in (b"", b"[]", b"x" * 300_000, forged, changed, good, good):
            admin.publish(reply_channel("default", question.id), data)

    thread = threading.Thread(target=answer)
    thread.start()
    gathered = ask(Question(), 3, through=[pool])
    thread.join(60)
    asked.close()
    assert gathered.ignored == 5
    (process,) = gathered.processes  # the second copy is of the same process
    assert process.totals == {"jobs": {"sent": 3}}
    assert len(gathered.silent) == 1


def test_a_flood_of_questions_is_not_made_larger(
    admin: redis.Redis, pool: redis.ConnectionPool, server: EmbeddedServer
) -> None:
    desk = Desk(Registry())
    channel = Channel(pool, "default", control=desk)
    listener = Listener(redis.Redis(HOST, server.port))
    channel.subscribe(listener)
    listener.wait("up")
    began = time.monotonic()
    with counted(admin) as calls:
        pipeline = admin.pipeline(transaction=False)
        for _ in range(500):
            pipeline.publish(CONTROL, Question().pack())
        pipeline.execute()
        wait_until(lambda: desk.answered + desk.refused == 500)
    most = BURST + ANSWERS * (time.monotonic() - began)
    assert calls["publish"] - 500 == desk.answered <= most
    channel.stop()


def test_totals_and_histories_are_added_up() -> None:
    history = {"step": 10.0, "begins": 0.0, "series": {"a": [1]}}

    def process(hits: int, bound: int, hour: dict[str, object] | None) -> Process:
        totals = {"caches": {"x": {"hits": hits, "staleness_bound": bound}}}
        return Process(facts() | {"id": uuid.uuid4().hex}, totals, hour, 0.1)

    gathered = Gathered([process(1, 12, history), process(2, 300, None), process(3, 5, history)])
    assert gathered.totals() == {"caches": {"x": {"hits": 6, "staleness_bound": 300}}}
    assert gathered.history()["series"] == {"a": [2]}
    assert Gathered().totals() == {}


def test_asking_opens_no_channel_of_its_own(url: str, admin: redis.Redis) -> None:
    cache = tiered(url, ready=False)
    with override_settings(CACHES={"default": _settings(url)}):
        assert gather(0.05).processes == []
        assert cache.tier.channel is None


def _take_a_moment() -> dict[str, object]:
    time.sleep(0.2)  # the answer is not there yet when it is waited for
    return {}


def _settings(location: str, **l1: object) -> dict[str, object]:
    return {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": location,
        "KEY_PREFIX": "t",
        "OPTIONS": {"L1": l1},
    }


async def test_it_can_be_awaited_while_the_loop_goes_on(server: object) -> None:
    with readers(1) as (reader,):
        asking = asyncio.ensure_future(agather(20))
        turns = 0
        while not asking.done():
            turns += 1
            await asyncio.sleep(0)
        gathered = asking.result()
    assert turns > 1
    assert reader.pid in {process.facts["pid"] for process in gathered.processes}
