"""Networks for a flood of packets, all inside of the network namespace that the benchmark has made for itself."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

HOST = "10.98.0.1"
TARGET = f"{HOST}:9"  # "discard": nobody listens, every packet costs the receiving kernel all of its way
TAP = ("--net", "tap", "--tap", "flood0", "--address", "10.98.0.2/24", "--gateway", HOST)


@contextmanager
def joined() -> Iterator[str]:
    """The file of a network namespace that a pair of interfaces joins to ours, with addresses as a tap would have."""
    with subprocess.Popen(["unshare", "--net", "sleep", "600"]) as keeper:
        try:
            _apart(keeper.pid)
            _ip("link", "add", "flood1", "type", "veth", "peer", "name", "eth0", "netns", str(keeper.pid))
            _ip("address", "add", f"{HOST}/24", "dev", "flood1")
            _ip("link", "set", "flood1", "up")
            inside = ["nsenter", "--net", "--target", str(keeper.pid)]
            _ip("address", "add", "10.98.0.2/24", "dev", "eth0", within=inside)
            _ip("link", "set", "eth0", "up", within=inside)
            yield f"/proc/{keeper.pid}/ns/net"
        finally:
            keeper.kill()  # with the namespace go both interfaces


def _apart(pid: int) -> None:
    """Wait until `unshare` has become `sleep`, which has the namespace."""
    for _ in range(1000):
        with open(f"/proc/{pid}/comm") as name:  # noqa: PTH123 - a file of proc
            if name.read().strip() == "sleep":
                return
        time.sleep(0.005)
    raise TimeoutError("unshare does not begin")


def _ip(*words: str, within: list[str] | None = None) -> None:
    subprocess.run([*(within or ()), "ip", *words], check=True)
