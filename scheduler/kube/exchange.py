"""One HTTP/1.1 connection: a request goes out, its answer is taken apart as the bytes come in. Used by `connection`.

httptools (llhttp) parses, so chunks, split packets and junk are its business; a junk answer ends the connection.
Times are those of the event loop, in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

import httptools
import msgspec

from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.framing import LineSplitter, Splitter, TooLong

LARGEST_ANSWER: Final = 1 << 30  # bytes; a list page is a few MB
SWITCHING: Final = 101
OK: Final = 200
OnEvent = Callable[[bytes], None]


class Answer(msgspec.Struct, frozen=True):
    """HTTP status and body; `retry_after` in seconds where the server asks for patience, else 0."""

    status: int
    body: bytes
    retry_after: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the server did what was asked."""
        return self.status < 300


class Exchange(asyncio.Protocol):
    """One connection, one request at a time. `usable` says whether another one may follow."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._on_event: OnEvent | None = None
        self._splitter: Splitter = LineSplitter()
        self._silence_s = 0.0
        self._heard = self.idle_since = loop.time()
        self._reset()

    @property
    def usable(self) -> bool:
        """Whether the connection stands and waits for a request."""
        return self._transport is not None and self._waiter is None and not self._transport.is_closing()

    async def ask(self, request: bytes, deadline_s: float) -> Answer:
        """Send `request` and wait for the whole answer.

        Raises:
            ApiUnavailable: cut off, too late, or no HTTP.
        """
        waiter = self._send(request)
        self._timer = self._loop.call_later(deadline_s, self._fail, f"no answer within {deadline_s:.1f} s")
        return await self._finish(waiter)

    async def follow(self, request: bytes, on_event: OnEvent, splitter: Splitter, silence_s: float) -> Answer:
        """Send `request`; of a good answer each event goes to `on_event` as it comes, and the body stays empty.

        Raises:
            ApiUnavailable: cut off, or nothing was heard for `silence_s`: a half-open connection never ends itself.
        """
        self._on_event, self._splitter, self._silence_s = on_event, splitter, silence_s
        self._heard = self._loop.time()
        waiter = self._send(request)
        self._timer = self._loop.call_later(silence_s, self._listen)
        return await self._finish(waiter)

    def close(self) -> None:
        """Drop the connection at once; whoever waits on it learns so."""
        self._fail("closed")

    def _send(self, request: bytes) -> asyncio.Future[Answer]:
        if self._transport is None or self._transport.is_closing():
            raise ApiUnavailable("the connection was closed while idle", unsent=True)
        self._reset()
        self._waiter = self._loop.create_future()
        self._transport.write(request)
        return self._waiter

    async def _finish(self, waiter: asyncio.Future[Answer]) -> Answer:
        try:
            return await waiter
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if (
                self._waiter is not None
            ):  # the caller was cancelled: the answer would be taken for the next one's
                self.close()

    def _listen(self) -> None:
        quiet = self._loop.time() - self._heard
        if quiet >= self._silence_s:
            self._fail(f"nothing was heard for {quiet:.1f} s")
        else:
            self._timer = self._loop.call_later(self._silence_s - quiet, self._listen)

    def _reset(self) -> None:
        self._status, self._retry_after, self._begun = 0, 0.0, False
        self._parts: list[bytes] = []
        self._size = 0

    def _fail(self, why: str, cause: BaseException | None = None) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            error = cause if cause is not None else ApiUnavailable(why, unsent=False)
            waiter.set_exception(error)

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102  asyncio's own names
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class inherits from none

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._fail(
            f"the connection was lost{f': {exc}' if exc else ''}{'' if self._begun else ' before any answer'}"
        )

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._heard = self._loop.time()
        if self._waiter is None:  # nobody asked; the server says goodbye, or is no HTTP server
            self._fail("unasked data")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"the answer is no HTTP: {error}")

    # what the parser calls

    def on_message_begin(self) -> None:  # noqa: D102
        self._begun = True

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        if len(name) == len(b"retry-after") and name.lower() == b"retry-after" and value.isdigit():
            self._retry_after = float(value[:6])

    def on_headers_complete(self) -> None:  # noqa: D102
        self._status = self._parser.get_status_code()
        if self._status == SWITCHING:
            self._fail("the answer is no HTTP: it switches protocols")
        elif self._status > OK:
            self._on_event = None

    def on_body(self, body: bytes) -> None:  # noqa: D102
        if self._on_event is not None:
            if self._waiter is not None:  # else it has failed, and the parser does not know yet
                self._hand_over(body, self._on_event)
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > LARGEST_ANSWER:
            self._fail(f"the answer is larger than {LARGEST_ANSWER} bytes")

    def on_message_complete(self) -> None:  # noqa: D102
        if self._status < OK:  # 1xx only announces the answer
            self._reset()
            return
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        waiter.set_result(Answer(self._status, b"" if self._on_event else body, self._retry_after))
        self.idle_since = self._heard
        if not self._parser.should_keep_alive():
            self._fail("the server closes")

    def _hand_over(self, body: bytes, on_event: OnEvent) -> None:
        try:
            for event in self._splitter.feed(body):
                on_event(event)
        except TooLong as error:
            self._fail(str(error))
        except Exception as error:
            self._fail("", error)
