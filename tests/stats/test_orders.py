"""Orders reach every process of the site, those that begin later too, and nobody else gives any."""

import time
from collections.abc import Iterator

import pytest
import redis
from django.test import override_settings

from redis_optimizer import switches
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.stats import orders
from redis_optimizer.stats.gather import ask, gather
from redis_optimizer.stats.messages import Question
from redis_optimizer.stats.signing import sign
from redis_optimizer.stats.states import fetch, pack_states
from redis_optimizer.switches import PARTS, State
from tests.cache.caches import counted, kill_channels
from tests.servers import wait_until
from tests.stats.processes import Reader, readers

CONTROL = "redis_optimizer:default"
KEY = f"{CONTROL}:switches"
PATIENT = 60.0  # seconds that a busy machine may take

IS = "from redis_optimizer import switches; assert switches.is_on('cache') is {on}"

LATE = (
    "from redis_optimizer import switches; "
    "assert not switches.is_on('endpoints'); "
    "assert switches.states()['endpoints'].by == 'root'"
)


@pytest.fixture(scope="module")
def two(server: EmbeddedServer) -> Iterator[list[Reader]]:
    with readers(2) as processes:
        yield processes


@pytest.fixture
def site(two: list[Reader]) -> Iterator[list[Reader]]:
    yield two
    for reader in two:
        reader.do("from redis_optimizer import switches; switches.reset()")


@pytest.fixture
def pool(server: EmbeddedServer) -> Iterator[redis.ConnectionPool]:
    with redis.Redis(HOST, server.port) as client:
        yield client.connection_pool


def test_all_processes_are_switched_and_say_so(site: list[Reader], admin: redis.Redis) -> None:
    for on in (False, True):
        with counted(admin) as calls:
            gathered = orders.switch("cache", on, by="root", timeout=PATIENT)
        done = [process.totals["done"] for process in gathered.processes]
        assert done == [{"part": "cache", "on": on}] * 2
        assert orders.unconfirmed(gathered, "cache", on) == []
        assert (gathered.silent, gathered.missing, gathered.unkept) == ([], 0, [])
        kept = dict.fromkeys(("watch", "get", "multi", "set", "exec"), 1)
        assert calls == {**kept, "subscribe": 1, "publish": 3}
        assert gathered.commands == sum(calls.values())
        for reader in site:
            reader.do(IS.format(on=on))
        assert switches.is_on("cache") is on  # in this one, which has no channel
        state = orders.read_states()["cache"]
        assert (state.on, state.by) == (on, "root")


def test_how_each_process_is_switched_is_among_what_it_tells(site: list[Reader]) -> None:
    orders.switch("dedup", False, timeout=PATIENT)
    for process in gather(PATIENT).processes:
        assert process.totals["switches"] == {**dict.fromkeys(PARTS, True), "dedup": False}


def test_a_process_that_begins_later_learns_of_it(site: list[Reader], admin: redis.Redis) -> None:
    orders.switch("endpoints", False, by="root", timeout=PATIENT)
    with readers(1) as (late,):
        late.do(LATE)
        orders.switch("endpoints", True, timeout=PATIENT)
        late.do("from redis_optimizer import switches; assert switches.is_on('endpoints')")


def test_a_flush_of_the_server_does_not_switch_it_on(
    site: list[Reader], admin: redis.Redis, pool: redis.ConnectionPool
) -> None:
    orders.switch("dedup", False, by="root", timeout=PATIENT)
    state = fetch(pool)["dedup"]
    with counted(admin) as calls:
        admin.flushall()
        wait_until(lambda: admin.exists(KEY), PATIENT)
        wait_until(lambda: admin.info("commandstats")["cmdstat_setnx"]["calls"] == 2, PATIENT)
    assert fetch(pool) == {"dedup": state}
    assert calls["setnx"] == 2  # one of each process
    orders.switch("dedup", True, timeout=PATIENT)
    with counted(admin) as calls:
        admin.flushall()
        gather(PATIENT)  # what is asked after it is answered after it
    assert "setnx" not in calls
    assert not admin.exists(KEY)


def test_a_server_that_missed_an_order_is_told_when_processes_connect(
    site: list[Reader], admin: redis.Redis, pool: redis.ConnectionPool
) -> None:
    """Such as one that restarted from an old file, or a replica that took over."""
    orders.switch("dedup", False, by="root", timeout=PATIENT)
    state = fetch(pool)["dedup"]
    other = {"cache": State(on=False, at=state.at - 1, by="somebody")}
    admin.set(KEY, pack_states({"dedup": State(on=True, at=state.at - 1), **other}))
    kill_channels(admin)
    wait_until(lambda: fetch(pool) == {"dedup": state, **other}, PATIENT)
    wait_until(lambda: len(gather(PATIENT).processes) == 2, PATIENT)
    for reader in site:
        reader.do("from redis_optimizer import switches; assert not switches.is_on('dedup')")
        reader.do(IS.format(on=False))


def test_what_others_publish_switches_nothing(site: list[Reader], admin: redis.Redis) -> None:
    question = Question("switch", switch=("cache", State(on=False, at=time.time(), by="evil")))
    with override_settings(SECRET_KEY="of another site"):
        another = question.pack()
        kept = pack_states({"cache": State(on=False, at=time.time())})
    unsigned = question.pack().partition(b":")[2]
    before = gather(PATIENT).totals()["messages"]
    for data in (another, unsigned, sign("answer", unsigned), b"\xff"):
        admin.publish(CONTROL, data)
    after = gather(PATIENT).totals()["messages"]
    assert after["forged"] - before["forged"] == 2 * 4
    assert after["answered"] - before["answered"] == 2  # to the first question
    for reader in site:
        reader.do(IS.format(on=True))
    admin.set(KEY, kept)
    assert orders.read_states()["cache"].on
    with readers(1) as (late,):
        late.do(IS.format(on=True))


