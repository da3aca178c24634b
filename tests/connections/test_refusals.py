"""What a server says that cannot answer now."""

import pytest
import redis

from redis_optimizer.connections import is_busy
from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.servers import busy


def test_a_script_that_runs_makes_a_server_busy() -> None:
    with EmbeddedServer() as own, redis.Redis(HOST, own.port) as client:
        client.ping()
        with busy(own):
            for transaction in (False, True):
                pipeline = client.pipeline(transaction=transaction).get("BUSY").pttl("k")
                with pytest.raises(redis.ResponseError) as caught:
                    pipeline.execute()
                assert is_busy(caught.value), caught.value
            with pytest.raises(redis.ResponseError) as caught:
                client.get("k")
            assert is_busy(caught.value)


def test_other_refusals_do_not() -> None:
    with EmbeddedServer() as own, redis.Redis(HOST, own.port) as client:
        client.set("BUSY ", 1)
        for refused in (
            lambda: client.lpush("BUSY ", 1),
            lambda: client.pipeline(transaction=False).lpush("BUSY ", 1).execute(),
            lambda: client.execute_command("BUSY", "BUSY "),
        ):
            with pytest.raises(redis.ResponseError) as caught:
                refused()
            assert not is_busy(caught.value), caught.value
