"""A bounded pool of persistent connections to one API server, over TCP or TLS. Used by `connection`."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Final

from scheduler.kube.credentials import Credentials
from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.exchange import Exchange

CONNECT_S: Final = 5.0
IDLE_S: Final = 45.0  # the API server closes what idles for 90 s


class Pool:
    """At most `size` connections at work; who comes later waits in line. `connect` makes one outside of the count."""

    def __init__(self, credentials: Credentials, size: int) -> None:
        self._credentials = credentials
        self._free = size
        self._idle: list[Exchange] = []
        self._open: set[Exchange] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def close(self) -> None:
        """Drop every connection; requests under way end with ApiUnavailable."""
        self._closed = True
        for exchange in [*self._open]:
            self.drop(exchange)
        self._idle.clear()

    async def take(self, limit_s: float) -> Exchange:
        """A connection that waits for a request: the one used last, else a new one.

        Raises:
            ApiUnavailable: none was to be had within `limit_s`.
        """
        end = asyncio.get_running_loop().time() + limit_s
        if self._free > 0:
            self._free -= 1
        else:
            await self._queue(limit_s)
        now = asyncio.get_running_loop().time()
        while self._idle:
            exchange = self._idle.pop()
            if exchange.usable and now - exchange.idle_since < IDLE_S:
                return exchange
            self.drop(exchange)
        try:
            return await self.connect(end - now)
        except BaseException:
            self._release()
            raise

    def give_back(self, exchange: Exchange) -> None:
        """Return what `take` gave."""
        if exchange.usable and not self._closed:
            self._idle.append(exchange)
        else:
            self.drop(exchange)
        self._release()

    async def connect(self, limit_s: float = CONNECT_S) -> Exchange:
        """A new connection; whoever asked for it drops it.

        Raises:
            ApiUnavailable: no connection, within CONNECT_S at the most.
        """
        loop = asyncio.get_running_loop()
        found = self._credentials
        limit_s = min(limit_s, CONNECT_S)
        try:
            async with asyncio.timeout(limit_s):
                transport, exchange = await loop.create_connection(
                    lambda: Exchange(loop),
                    found.host,
                    found.port,
                    ssl=found.context,
                    server_hostname=found.server_name if found.context else None,
                )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            why = str(error) or f"no connection within {limit_s:.1f} s"
            raise ApiUnavailable(f"{found.host}:{found.port}: {why}", unsent=True) from error
        _detect_death(transport.get_extra_info("socket"))
        self._open.add(exchange)
        if self._closed:
            self.drop(exchange)
        return exchange

    def drop(self, exchange: Exchange) -> None:
        """End a connection."""
        self._open.discard(exchange)
        exchange.close()

    async def _queue(self, limit_s: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(limit_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._release()  # the turn came too late: it is the next one's
            if isinstance(error, TimeoutError):
                raise ApiUnavailable(f"no free connection within {limit_s:.1f} s", unsent=True) from error
            raise

    def _release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the place goes from hand to hand, past whoever comes just now
                return
        self._free += 1


def _detect_death(sock: socket.socket | None) -> None:
    """A peer that vanished without a word is noticed by the kernel in half a minute."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 10),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 25_000),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
