"""The extender's real server on loopback, with bodies recorded from a real kube-scheduler to ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from scheduler.extender.http import Limits
from scheduler.extender.server import Server, TlsFiles
from scheduler.extender.verbs import Verbs

RECORDED = Path(__file__).parents[1] / "fixtures" / "extender"
NAMES = [f"node-{number:05}" for number in range(40)]


def recorded(verb: str, tag: str = "cache") -> bytes:
    """The body of a call that a kube-scheduler 1.36 made."""
    return (RECORDED / f"{verb}_{tag}_1.request.json").read_bytes()


def pod(uid: str = "uid", cpu: str = "1", **spec: Any) -> dict[str, Any]:
    """A small pod as JSON."""
    container = {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "128Mi"}}}
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": uid},
        "spec": {"containers": [container], **spec},
    }


def body(**members: Any) -> bytes:
    """A JSON body."""
    return json.dumps(members).encode()


def asking(names: list[str] | None, **of_pod: Any) -> bytes:
    """A filter or prioritize body."""
    return body(Pod=pod(**of_pod), Nodes=None, NodeNames=names)


def request(verb: str, content: bytes, *headers: str, method: str = "POST") -> bytes:
    """A request as Go's client writes it."""
    lines = [f"{method} /{verb} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: Go-http-client/1.1"]
    if method == "POST":
        lines += [f"Content-Length: {len(content)}", "Content-Type: application/json"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + content


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition; the scenario's own time limit ends it."""
    while not holds():  # noqa: ASYNC110  # the server announces nothing of the kind
        await asyncio.sleep(0.01)


class Caller:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split(b" ")[1]), await self.reader.readexactly(length)

    async def call(
        self, verb: str, content: bytes = b"", *headers: str, method: str = "POST"
    ) -> tuple[int, Any]:
        """Send a request, return status and decoded JSON (or text)."""
        self.writer.write(request(verb, content, *headers, method=method))
        status, answer = await self.answer()
        return status, json.loads(answer) if answer[:1] in (b"{", b"[") else answer.decode()

    async def is_closed(self, seconds: float = 20) -> bool:
        """Whether the server hangs up within that time; what it still says is dropped."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await asyncio.wait_for(self.reader.read(), seconds)
        return True

    def close(self) -> None:
        """Cut off."""
        self.writer.transport.abort()


class Running:
    """A server that runs, and its cluster."""

    def __init__(self, server: Server, cluster: EmbeddedCluster, host: str, port: int) -> None:
        self.server, self.cluster, self.host, self.port = server, cluster, host, port
        self._callers: list[Caller] = []

    async def caller(self, context: ssl.SSLContext | None = None) -> Caller:
        """A new connection."""
        name = "localhost" if context else None
        opened = await asyncio.open_connection(self.host, self.port, ssl=context, server_hostname=name)
        self._callers.append(Caller(*opened))
        return self._callers[-1]

    async def hang_up(self) -> None:
        """Close the connections of all callers."""
        for caller in self._callers:
            caller.close()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(
    limits: Limits | None = None, tls: TlsFiles | None = None, cluster: EmbeddedCluster | None = None
) -> AsyncIterator[Running]:
    """A server over 40 nodes unless another cluster is given; drained at the end, and nothing of it left."""
    chosen = cluster or EmbeddedCluster(plain_nodes(NAMES))
    server = Server(Verbs(chosen).routes(), tls, limits)
    host, port = await server.start("127.0.0.1", 0)
    found = Running(server, chosen, host, port)
    try:
        yield found
    finally:
        await found.hang_up()
        await server.drain(2)
        assert not server.connections
        assert not server.handshakes


def against(
    scenario: Callable[[Running], Awaitable[None]],
    limits: Limits | None = None,
    tls: TlsFiles | None = None,
    cluster: EmbeddedCluster | None = None,
) -> None:
    """Run a scenario against a server of its own, on the event loop that production uses."""

    async def whole() -> None:
        async with running(limits, tls, cluster) as server:
            await asyncio.wait_for(scenario(server), 60)

    uvloop.run(whole())


@contextlib.contextmanager
def in_thread(cluster: EmbeddedCluster, tls: TlsFiles | None = None, candidates: int = 1) -> Iterator[int]:
    """A server with an event loop and a thread of its own, for callers that block; its port."""
    started: list[int] = []
    ready, stopping = threading.Event(), threading.Event()

    async def serve() -> None:
        server = Server(Verbs(cluster, candidates).routes(), tls)
        started.append((await server.start("127.0.0.1", 0))[1])
        ready.set()
        await asyncio.to_thread(stopping.wait)
        await server.drain(2)

    thread = threading.Thread(target=lambda: uvloop.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield started[0]
    finally:
        stopping.set()
        thread.join(20)
    assert not thread.is_alive()
