"""One client for each cluster, made once, however many ask for it."""

import threading
from typing import Any

import pytest
import redis

from redis_optimizer.connections.cluster import Cluster, find_cluster
from redis_optimizer.connections.cluster_client import ClusterUnavailable
from redis_optimizer.embedded import HOST, free_port
from tests.servers import wait_until

PATIENT = 60.0  # seconds


class Queue:
    """A lock that counts those who have come to it."""

    def __init__(self) -> None:
        self.come = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.come += 1
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


def test_the_same_address_and_options_are_the_same_cluster() -> None:
    urls = [f"redis://{HOST}:{free_port()}"]
    one = find_cluster(urls, {"PASSWORD": "secret", "L1": {"MAX_AGE": 1}})
    assert find_cluster(list(urls), {"PASSWORD": "secret", "L1": {"MAX_AGE": 2}}) is one
    assert find_cluster(urls, {"PASSWORD": "other"}) is not one


def test_threads_that_wait_for_one_attempt_fail_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster: Any = Cluster([f"redis://{HOST}:{free_port()}"], {})
    cluster._lock = queue = Queue()
    go_on = threading.Event()
    attempts, errors = [], []

    def connect() -> None:
        attempts.append(1)
        assert go_on.wait(PATIENT)
        raise ClusterUnavailable("nobody is there")

    def ask() -> None:
        try:
            cluster.client()
        except redis.ConnectionError as error:
            errors.append(str(error))

    monkeypatch.setattr(cluster, "_connect", connect)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: queue.come == 4 and attempts, PATIENT)
    go_on.set()
    for thread in threads:
        thread.join(PATIENT)
    assert errors == ["nobody is there"] * 4
    assert len(attempts) == 1
    ask()
    assert len(attempts) == 2  # the next one tries again
