"""The benchmark command: what it counts is what the server counted, for the plan it was given."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import CommandError, call_command

from redis_optimizer.embedded import ServerNotFound
from redis_optimizer.management.benchmark.cache import command
from redis_optimizer.management.benchmark.cache.fleet import Fleet
from redis_optimizer.management.benchmark.cache.worker import Order
from redis_optimizer.management.benchmark.child import WorkerError

URL = settings.REDIS_TEST_URL


def run(*arguments: object, **options: Any) -> str:
    out = io.StringIO()
    options = {"url": URL, "verbosity": 0, "processes": 2, **options}
    call_command("redis_optimizer_benchmark", "cache", *arguments, stdout=out, **options)
    return out.getvalue()


def run_json(**options: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run(json=True, **options))
    return report


@pytest.mark.slow
class TestRun:
    def test_counts_plain_django_redis_exactly(self, admin: redis.Redis) -> None:
        admin.set("theirs", 1)
        report = run_json(requests=400, keys=50, writes=10)
        plain = report["rows"][0]
        writes = report["writes"]
        assert plain["name"] == "django-redis"
        assert plain["by_command"] == {
            "GET": (400 - writes) * 1000 / 400,
            "SET": writes * 1000 / 400,
        }
        assert plain["commands_per_1000_requests"] == 1000
        assert plain["hit_ratio"] == 0
        assert plain["stale_reads"] == 0
        assert plain["connecting"]["CLIENT SETINFO"] == 4
        assert 0 < plain["p50_us"] <= plain["p99_us"]
        # The benchmark's keys are gone; the channels' probes go by themselves within a second.
        assert [key for key in admin.scan_iter() if ":probe:" not in key] == ["theirs"]

    def test_saves_with_l1_but_not_below_the_floor(self) -> None:
        report = run_json(requests=1000, keys=20, l1=100, writes=0)
        plain, tiered = report["rows"]
        floor = report["floor_commands_per_1000_requests"]
        assert floor == 40  # 20 keys in 2 processes, each read from Redis once
        assert tiered["by_command"]["GET"] == floor
        assert tiered["hit_ratio"] == 0.96
        assert tiered["commands_per_1000_requests"] < plain["commands_per_1000_requests"] / 10
        assert tiered["connecting"]["CLIENT TRACKING"] == 2
        assert tiered["note"] == ""

    def test_has_one_row_for_each_exact_ttl(self) -> None:
        report = run_json(
            requests=300, keys=10, writes=20, processes=1, exact_ttl=["true", "false"]
        )
        _, exact, never = report["rows"]
        assert exact["name"].endswith("true")
        assert exact["by_command"]["PTTL"] == exact["by_command"]["GET"]
        assert never["name"].endswith("false")
        assert "PTTL" not in never["by_command"]

    def test_has_one_row_for_each_other_backend(self) -> None:
        names = ("redis.RedisCache", "locmem.LocMemCache")
        paths = [f"django.core.cache.backends.{name}" for name in names]
        report = run_json(requests=200, keys=10, writes=0, processes=1, against=paths)
        django, locmem = report["rows"][2:]
        assert (django["name"], locmem["name"]) == (paths[0], paths[1])
        assert django["by_command"]["GET"] == 1000
        assert locmem["by_command"] == {}

    def test_without_preloading_the_first_reader_writes(self) -> None:
        report = run_json(requests=200, keys=10, writes=0, preload=False, processes=1)
        keys = report["keys"]
        for row in report["rows"]:
            assert row["by_command"]["SET"] == keys * 1000 / 200
        assert report["rows"][0]["commands_per_1000_requests"] == 1000 + keys * 1000 / 200

    def test_uses_several_threads(self) -> None:
        report = run_json(requests=200, keys=10, writes=0, threads=3, processes=1)
        assert report["threads"] == 3
        assert report["rows"][0]["by_command"] == {"GET": 1000}
        assert report["rows"][0]["connecting"]["CLIENT SETINFO"] == 2 * 3

    def test_prints_a_table(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.txt"
        path.write_text("a\nb\na\na\n")
        text = run(trace=path, writes=0, processes=1)
        assert "4 requests for 2 keys from keys.txt, 0 % writes (0)" in text
        assert "1 process x 1 thread on" in text
        for label in ("commands/1,000", "hit ratio", "p99 us", "stale reads", "a perfect L1"):
            assert label in text
        assert "django-redis: GET 1,000.0" in text

    def test_starts_a_server_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")  # the site's: left alone
        assert run_json(url=None, requests=50, keys=5, processes=1)["requests"] == 50

    def test_shows_progress_on_stderr(self, capsys: pytest.CaptureFixture[str]) -> None:
        run(requests=100, keys=10, verbosity=1, processes=1)
        assert "django-redis: 100 of 100 requests" in capsys.readouterr().err

    def test_reports_what_a_worker_failed_of(self) -> None:
        order = Order(
            cache={"BACKEND": "no.such.Backend"}, keys=[], requests=[], threads=1, body=""
        )
        with (
            Fleet([order], lambda done: None) as fleet,
            pytest.raises(WorkerError, match=r"no\.such\.Backend"),
        ):
            fleet.connect()

    @pytest.mark.skipif(
        "REDIS_OPTIMIZER_TRACES" not in os.environ,
        reason="REDIS_OPTIMIZER_TRACES names no directory with web07.txt.gz",
    )
    def test_web07_stays_within_its_budget(self) -> None:
        trace = Path(os.environ["REDIS_OPTIMIZER_TRACES"], "web07.txt.gz")
        report = run_json(trace=trace, processes=4, exact_ttl=["auto"])
        # 600 to 635 by itself; more where the processes wait for a processor, and the others'
        # writes come while values are being read.
        assert report["rows"][1]["commands_per_1000_requests"] <= 700


class TestBadInput:
    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("writes", -1),
            ("writes", 101),
            ("writes", float("nan")),
            ("l1", 0),
            ("l1", 101),
            ("processes", 0),
            ("threads", 0),
            ("requests", 0),
            ("keys", 0),
            ("zipf", -0.5),
            ("value_size", -1),
        ],
    )
    def test_out_of_bounds_is_named(self, option: str, value: float) -> None:
        with pytest.raises(CommandError, match=f"--{option.replace('_', '-')} must lie between"):
            run(**{option: value})

    def test_an_unusable_trace_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match=r"--trace: .*gone\.txt"):
            run(trace=tmp_path / "gone.txt")
        (tmp_path / "empty.txt").touch()
        with pytest.raises(CommandError, match=r"--trace: .*holds no keys"):
            run(trace=tmp_path / "empty.txt")

    @pytest.mark.parametrize(("path", "why"), [("os.path", "no cache backend"), ("no.such", "no")])
    def test_what_is_no_backend_is_named(self, path: str, why: str) -> None:
        with pytest.raises(CommandError, match=f"--against: .*{why}"):
            run(against=[path])

    @pytest.mark.parametrize("option", ["zipf", "keys"])
    def test_a_trace_and_a_drawn_one_are_one_too_many(self, tmp_path: Path, option: str) -> None:
        with pytest.raises(CommandError, match=f"--{option} .* --trace"):
            run(trace=tmp_path / "keys.txt", **{option: 1})

    @pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "memcached://here", "nonsense"])
    def test_an_unusable_url_is_named(self, url: str) -> None:
        with pytest.raises(CommandError, match="--url: "):
            run(url=url)

    def test_an_unknown_exact_ttl_is_refused(self) -> None:
        with pytest.raises(CommandError, match="exact-ttl"):
            run("--exact-ttl", "maybe")

    def test_a_missing_server_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Missing:
            def start(self) -> None:
                raise ServerNotFound("Install one.")

        monkeypatch.setattr(command, "EmbeddedServer", Missing)
        with pytest.raises(CommandError, match=r"Install one\. Or give --url\."):
            run(url=None)
