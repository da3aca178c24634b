"""Jobs from gunicorn: `python -m tests.benchmarks.gunicorn_jobs [--rate 200] [--seconds 30]`.

Two processes of four threads serve requests that each send one job, which counts a page view: on
plain Celery first, then in batches with bulk. Printed is what was sent for one job, from the first
request until the last job had run.
"""

import argparse
import http.client
import itertools
import threading
import time
from collections import Counter

from redis_optimizer.management.benchmark.jobs.site import OURS, PLAIN, PRODUCER, WORKER, Site
from redis_optimizer.management.benchmark.jobs.traffic import make_sent
from tests.benchmarks.serving import HOST, serving

APPLICATION = "tests.benchmarks.web:make_application()"
CLIENTS = 8  # keep-alive connections, each with a thread
WARM_UP = 200  # requests that are not counted: every thread and child has connected then
START = 30.0  # seconds


def main() -> None:
    """Run both sides and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=200, help="requests per second (200)")
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    for side in (PLAIN, OURS):
        site = Site(side, batch_size=100, concurrency=2)
        with (
            site,
            site.worker() as worker,
            serving(APPLICATION, site.order_of(PRODUCER).environment()) as (port, _),
        ):
            send(port, range(WARM_UP), options.rate)
            site.wait_ran(WARM_UP, worker, lambda done: None)
            site.ledger.clear()
            jobs = round(options.rate * options.seconds)
            with site.wire() as wire:
                took = send(port, range(jobs), options.rate)
                runs = site.wait_ran(jobs, worker, lambda done: None)
                counts = wire.counts()
                connections = site.connections(PRODUCER), site.connections(WORKER)
        sent = make_sent(counts, jobs, Counter(), runs)
        print(
            f"{side.name}: {jobs:,} requests in {took:.1f} s; {sent.per_job:.3f} commands and"
            f" {sent.round_trips / jobs:.3f} round trips per job; {sent.missing} lost,"
            f" {sent.twice} run twice; {connections[0]} connections of the web processes,"
            f" {connections[1]} of the worker"
        )
        for name, commands in (("web", sent.producer), ("worker", sent.worker)):
            print(f"  {name}: {', '.join(f'{key} {n:,}' for key, n in commands.most_common())}")


def send(port: int, numbers: range, rate: float) -> float:
    """Send a request for each number, evenly; return how many seconds it took.

    Raises:
        RuntimeError: an answer was not 200.
    """
    started = time.monotonic()
    places, wrong = itertools.count(), Counter()

    def ask() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=START)
        while (place := next(places)) < len(numbers):
            time.sleep(max(0.0, started + place / rate - time.monotonic()))
            connection.request("GET", f"/{numbers[place]}/")
            response = connection.getresponse()
            response.read()
            wrong[response.status] += response.status != 200
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong.total():
        raise RuntimeError(f"The site answered {+wrong}.")
    return time.monotonic() - started


if __name__ == "__main__":
    main()
