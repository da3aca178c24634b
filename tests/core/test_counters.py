"""An hour of history, kept by looks at totals; time is passed in."""

import json

from redis_optimizer.core.counters import MAX_SERIES, STEP, STEPS, History, add_up, merge

BEGIN = 1_800_000_000.0  # a multiple of ten seconds


def test_what_grew_between_two_looks_stands_in_its_step() -> None:
    history = History()
    history.note({"hits": 100}, BEGIN + 0.1)
    history.note({"hits": 107}, BEGIN + 10.1)
    history.note({"hits": 107}, BEGIN + 20.1)
    history.note({"hits": 110}, BEGIN + 30.1)
    seen = history.snapshot(BEGIN + 30.2)
    assert seen == {"step": 10.0, "begins": BEGIN, "series": {"hits": [7, 0, 3, 0]}}


def test_who_looks_in_between_takes_nothing_from_it() -> None:
    history = History()
    history.note({"hits": 0}, BEGIN)
    for second, total in ((2, 1), (4, 3), (9, 6), (10, 10), (13, 11)):
        history.note({"hits": total}, BEGIN + second)
    assert history.snapshot(BEGIN + 14)["series"] == {"hits": [10, 1]}


def test_what_was_counted_before_the_first_look_is_of_no_step() -> None:
    history = History()
    history.note({"hits": 1_000_000}, BEGIN)
    assert history.snapshot(BEGIN)["series"] == {}
    history.note({"hits": 1_000_000, "misses": 5}, BEGIN + 10)
    history.note({"hits": 1_000_000, "misses": 6}, BEGIN + 20)
    assert history.snapshot(BEGIN + 20)["series"] == {"misses": [1, 0]}


def test_an_hour_is_kept() -> None:
    history = History()
    for step in range(STEPS + 100):
        history.note({"hits": step}, BEGIN + step * STEP)
    last = BEGIN + (STEPS + 99) * STEP
    (hits,) = history.snapshot(last)["series"].values()
    assert (len(hits), sum(hits)) == (STEPS, STEPS - 1)  # nothing yet in the step that has begun
    assert history.snapshot(last)["begins"] == last - (STEPS - 1) * STEP
    assert history.snapshot(last + 3600)["series"] == {}


def test_after_a_pause_it_stands_in_the_last_whole_step() -> None:
    history = History()
    history.note({"hits": 0}, BEGIN)
    history.note({"hits": 9}, BEGIN + 7200)
    assert history.snapshot(BEGIN + 7200) == {
        "step": 10.0,
        "begins": BEGIN + 7190,
        "series": {"hits": [9, 0]},
    }


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    history = History()
    history.note({"hits": 0}, BEGIN + 100)
    history.note({"hits": 1}, BEGIN + 110)
    history.note({"hits": 3}, BEGIN + 50)
    history.note({"hits": 7}, BEGIN + 60)
    history.note({"hits": 8}, BEGIN + 120)
    assert sum(history.snapshot(BEGIN + 121)["series"]["hits"]) == 8


def test_after_a_clock_was_set_back_the_history_goes_on() -> None:
    history = History()
    history.note({"hits": 0}, BEGIN + 99_000)
    history.note({"hits": 1}, BEGIN + 99_010)
    for step in range(20):
        history.note({"hits": 2 + step}, BEGIN + 10 * step)
    assert sum(history.snapshot(BEGIN + 200)["series"]["hits"]) == 21


def test_a_total_that_is_lower_for_a_moment_grows_when_it_is_higher_than_ever() -> None:
    # It was read while another thread had counted the one half, and not yet the other.
    history = History()
    history.note({"avoided": 1000}, BEGIN)
    history.note({"avoided": 990}, BEGIN + 10)
    history.note({"avoided": 1003}, BEGIN + 20)
    assert history.snapshot(BEGIN + 20)["series"] == {"avoided": [3, 0]}


def test_names_are_bounded() -> None:
    history = History()
    names = [f"n{number}" for number in range(MAX_SERIES + 10)]
    history.note(dict.fromkeys(names, 0), BEGIN)
    history.note(dict.fromkeys(names, 1), BEGIN + 10)
    assert len(history.snapshot(BEGIN + 10)["series"]) == MAX_SERIES


def test_the_next_look_is_due_when_the_step_ends() -> None:
    assert History().next_look(BEGIN) == 10
    assert History().next_look(BEGIN + 7.5) == 2.5


def test_a_snapshot_is_plain_data() -> None:
    history = History()
    history.note({"hits": 0, "seconds": 0.0}, BEGIN)
    history.note({"hits": 2, "seconds": 0.5}, BEGIN + 10)
    seen = history.snapshot(BEGIN + 10)
    assert json.loads(json.dumps(seen)) == seen


def test_histories_are_added_up_step_by_step() -> None:
    one = {"step": 10.0, "begins": BEGIN, "series": {"hits": [1, 2, 3], "misses": [1, 1, 1]}}
    other = {"step": 10.0, "begins": BEGIN + 20, "series": {"hits": [10, 20]}}
    assert merge([one, other]) == {
        "step": 10.0,
        "begins": BEGIN,
        "series": {"hits": [1, 2, 13, 20], "misses": [1, 1, 1, 0]},
    }


def test_histories_of_clocks_that_differ_do_not_grow_beyond_an_hour() -> None:
    one = {"step": 10.0, "begins": 0.0, "series": {"hits": [1]}}
    other = {"step": 10.0, "begins": BEGIN, "series": {"hits": [2]}}
    seen = merge([one, other])
    assert (len(seen["series"]["hits"]), seen["series"]["hits"][-1]) == (STEPS, 2)


def test_histories_of_nothing_are_nothing() -> None:
    empty = {"step": 10.0, "begins": BEGIN, "series": {}}
    assert merge([])["series"] == merge([empty])["series"] == {}
    full = {"step": 10.0, "begins": BEGIN, "series": {"hits": [1]}}
    assert merge([empty, full]) == full
    assert merge([full, {**full, "step": 60.0}]) == full


def test_totals_are_added_up() -> None:
    one = {"caches": {"a": {"hits": 1, "mode": "x", "on": True}}, "jobs": {"sent": 2}}
    other = {"caches": {"a": {"hits": 2, "mode": "y", "on": True}, "b": {"hits": 5}}}
    assert add_up([one, other]) == {
        "caches": {"a": {"hits": 3, "mode": None, "on": True}, "b": {"hits": 5}},
        "jobs": {"sent": 2},
    }
    assert one["caches"]["a"]["hits"] == 1  # type: ignore[index]


def test_of_some_numbers_the_largest_is_kept() -> None:
    trees = [{"a": {"bound": 5}}, {"a": {"bound": 12}}, {"a": {"bound": 7}}]
    assert add_up(trees, largest=["bound"]) == {"a": {"bound": 12}}


def test_totals_of_other_forms_are_no_error() -> None:
    assert add_up([{"a": 1}, {"a": {"b": 2}}, {"a": "c"}, {"a": None}]) == {"a": None}
