"""What each format tells, and to whom."""

import json

import pytest
from django.test import RequestFactory

from redis_optimizer.health import Observation, Result, Status
from redis_optimizer.health.audience import Audience
from redis_optimizer.health.formats import JSON, choose, draft, metrics, plain
from tests.health.verdicts import BEGAN, BROKER, DATABASE, REDIS, verdict

PUBLIC, STAFF = Audience.PUBLIC, Audience.STAFF


class TestPlain:
    def test_everybody_is_told_one_word(self) -> None:
        body = json.loads(plain.render(verdict(REDIS, BROKER), PUBLIC))
        assert body == {"status": "degraded", "cached": True, "age": 12.3}

    def test_staff_are_told_what_each_check_came_to(self) -> None:
        body = json.loads(plain.render(verdict(REDIS, BROKER), STAFF))
        checks = body.pop("checks")
        assert body == {
            "status": "degraded",
            "cached": True,
            "age": 12.3,
            "checked_at": "2026-09-21T14:13:20.250Z",
            "response_time_ms": 3.457,
        }
        assert checks == [
            {
                "name": "redis",
                "component": "datastore",
                "status": "ok",
                "response_time_ms": 1.2,
                "observed": {
                    "memory": {"value": 1024, "unit": "bytes"},
                    "role": {"value": "master", "unit": ""},
                },
                "checked_at": "2026-09-21T14:13:20.750Z",
                "error": "",
            },
            {
                "name": "broker",
                "component": "component",
                "status": "degraded",
                "response_time_ms": 2.0,
                "observed": {"depth": {"value": 12.5, "unit": "messages"}},
                "checked_at": "2026-09-21T14:13:21.000Z",
                "error": 'queue "mail" on\nredis://10.0.0.7 is long',
            },
        ]


class TestDraft:
    @pytest.mark.parametrize(
        ("results", "word"),
        [([], "pass"), ([REDIS], "pass"), ([REDIS, BROKER], "warn"), ([BROKER, DATABASE], "fail")],
    )
    def test_everybody_is_told_one_word_of_the_draft(
        self, results: list[Result], word: str
    ) -> None:
        assert json.loads(draft.render(verdict(*results), PUBLIC)) == {"status": word}

    def test_staff_are_told_what_was_measured(self) -> None:
        body = json.loads(draft.render(verdict(REDIS, DATABASE), STAFF))
        redis = {
            "componentType": "datastore",
            "status": "pass",
            "time": "2026-09-21T14:13:20.750Z",
        }
        assert body == {
            "status": "fail",
            "checks": {
                "redis:responseTime": [redis | {"observedValue": 1.2, "observedUnit": "ms"}],
                "redis:memory": [redis | {"observedValue": 1024, "observedUnit": "bytes"}],
                "redis:role": [redis | {"observedValue": "master"}],
                "database:responseTime": [
                    {
                        "componentType": "datastore",
                        "status": "fail",
                        "time": "2026-09-21T14:13:22.250Z",
                        "observedValue": 2000.0,
                        "observedUnit": "ms",
                        "output": "timed out",
                    }
                ],
            },
        }


class TestMetrics:
    def test_everybody_is_told_one_number(self) -> None:
        text = metrics.render_openmetrics(verdict(REDIS, BROKER), PUBLIC)
        assert samples(text) == {"site_health": 0.5}

    @pytest.mark.parametrize(
        ("results", "number"), [([REDIS], 1.0), ([BROKER], 0.5), ([REDIS, DATABASE], 0.0)]
    )
    def test_the_number_says_how_the_site_is(self, results: list[Result], number: float) -> None:
        text = metrics.render_text(verdict(*results), PUBLIC)
        assert samples(text) == {"site_health": number}

    def test_staff_are_told_numbers_of_each_check(self) -> None:
        text = metrics.render_openmetrics(verdict(REDIS, BROKER), STAFF)
        assert samples(text) == {
            "site_health": 0.5,
            "site_health_checked_at_seconds": BEGAN,
            'site_health_check{check="redis",component="datastore"}': 1,
            'site_health_check{check="broker",component="component"}': 0.5,
            'site_health_check_seconds{check="redis",component="datastore"}': 0.0012,
            'site_health_check_seconds{check="broker",component="component"}': 0.002,
            'site_health_observed{check="redis",name="memory",unit="bytes"}': 1024,
            'site_health_observed{check="broker",name="depth",unit="messages"}': 12.5,
        }

    def test_a_flag_is_a_number(self) -> None:
        flag = Result("disk", "system", Status.OK, 1, BEGAN, {"full": Observation(value=True)})
        assert 'name="full",unit=""} 1\n' in metrics.render_text(verdict(flag), STAFF)

    def test_labels_are_escaped(self) -> None:
        odd = Result('a"b\\c\nd', "system", Status.OK, 1, BEGAN)
        assert r'check="a\"b\\c\nd"' in metrics.render_text(verdict(odd), STAFF)

    def test_only_openmetrics_says_where_it_ends(self) -> None:
        assert metrics.render_openmetrics(verdict(REDIS), STAFF).endswith("\n# EOF\n")
        assert "EOF" not in metrics.render_text(verdict(REDIS), STAFF)


def samples(text: str) -> dict[str, float]:
    """Return the value of each sample; each of them is described and of a known type."""
    found = {}
    described = set()
    for line in text.splitlines():
        if line.startswith("# "):
            described.add(tuple(line.split(" ")[1:3]))
            continue
        name, _, value = line.rpartition(" ")
        metric = name.partition("{")[0]
        assert {("TYPE", metric), ("HELP", metric)} <= described
        found[name] = float(value)
    return found


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("application/json, text/plain, */*", "json"),
        ("application/*", "json"),
        ("application/health+json", "draft"),
        ("application/health+json, application/json", "draft"),
        ("application/json;q=0.5, application/health+json", "draft"),
        ("application/health+json;q=0.5, application/json", "json"),
        (PROMETHEUS, "openmetrics"),
        ("text/plain;version=0.0.4", "text"),
        ("text/*", "text"),
        ("application/openmetrics-text;q=0, text/plain", "text"),
        ("image/png", "json"),
        ("rubbish", "json"),
        (";q=x,,/;q=9,application/;", "json"),
    ],
)
def test_the_accept_header_chooses(rf: RequestFactory, accept: str | None, name: str) -> None:
    headers = {} if accept is None else {"Accept": accept}
    assert choose(rf.get("/", headers=headers)).name == name


def test_a_failure_is_shown_in_the_status_but_to_scrapers(rf: RequestFactory) -> None:
    # Prometheus keeps nothing of a response that is not 200.
    assert JSON.shows_failure
    assert choose(rf.get("/", headers={"Accept": draft.MEDIA_TYPE})).shows_failure
    assert not choose(rf.get("/", headers={"Accept": PROMETHEUS})).shows_failure
