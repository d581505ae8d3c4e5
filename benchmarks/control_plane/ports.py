"""Ports of loopback, and waiting for what will happen."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class ControlPlaneBroken(Exception):
    """A process of the control plane did not do what it always does; the message holds the end of its log."""


def wait_until(what: str, look: Callable[[], T | None], seconds: float = 30, pause: float = 0.05) -> T:
    """What `look` finds; raises ControlPlaneBroken with the name of what never came."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise ControlPlaneBroken(f"{what}: not within {seconds} s")
        time.sleep(pause)
    return found


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def is_open(port: int) -> bool:
    """Whether somebody listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
