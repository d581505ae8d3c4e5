"""An HTTP server that answers exactly the bytes a test wants, when it wants, for corner cases no real server shows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from kubernetes.client import Configuration

from scheduler.kube.connection import Connection
from scheduler.kube.credentials import Credentials

Conversation = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def request(self) -> tuple[str, bytes]:
        """The next request: its first line and its body."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        return head.splitlines()[0], await self._reader.readexactly(length)

    async def send(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(pause_s)

    def close(self) -> None:
        self._writer.close()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Scripted:
    """How many connections came, and a client for them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.connections = 0


@asynccontextmanager
async def serving(*conversations: Conversation, size: int = 4) -> AsyncIterator[Scripted]:
    """Each connection gets the next conversation, the last one again and again."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = min(found.connections, len(conversations) - 1)
        found.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await conversations[number](Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    credentials = Credentials(lambda: Configuration(host=f"http://127.0.0.1:{port}"))
    found = Scripted(Connection(credentials, random.Random(1), size=size))  # noqa: S311  jitter
    try:
        yield found
    finally:
        found.connection.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
