"""The requests of each view are counted, of a bounded number of views."""

import json
import os
import signal
import threading

import pytest
from django.test import override_settings

from redis_optimizer.stats.costs import Costs
from redis_optimizer.stats.views import NO_VIEW, OTHERS, ViewCounter, counter


@pytest.fixture
def counts() -> ViewCounter:
    return ViewCounter()


def test_requests_responses_and_time_are_added_up(counts: ViewCounter) -> None:
    for status in (200, 204, 302, 404, 503):
        counts.count("page", status, 0.5)
    counts.count("page", None, 0.25)
    counts.count("page", 500, 0.25, failed=True)
    assert counts.snapshot() == {
        "page": {
            "requests": 7,
            "responses": {"2xx": 2, "3xx": 1, "4xx": 1, "5xx": 2},
            "exceptions": 1,
            "seconds": 3.0,
            "measured": 0,
            "hits": 0,
            "trips": 0,
        }
    }


def test_costs_are_those_of_the_requests_that_were_measured(counts: ViewCounter) -> None:
    counts.count("page", 200, 0.5)
    counts.count("page", 200, 0.5, costs=Costs(hits=3, trips=1))
    counts.count("page", 200, 0.5, costs=Costs(hits=4))
    page = counts.snapshot()["page"]
    assert (page["requests"], page["measured"], page["hits"], page["trips"]) == (3, 2, 7, 1)


def test_views_beyond_the_bound_are_counted_as_one(counts: ViewCounter) -> None:
    counts.count(NO_VIEW, 404, 0.5)
    with override_settings(REDIS_OPTIMIZER={"VIEWS_COUNTED": 2}):
        for name in ("a", "b", "c", "d", "a", NO_VIEW):
            counts.count(name, 200, 0.5)
    seen = {name: view["requests"] for name, view in counts.snapshot().items()}
    assert seen == {NO_VIEW: 2, "a": 2, "b": 1, OTHERS: 2}


def test_a_request_without_a_view_takes_no_place(counts: ViewCounter) -> None:
    with override_settings(REDIS_OPTIMIZER={"VIEWS_COUNTED": 1}):
        for name in ("a", "b", NO_VIEW):
            counts.count(name, 200, 0.5)
    assert counts.snapshot().keys() == {"a", OTHERS, NO_VIEW}


def test_a_snapshot_is_plain_data_of_its_own(counts: ViewCounter) -> None:
    counts.count("page", 200, 0.5)
    seen = counts.snapshot()
    assert json.loads(json.dumps(seen)) == seen
    seen["page"]["responses"]["2xx"] = 17
    assert counts.snapshot()["page"]["responses"]["2xx"] == 1


def test_reset_forgets_all(counts: ViewCounter) -> None:
    counts.count("page", 200, 0.5)
    counts.reset()
    assert counts.snapshot() == {}


def test_no_count_of_many_threads_is_lost(counts: ViewCounter) -> None:
    def count(name: str) -> None:
        for _ in range(2_000):
            counts.count(name, 200, 1.0)
            counts.count("both", 404, 1.0)

    threads = [threading.Thread(target=count, args=(name,)) for name in "abab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    seen = counts.snapshot()
    assert {name: view["requests"] for name, view in seen.items()} == {
        "a": 4_000,
        "b": 4_000,
        "both": 8_000,
    }
    assert seen["both"]["responses"]["4xx"] == seen["both"]["seconds"] == 8_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_with_nothing_and_without_the_parents_lock() -> None:
    counter.count("page", 200, 0.5)
    try:
        with counter._lock:  # as another thread of the parent may hold it
            child = os.fork()
            if not child:
                signal.alarm(30)  # rather than wait for ever
                counter.count("page", 200, 0.5)
                os._exit(counter.snapshot()["page"]["requests"])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert counter.snapshot()["page"]["requests"] == 1
    finally:
        counter.reset()
