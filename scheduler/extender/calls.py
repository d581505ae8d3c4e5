"""From a request to its answer: the handler is asked, and whatever it raises is an answer too."""

from __future__ import annotations

from collections.abc import Awaitable

from scheduler.extender.host import Host
from scheduler.extender.http import Handler, Request, Response, refusal, route
from scheduler.extender.reading import is_json


class Call:
    """One request of HTTP/2 that is not whole yet."""

    __slots__ = ("body", "headers", "since", "spent")

    def __init__(self, headers: dict[bytes, bytes], since: float) -> None:
        self.headers, self.since = headers, since
        self.body = bytearray()
        self.spent = 0

    def request(self) -> Request:
        """The request, once it is whole."""
        path, _, query = self.headers.get(b":path", b"").decode("latin-1").partition("?")
        return Request(self.headers[b":method"].decode("latin-1"), path, query, bytes(self.body))

    def begin(self, host: Host, request: Request) -> Response | Awaitable[Response]:
        """Its answer, or what there is to wait for; refused where nobody takes such a call or such a body."""
        handler = route(host.routes, request)
        if isinstance(handler, Response):
            return handler
        if request.method == "POST" and not self._is_plain_json():
            return refusal(415, "a body is application/json, not encoded")
        return ask(host, handler, request)

    def _is_plain_json(self) -> bool:
        encoded = self.headers.get(b"content-encoding", b"identity").lower() != b"identity"
        return not encoded and is_json(self.headers.get(b"content-type", b""))


def ask(host: Host, handler: Handler, request: Request) -> Response | Awaitable[Response]:
    """What a handler answers, or what there is to wait for."""
    try:
        return handler(request)
    except Exception as fault:
        return host.answer_to_fault(request.path, fault)


async def awaited(host: Host, request: Request, answer: Awaitable[Response]) -> Response:
    """What a handler answers that had to wait."""
    try:
        return await answer
    except Exception as fault:
        return host.answer_to_fault(request.path, fault)
