"""Bytes in, requests out: the parsing half of a connection, with every limit of size.

httptools (llhttp) parses; this counts, and says what is wrong before a body is read that nobody wants. No clock, no
socket. Called by `connection`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import httptools

from scheduler.extender.http import Limits, Request, Response, Routes, refusal

IDLE, HEAD, BODY, ANSWER, CLOSING = range(5)
"""What a connection waits for: a request, the rest of a header or body, an answer of ours, its end."""

JSON_TYPES = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")


class RequestReader:
    """Reads the requests of one connection.

    Args:
        routes: paths that take a POST, whose bodies have to be JSON with a length.
        limits: sizes.
        entered: told HEAD, BODY and ANSWER as the requests go by.

    Attributes:
        ready: complete requests in their order.
        refused: the answer to what cannot be read on; nothing after it counts.
    """

    def __init__(self, routes: Routes, limits: Limits, entered: Callable[[int], None]) -> None:
        self.ready: deque[Request] = deque()
        self.refused: Response | None = None
        self._routes, self._limits, self._entered = routes, limits, entered
        self._parser = httptools.HttpRequestParser(self)
        self._phase = IDLE
        self._moved = False
        self._unparsed = 0
        self._target = b""
        self._head = 0
        self._body: list[bytes] = []
        self._size = 0
        self._length = -1
        self._chunked = False
        self._type = b""
        self._encoded = False
        self._expects = False

    def feed(self, data: bytes) -> None:
        """Read on."""
        self._moved = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The wish for another protocol may be ignored; llhttp reads no further, so this request is the last.
            if self.ready:
                self.ready[-1].keep_alive = False
        except httptools.HttpParserError:
            self.refused = self.refused or refusal(400, "not HTTP/1.1")
        # Headers are handed over when they are complete; one that only grows shows as bytes without a callback.
        self._unparsed = 0 if self._moved else self._unparsed + len(data)
        if self._phase in (IDLE, HEAD):
            self._count(self._unparsed)

    def wants_go_on(self) -> bool:
        """Whether the caller holds its body back until it is told to go on (Expect: 100-continue); true once."""
        wants = self._expects and self._phase == BODY and not (self._size or self.refused or self.ready)
        if wants:
            self._expects = False
        return wants

    def _enter(self, phase: int) -> None:
        self._phase = phase
        self._entered(phase)

    def on_message_begin(self) -> None:
        """A request begins, possibly behind others."""
        self._target, self._body, self._size = b"", [], 0
        self._head, self._length, self._type = 0, -1, b""
        self._chunked = self._encoded = self._expects = False
        self._moved = True
        self._enter(HEAD)

    def on_url(self, url: bytes) -> None:
        """The target, possibly in pieces."""
        self._target += url
        self._moved = True
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; the few that matter are kept."""
        self._moved = True
        self._count(len(name) + len(value) + len(b": \r\n"))
        # By length first: most headers are none of these.
        match len(name):
            case 14 if name.lower() == b"content-length":
                self._length = int(value) if value.isdigit() else -1
            case 12 if name.lower() == b"content-type":
                self._type = value
            case 17 if name.lower() == b"transfer-encoding":
                self._chunked = True
            case 16 if name.lower() == b"content-encoding":
                self._encoded = value.lower() != b"identity"
            case 6 if name.lower() == b"expect":
                self._expects = True

    def on_headers_complete(self) -> None:
        """Decide whether the body is worth reading."""
        self._moved = True
        if self.refused is not None:
            return
        path = self._target.partition(b"?")[0].decode("latin-1")
        is_call = self._parser.get_method() == b"POST" and ("POST", path) in self._routes
        self.refused = self._unfit(is_call)
        self._enter(BODY)

    def _unfit(self, needs_body: bool) -> Response | None:
        if needs_body and self._length < 0 and not self._chunked:
            return refusal(411, "Content-Length is missing")
        if self._length > self._limits.body_bytes:
            return refusal(413, f"a body has at most {self._limits.body_bytes} bytes")
        if needs_body and (self._encoded or not (self._type in JSON_TYPES or is_json(self._type))):
            return refusal(415, "a body is application/json, not encoded")
        return None

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._size += len(body)
        if self._size > self._limits.body_bytes:
            self.refused = self.refused or refusal(413, f"a body has at most {self._limits.body_bytes} bytes")
        elif self.refused is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """A request is complete: it waits for its turn."""
        if self.refused is not None:
            return
        path, _, query = self._target.partition(b"?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self.ready.append(
            Request(
                self._parser.get_method().decode("latin-1"),
                path.decode("latin-1"),
                query.decode("latin-1"),
                body,
                self._parser.should_keep_alive(),
            )
        )
        self._body = []
        self._enter(ANSWER)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > self._limits.head_bytes:
            self.refused = self.refused or refusal(431, "header too large")


def is_json(content_type: bytes) -> bool:
    """Whether a media type is JSON, whatever its parameters and case."""
    return content_type.partition(b";")[0].strip().lower() == b"application/json"
