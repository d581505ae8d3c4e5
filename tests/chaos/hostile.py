"""Callers that mean no good, in threads, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import random as randoms
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Final

from tests.chaos.world import World

JUNK: Final = 2_000_000
DEEP: Final = 100_000
HEAD: Final = (
    "POST /{verb} HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
)
VERBS: Final = ("filter", "prioritize", "preempt", "bind")

Attack = Callable[[socket.socket, randoms.Random, threading.Event], None]


@contextlib.contextmanager
def besiege(world: World) -> Iterator[None]:
    """Every replica is called like that while the block runs; each caller comes back as soon as it was thrown out."""
    stop = threading.Event()
    context = world.authority.context(world.caller)
    threads = [
        threading.Thread(
            target=_attack, args=(replica.port, attack, context if inside else None, stop, number)
        )
        for replica in world.replicas
        for number, (attack, inside) in enumerate(ATTACKS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(40)
    assert not any(thread.is_alive() for thread in threads)


def _attack(
    port: int, attack: Attack, context: ssl.SSLContext | None, stop: threading.Event, seed: int
) -> None:
    random = randoms.Random(seed)  # noqa: S311
    while not stop.is_set():
        with contextlib.suppress(OSError):
            sock = socket.create_connection(("127.0.0.1", port), timeout=5)
            with sock, context.wrap_socket(sock, server_hostname="localhost") if context else sock as one:
                attack(one, random, stop)
        stop.wait(0.05)


def half_open(one: socket.socket, random: randoms.Random, stop: threading.Event) -> None:
    """Connects, and says nothing more."""
    stop.wait(8)


def slow_head(one: socket.socket, random: randoms.Random, stop: threading.Event) -> None:
    """A byte of the header now and then."""
    for byte in HEAD.format(verb="bind", size=10).encode():
        one.sendall(bytes([byte]))
        if stop.wait(0.3):
            return


def slow_body(one: socket.socket, random: randoms.Random, stop: threading.Event) -> None:
    """A large body is promised, and comes a byte at a time."""
    one.sendall(HEAD.format(verb="filter", size=JUNK).encode())
    while not stop.wait(0.3):
        one.sendall(b"{")


def deaf(one: socket.socket, random: randoms.Random, stop: threading.Event) -> None:
    """Asks and asks, and takes no answer."""
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(2_000):
        one.sendall(request)
    stop.wait(8)


def junk(one: socket.socket, random: randoms.Random, stop: threading.Event) -> None:
    """2 MB that are no JSON."""
    one.sendall(HEAD.format(verb=random.choice(VERBS), size=JUNK).encode() + random.randbytes(JUNK))
    one.recv(4096)


def deep(one: socket.socket, random: randoms.Random, stop: threading.Event) -> None:
    """JSON that is nested 100,000 times."""
    body = b'{"Pod":' + b'{"a":[' * DEEP + b"]}" * DEEP + b"}"
    one.sendall(HEAD.format(verb=random.choice(VERBS), size=len(body)).encode() + body)
    one.recv(4096)


def noise(one: socket.socket, random: randoms.Random, stop: threading.Event) -> None:
    """Bytes that are no HTTP and no TLS."""
    one.sendall(random.randbytes(4096))
    one.recv(4096)


ATTACKS: Final[tuple[tuple[Attack, bool], ...]] = (
    *((half_open, False) for _ in range(20)),
    *((half_open, True) for _ in range(5)),
    (slow_head, False), (slow_head, True), (slow_body, True), (slow_body, True),
    (deaf, True), (junk, False), (junk, True), (deep, True), (noise, False), (noise, True),
)  # fmt: skip