def test_a_message_that_is_published_again_switches_nothing(
    site: list[Reader], admin: redis.Redis
) -> None:
    with admin.pubsub(ignore_subscribe_messages=True) as ear:
        ear.subscribe(CONTROL)
        wait_until(lambda: dict(admin.pubsub_numsub(CONTROL))[CONTROL] == 3, PATIENT)
        orders.switch("cache", False, timeout=1.0)  # this one does not answer
        heard = wait_until(lambda: ear.get_message(timeout=0.1), PATIENT)["data"]
    orders.switch("cache", True, timeout=PATIENT)
    before = gather(PATIENT).totals()["messages"]["ignored"]
    admin.publish(CONTROL, heard)
    assert gather(PATIENT).totals()["messages"]["ignored"] == before + 2
    for reader in site:
        reader.do(IS.format(on=True))


def test_a_process_with_another_key_is_silent(site: list[Reader]) -> None:
    with override_settings(SECRET_KEY="of another site"):
        gathered = orders.switch("cache", False, timeout=0.5)
    assert gathered.processes == []
    assert {silent.pid for silent in gathered.silent} == {reader.pid for reader in site}
    for reader in site:
        reader.do(IS.format(on=True))


def test_a_key_is_replaced_while_processes_run(site: list[Reader]) -> None:
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only-for-tests"]):
        question = Question("switch", switch=("cache", State(on=False, at=time.time())))
        with override_settings(SECRET_KEY="only-for-tests"):
            old = question.pack()
        assert question.pack() != old
        for reader in site:
            reader.do("from django.conf import settings; settings.SECRET_KEY_FALLBACKS = ['new']")
        gathered = orders.switch("cache", False, timeout=PATIENT)
        assert len(gathered.processes) == 2
    for reader in site:
        reader.do("settings.SECRET_KEY_FALLBACKS = []")


def test_one_process_alone_forgets_what_it_keeps(site: list[Reader], admin: redis.Redis) -> None:
    for reader in site:
        reader.do("cache.set('kept', 1); [cache.get('kept') for _ in range(3)]")
    site[0].do("cache.get('kept')")
    ids = {process.facts["pid"]: process.facts["id"] for process in gather(PATIENT).processes}
    with counted(admin) as calls:
        gathered = orders.clear(only=ids[site[0].pid], timeout=PATIENT)
    assert [process.facts["pid"] for process in gathered.processes] == [site[0].pid]
    assert (gathered.silent, gathered.missing) == ([], 0)
    assert gathered.seconds < PATIENT / 2  # the others are not waited for
    assert calls == {"subscribe": 1, "publish": 2}
    site[0].do("assert cache.stats()['valid_entries'] == 0")


def test_a_process_that_is_gone_is_missed(site: list[Reader]) -> None:
    gathered = orders.clear(only="f" * 32, timeout=0.2)
    assert (gathered.processes, gathered.missing, len(gathered.silent)) == ([], 1, 1)


def test_processes_that_send_no_jobs_say_nothing_of_them(site: list[Reader]) -> None:
    gathered = orders.flush(timeout=PATIENT)
    assert len(gathered.processes) == 2
    assert all("done" not in process.totals for process in gathered.processes)


def test_a_part_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="The parts are: cache, batching"):
        orders.switch("cash", False)


def test_a_user_who_may_not_keep_it_switches_all_the_same(
    site: list[Reader], admin: redis.Redis, server: EmbeddedServer
) -> None:
    rules = ["on", "nopass", "~t:*", "&*", "+@all"]
    admin.execute_command("ACL", "SETUSER", "narrow", *rules)
    url = f"redis://narrow:any@{HOST}:{server.port}/0"
    backend = {"BACKEND": "redis_optimizer.cache.TieredCache", "LOCATION": url, "KEY_PREFIX": "t"}
    try:
        with override_settings(CACHES={"default": backend}):
            gathered = orders.switch("cache", False, timeout=PATIENT)
            assert len(gathered.processes) == 2
            (why,) = gathered.unkept
            assert "permission" in why.lower()
            with pytest.raises(redis.ResponseError):
                orders.read_states()
            orders.switch("cache", True, timeout=PATIENT)
    finally:
        admin.acl_deluser("narrow")


def test_where_nobody_can_be_told_that_is_an_error() -> None:
    plain = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    with override_settings(CACHES={"default": plain}):
        for order in (lambda: orders.switch("cache", False), orders.read_states, orders.flush):
            with pytest.raises(LookupError):
                order()
    with EmbeddedServer() as own:
        gone = own.url
    down = {"BACKEND": "redis_optimizer.cache.TieredCache", "LOCATION": gone}
    with override_settings(CACHES={"default": down}):
        for order in (lambda: orders.switch("cache", False), orders.read_states, orders.clear):
            with pytest.raises(redis.ConnectionError):
                order()
    assert switches.is_on("cache")


def test_an_order_to_ask_is_no_order(site: list[Reader]) -> None:
    assert all("done" not in process.totals for process in ask(Question(), PATIENT).processes)
