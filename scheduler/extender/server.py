"""The extender's HTTP server: sockets, TLS with client certificates, the sweep of slow callers, the drain.

It accepts connections itself, so that the ones still in their handshake are bounded too: an asyncio server shows a
connection only once TLS stands, and half-open ones would pile up unseen. Called by the serving loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import structlog

from scheduler.extender.connection import Connection
from scheduler.extender.errors import UnusableTls
from scheduler.extender.host import Caller
from scheduler.extender.http import Limits, Request, Response, Routes, refusal
from scheduler.extender.http2 import Http2Connection
from scheduler.extender.wire import STATUS

BACKLOG = 128
SWEEP_SECONDS = 1.0
OUT_OF_FILES_SECONDS = 0.2
Observer = Callable[[str, int, float], None]
"""Told (path, status, seconds) of every answer. A path without a route is told as "other"."""

log = structlog.get_logger(__name__)


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files: the server's chain and key, and the authority that signs callers' certificates."""

    certificate: Path
    key: Path
    client_ca: Path


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer, callers must show a certificate of the client authority; no session outlives a connection.

    Raises:
        UnusableTls: a file cannot be read, or certificate and key do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    # A resumed session would skip the check of the caller's certificate, and so its expiry.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key)
        context.load_verify_locations(files.client_ca)
    except (OSError, ssl.SSLError) as error:
        raise UnusableTls(f"{files.certificate}, {files.key}, {files.client_ca}: {error}") from error
    return context


class Arriving(asyncio.Protocol):
    """A connection until its handshake has chosen what it speaks."""

    def __init__(self, host: Server) -> None:
        self._host = host

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand over to who speaks it."""
        handshake = transport.get_extra_info("ssl_object")
        speaks_h2 = handshake is not None and handshake.selected_alpn_protocol() == "h2"
        chosen = Http2Connection(self._host) if speaks_h2 else Connection(self._host)
        cast(asyncio.Transport, transport).set_protocol(chosen)
        chosen.connection_made(transport)


class Server:
    """Serves `routes` on one address.

    Args:
        routes: the handlers.
        tls: the files of TLS; None serves plain HTTP, for health on loopback and for tests.
        limits: what callers may cost.
        observer: told of every answer.
    """

    def __init__(
        self,
        routes: Routes,
        tls: TlsFiles | None = None,
        limits: Limits | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.routes = routes
        self.limits = limits or Limits()
        self.draining = False
        self.connections: set[Caller] = set()
        self._departure = asyncio.Event()
        self.clock: Callable[[], float] = asyncio.get_running_loop().time
        self.handshakes: dict[asyncio.Task[None], None] = {}
        self._paths = {path for _, path in routes}
        self._files = tls
        self._context = tls_context(tls) if tls else None
        self._observer = observer
        self._listener: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; port 0 takes a free one. Returns the address. OSError if it cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._listener.setblocking(False)
        self._tasks = [asyncio.create_task(self._accept(self._listener)), asyncio.create_task(self._sweep())]
        bound = self._listener.getsockname()
        return str(bound[0]), int(bound[1])

    def renew_certificates(self) -> None:
        """Take the TLS files as they are now, for connections to come.

        Raises:
            UnusableTls: the files cannot be used; the ones in use stay.
        """
        if self._files is not None:
            self._context = tls_context(self._files)

    async def drain(self, seconds: float) -> None:
        """Take no more connections, finish what is under way, close; cut off what is left after `seconds`."""
        self.draining = True
        for task in self._tasks:
            task.cancel()
        if self._listener is not None:
            self._listener.close()
        for handshake in list(self.handshakes):
            handshake.cancel()
        for connection in list(self.connections):
            connection.retire()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._left_alone(), seconds)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.gather(*self._tasks, *self.handshakes, return_exceptions=True)

    async def _left_alone(self) -> None:
        while self.connections:
            self._departure.clear()
            await self._departure.wait()

    # --- connections ----------------------------------------------------------------------------------------

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("extender.accept_failed", error=str(error))
                await asyncio.sleep(OUT_OF_FILES_SECONDS)
                continue
            if len(self.connections) >= self.limits.connections:
                accepted.close()
                continue
            if len(self.handshakes) >= self.limits.handshakes:
                # The oldest one has had the longest time: in a flood of half-open ones that is an attacker's.
                oldest = next(iter(self.handshakes))
                self.handshakes.pop(oldest)
                oldest.cancel()
            task = asyncio.create_task(self._adopt(loop, accepted))
            self.handshakes[task] = None
            task.add_done_callback(lambda done: self.handshakes.pop(done, None))

    async def _adopt(self, loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> None:
        """Shake hands; whoever cannot is gone without an answer."""
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seconds = self.limits.handshake_seconds if self._context else None
        try:
            await loop.connect_accepted_socket(
                lambda: Arriving(self),
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except (OSError, ssl.SSLError) as error:
            log.info("extender.handshake_failed", error=type(error).__name__)
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise

    async def _sweep(self) -> None:
        """Once a second, end what has run out of time."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self.clock()
            for connection in [found for found in self.connections if found.is_late(now)]:
                connection.expire()

    # --- called by connections ------------------------------------------------------------------------------

    def left(self, connection: Caller) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self._departure.set()

    def answer_to_fault(self, path: str, fault: Exception) -> Response:
        """The status of an error that is known, else a 500 whose cause is logged and not told."""
        status = STATUS.get(type(fault))
        if status is not None:
            return refusal(status, str(fault))
        # As text: renderers that are handed the exception print local variables, and with them bodies.
        log.error("extender.handler_failed", path=path, traceback="".join(traceback.format_exception(fault)))
        return refusal(500, "internal error, see the log")

    def observe(self, request: Request, status: int, began: float) -> None:
        """Tell the observer."""
        if self._observer is not None:
            path = request.path if request.path in self._paths else "other"
            with contextlib.suppress(ValueError):
                self._observer(path, status, self.clock() - began)
