"""Requests and answers of the server as values, and the answers to what never reaches a handler. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"


class Request(msgspec.Struct, gc=False):
    """One request; `path` is without the query, `body` complete."""

    method: str
    path: str
    query: str
    body: bytes
    keep_alive: bool = True


class Response(msgspec.Struct, frozen=True, gc=False):
    """One answer. `headers` are complete lines, each with its CRLF, beyond type and length."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: bytes = b""


Handler = Callable[[Request], Response | Awaitable[Response]]
Routes = Mapping[tuple[str, str], Handler]
"""(method, path) -> handler. A route for GET also answers HEAD."""


class Limits(msgspec.Struct, frozen=True):
    """What a connection may cost; seconds and bytes.

    A filter body of 15,000 names of 63 letters takes 1 MB. `answer_seconds` bounds a caller that does not read.
    """

    head_bytes: int = 16 << 10
    body_bytes: int = 4 << 20
    handshake_seconds: float = 5.0
    head_seconds: float = 5.0
    body_seconds: float = 10.0
    answer_seconds: float = 10.0
    idle_seconds: float = 120.0
    connections: int = 256
    handshakes: int = 64
    pipelined: int = 4


PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return b"HTTP/1.1 %d %s\r\n" % (status, PHRASES[status])


OK_JSON = status_line(200) + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def serialised(response: Response, *, close: bool, head_only: bool) -> bytes:
    """An answer as it goes over the wire; the usual one in one formatting step."""
    body = response.body
    if (
        response.status == 200
        and response.content_type is JSON
        and not (close or head_only or response.headers)
    ):
        return OK_JSON % len(body) + body
    head = b"%sContent-Type: %s\r\nContent-Length: %d\r\n%s%s\r\n" % (
        status_line(response.status),
        response.content_type,
        len(body),
        response.headers,
        b"Connection: close\r\n" if close else b"",
    )
    return head if head_only else head + body


class Fault(msgspec.Struct):
    """The body of every answer that is no 200."""

    error: str = msgspec.field(name="Error")


def refusal(status: int, why: str, headers: bytes = b"") -> Response:
    """An answer other than 200, with the reason as JSON."""
    return Response(msgspec.json.encode(Fault(why)), status, JSON, headers)


def route(routes: Routes, request: Request) -> Handler | Response:
    """The handler of a request, or the answer that there is none."""
    method = "GET" if request.method == "HEAD" else request.method
    handler = routes.get((method, request.path))
    if handler is not None:
        return handler
    allowed = sorted(found for found, path in routes if path == request.path)
    if not allowed:
        return refusal(404, "no such path")
    methods = [*allowed, "HEAD"] if "GET" in allowed else allowed
    return refusal(405, "method not allowed", b"Allow: %s\r\n" % ", ".join(methods).encode())
