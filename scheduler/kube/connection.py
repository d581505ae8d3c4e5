"""Requests to one API server over a bounded pool of persistent connections: bytes in, bytes out, no object models.

A request is repeated only where that cannot do anything twice: it was never sent, or the caller says that it is
`repeatable` (reads, and writes under a precondition), or the server says 429, which it does before it looks at it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random as randoms
import re
from types import TracebackType
from typing import Final

from scheduler.kube.credentials import Credentials
from scheduler.kube.errors import ApiUnavailable, CredentialsUnusable
from scheduler.kube.exchange import Answer, OnEvent
from scheduler.kube.framing import LineSplitter, Splitter
from scheduler.kube.pool import Pool

JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
REFRESH_S: Final = 30.0  # a service account token is renewed long before it expires
UNAUTHORIZED: Final = 401
TOO_MANY: Final = 429
UNAVAILABLE: Final = 503
ATTEMPTS: Final = 4
_PATH = re.compile(r"/[!-~]*")


class Connection:
    """One API server, one identity. Belongs to the event loop in which it is first used."""

    def __init__(self, credentials: Credentials, random: randoms.Random, *, size: int = 16) -> None:
        self._credentials = credentials
        self._random = random
        self._pool = Pool(credentials, size)
        self._refreshed = 0.0
        self._refreshing: asyncio.Future[None] | None = None
        self._heads: dict[tuple[str, str, str], tuple[bytes, bytes]] = {}

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop every connection; requests under way end with ApiUnavailable."""
        self._pool.close()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = JSON,
        accept: str = JSON,
        *,
        deadline_s: float = 30.0,
        repeatable: bool | None = None,
        patient: bool = True,
    ) -> Answer:
        """One request and its answer, whatever its status.

        Args:
            method: GET, POST, PATCH, PUT or DELETE.
            path: with its query, percent-encoded.
            body: what is sent.
            content_type: of `body`.
            accept: what the answer may be.
            deadline_s: for everything: the wait for a free connection, repetitions and the server's Retry-After.
            repeatable: whether sending it twice is as good as once; GET and PUT are, unless said otherwise.
            patient: wait and repeat on 429 and 503 (False where these words mean something else, as for evictions).

        Raises:
            ApiUnavailable: no answer came in time.
        """
        repeatable = method in ("GET", "PUT") if repeatable is None else repeatable
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                answer = await self._ask(method, path, body, content_type, accept, end - loop.time())
            except ApiUnavailable as error:
                if last or not (repeatable or error.unsent) or loop.time() >= end:
                    raise
                await asyncio.sleep(min(self._backoff(attempt), max(0.0, end - loop.time())))
                continue
            wait = self._wait(answer, attempt, repeatable=repeatable, patient=patient)
            if wait is None or last or loop.time() + wait >= end:
                return answer
            await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    async def stream(
        self,
        path: str,
        on_event: OnEvent,
        *,
        accept: str = JSON,
        splitter: Splitter | None = None,
        silence_s: float = 150.0,
    ) -> Answer:
        """Read a watch event by event until the server ends it; the body of a good answer is empty then.

        `on_event` is called in the event loop, must not block, and its exception ends the stream and comes out here.
        Without a `splitter` an event is a line. A watch with bookmarks says something every minute, so more
        silence than `silence_s` is a dead connection.

        Raises:
            ApiUnavailable: the connection was lost, or went silent.
        """
        await self._renew()
        exchange = await self._pool.connect()
        try:
            request = self._render("GET", path, b"", JSON, accept)
            answer = await exchange.follow(request, on_event, splitter or LineSplitter(), silence_s)
        finally:
            self._pool.drop(exchange)
        if answer.status == UNAUTHORIZED:
            await self._renew(everything=True)
        return answer

    async def _ask(
        self, method: str, path: str, body: bytes, content_type: str, accept: str, left_s: float
    ) -> Answer:
        end = asyncio.get_running_loop().time() + left_s
        await self._renew()
        exchange = await self._pool.take(left_s)
        try:
            message = self._render(method, path, body, content_type, accept)
            answer = await exchange.ask(message, max(0.0, end - asyncio.get_running_loop().time()))
        finally:
            self._pool.give_back(exchange)
        if answer.status == UNAUTHORIZED:
            await self._renew(everything=True)
        return answer

    def _wait(self, answer: Answer, attempt: int, *, repeatable: bool, patient: bool) -> float | None:
        if answer.status == UNAUTHORIZED and attempt == 1:
            return 0.0  # refused before it was looked at; the credentials have been read again
        if not patient or answer.status not in (TOO_MANY, UNAVAILABLE):
            return None
        if answer.status == UNAVAILABLE and not repeatable:
            return None
        return max(answer.retry_after * self._random.uniform(1.0, 1.25), self._backoff(attempt))

    def _backoff(self, attempt: int) -> float:
        return self._random.uniform(0.5, 1.0) * 0.05 * 4.0 ** (attempt - 1)

    async def _renew(self, *, everything: bool = False) -> None:
        """Read tokens and certificates again when it is time; one at a time, in a thread, as a plugin may take long."""
        loop = asyncio.get_running_loop()
        if self._refreshing is None:
            if not everything and loop.time() < self._refreshed + REFRESH_S:
                return
            if everything and loop.time() < self._refreshed + 1.0:
                return  # just done; a server that refuses good credentials must not make us run plugins for ever
            first = not self._refreshed and not everything
            self._refreshed = loop.time()
            if first:
                return
            work = self._credentials.reload if everything else self._credentials.refresh
            self._refreshing = asyncio.ensure_future(asyncio.to_thread(work))
            self._refreshing.add_done_callback(self._renewed)
        if everything:
            with contextlib.suppress(
                CredentialsUnusable
            ):  # then the old ones are tried, and the server says no
                await asyncio.shield(self._refreshing)

    def _renewed(self, done: asyncio.Future[None]) -> None:
        self._refreshing = None
        self._heads.clear()
        if not done.cancelled():
            done.exception()  # seen: the server's 401 tells of it

    def _render(self, method: str, path: str, body: bytes, content_type: str, accept: str) -> bytes:
        if not _PATH.fullmatch(path):
            raise ValueError(f"not a path of a request: {path!r}")
        key = (method, content_type, accept)
        parts = self._heads.get(key)
        if parts is None:
            parts = self._heads[key] = self._head(method, content_type, accept)
        return b"%b%b%b%d\r\n\r\n%b" % (parts[0], path.encode(), parts[1], len(body), body)

    def _head(self, method: str, content_type: str, accept: str) -> tuple[bytes, bytes]:
        found = self._credentials
        authorization = f"Authorization: {found.authorization}\r\n" if found.authorization else ""
        rest = (
            f" HTTP/1.1\r\nHost: {found.address.netloc}\r\n{authorization}User-Agent: bulkhead\r\n"
            f"Accept: {accept}\r\nContent-Type: {content_type}\r\nContent-Length: "
        )
        return f"{method} {found.address.path.rstrip('/')}".encode(), rest.encode()
