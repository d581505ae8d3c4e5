"""Every implementation of `Store`, on the real thing, for the tests that all of them must pass."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis

from scheduler.store.opening import open_store
from scheduler.store.protocol import Store

Open = Callable[[], Store]


class RedisServer:
    """A redis-server of its own: free loopback port, own directory. Killed and started again as often as wished."""

    def __init__(self, directory: Path, *settings: str, program: str = "redis-server") -> None:
        found = shutil.which(program)
        if found is None:
            pytest.skip(f"{program} is not installed (tests/debian-packages.txt)")
        self.directory, self.program, self.settings = directory, found, settings
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Up and ready to answer."""
        given = " ".join(self.settings).split()
        fixed = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.directory),
            "--save",
            "",
            *given,
        ]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen([self.program, *fixed], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def answers(self) -> bool:
        with closing(self.client()) as client:
            try:
                return bool(client.ping())
            except redis.exceptions.AuthenticationError:
                return True
            except (redis.ConnectionError, redis.TimeoutError):
                return False

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, protocol=2)

    def kill(self) -> None:
        """As a power cut of the process: nothing is told to it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis_server(directory: Path, *settings: str) -> Iterator[RedisServer]:
    """Does not outlive the block."""
    server = RedisServer(directory, *settings)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def opener(address: str) -> Iterator[Open]:
    """Every call opens the same ledger once more; all are closed at the end."""
    opened: list[Store] = []

    def another() -> Store:
        opened.append(open_store(address))
        return opened[-1]

    yield another
    for store in opened:
        store.close()


@contextmanager
def sqlite_address(directory: Path) -> Iterator[str]:
    """A file that is not there yet."""
    yield f"sqlite:{directory / 'ledger.db'}"


@contextmanager
def redis_address(directory: Path) -> Iterator[str]:
    """A server with nothing in it, that loses nothing."""
    with redis_server(directory / "redis", "--appendonly yes --appendfsync always") as server:
        yield server.address


ADDRESSES = {"sqlite": sqlite_address, "redis": redis_address}
KINDS = [pytest.param("sqlite"), pytest.param("redis", marks=pytest.mark.real)]
