"""Many requests at once over persistent connections: thousands of nodes and pods are there within seconds.

HTTP/1.1 over TLS, one request at a time on each connection, no object models: a load generator that takes little of
the processor which it shares with what it loads.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, cast

import httptools

CONNECTIONS: Final = 16
JSON: Final = "application/json"


class Request(NamedTuple):
    """One request; the body is encoded already."""

    method: str
    path: str
    body: bytes = b""
    content_type: str = JSON


class Reply(NamedTuple):
    """Status and body of one answer."""

    status: int
    body: bytes


class _Exchange(asyncio.Protocol):
    """One connection. httptools calls the `on_` methods while it reads."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._done: asyncio.Future[Reply] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's TLS transport derives from no class of asyncio
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done and not self._done.done():
            self._done.set_exception(ConnectionResetError(str(exc)))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status, body = self._parser.get_status_code(), bytes(self._body)
        self._parser = httptools.HttpResponseParser(self)
        if self._done and not self._done.done():
            self._done.set_result(Reply(status, body))

    async def exchange(self, head: bytes, request: Request) -> Reply:
        self._body.clear()
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(
            b"%b %b HTTP/1.1\r\n%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (
                request.method.encode(),
                request.path.encode(),
                head,
                request.content_type.encode(),
                len(request.body),
                request.body,
            )
        )
        return await self._done


class Flood:
    """A user's connections to an API server."""

    def __init__(self, port: int, authority: Path, token: str, connections: int = CONNECTIONS) -> None:
        self._port, self._connections = port, connections
        self._context = ssl.create_default_context(cafile=str(authority))
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: {JSON}\r\n".encode()
        self._idle: asyncio.LifoQueue[_Exchange] = asyncio.LifoQueue()

    async def __aenter__(self) -> Flood:
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, exchange = await loop.create_connection(
                _Exchange, "127.0.0.1", self._port, ssl=self._context, server_hostname="127.0.0.1"
            )
            self._idle.put_nowait(exchange)
        return self

    async def __aexit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().transport.abort()

    async def send(self, request: Request) -> Reply:
        """The answer to one request; waits for a free connection."""
        connection = await self._idle.get()
        try:
            return await connection.exchange(self._head, request)
        finally:
            self._idle.put_nowait(connection)

    async def send_all(self, requests: Iterable[Request]) -> Sequence[Reply]:
        """The answers in the order of the requests."""
        return await asyncio.gather(*(self.send(request) for request in requests))


def flood(port: int, authority: Path, token: str, requests: Iterable[Request]) -> Sequence[Reply]:
    """Sends all from a loop of its own. Raises RuntimeError with the first answer that is no success."""

    async def run() -> Sequence[Reply]:
        async with Flood(port, authority, token) as connections:
            return await connections.send_all(requests)

    replies = asyncio.run(run())
    for reply in replies:
        if reply.status >= 300:
            raise RuntimeError(f"{reply.status}: {reply.body[:500].decode(errors='replace')}")
    return replies
