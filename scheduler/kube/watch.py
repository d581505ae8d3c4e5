"""Keeps a sink true to one collection of the API server: list by pages, then watch from there, for ever.

A broken connection resumes at the last version that was seen. A version that the server has forgotten (410), and the
jittered resync, list again, and the sink replaces what it holds. Nothing between two watches is missed, since the
server replays it or says that it cannot.
"""

from __future__ import annotations

import asyncio
import random as randoms
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import quote

from scheduler.kube.connection import Connection
from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.exchange import Answer
from scheduler.kube.objects import Metadata
from scheduler.kube.readers import JUNK, ListMetadata, message_of, reader_of

GONE: Final = 410
PAGE: Final = 5000  # each page costs the server a count of what is left; 500 cost it twice as much in all
WATCH_S: Final = 300.0  # the server ends a watch after that; a new one costs a request
SILENCE_S: Final = 150.0  # bookmarks come every minute
RESYNC_S: Final = 3600.0
LONGEST_BACKOFF_S: Final = 15.0


class HasMetadata(Protocol):
    """Every API object."""

    @property
    def metadata(self) -> Metadata:
        """Name, uid and version."""
        ...


T = TypeVar("T", bound=HasMetadata)


class Sink(Protocol[T]):
    """Who is told. Called in the event loop; what it raises ends the reflector."""

    def replaced(self, objects: list[T]) -> None:
        """These are all that there are now; whatever else was known is gone."""
        ...

    def changed(self, obj: T) -> None:
        """A new object, or a new state of a known one; the same state may come twice."""
        ...

    def removed(self, obj: T) -> None:
        """Gone, or no longer selected; the last state. May come for an object never heard of."""
        ...


class Refused(Exception):
    """The server answers, but not with objects: by its HTTP status, or by an ERROR event within a watch."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"status {status}: {why[:500]}")
        self.status = status


class Reflector(Generic[T]):
    """One collection. `run` never returns; cancel it.

    Attributes:
        synced: set once the sink has been given everything.
        version: resourceVersion up to which the sink has been told.
        heard: when the server last said something, by `clock`; a bookmark at least comes every minute.
        lists: how many times everything was listed.
        last_error: why the latest interruption came; for people.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        type_: type[T],
        sink: Sink[T],
        clock: Callable[[], float],
        random: randoms.Random,
        *,
        field_selector: str = "",
        label_selector: str = "",
        page: int = PAGE,
        resync_s: float = RESYNC_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._connection, self._sink, self._clock, self._random = connection, sink, clock, random
        chosen = {"fieldSelector": field_selector, "labelSelector": label_selector}
        self._path = f"{path}?" + "".join(f"{k}={quote(v, safe='')}&" for k, v in chosen.items() if v)
        self._page, self._resync_s, self._silence_s = page, resync_s, silence_s
        self._reader = reader_of(type_)
        self._failures = 0
        self.synced = asyncio.Event()
        self.version = ""
        self.heard = 0.0
        self.lists = 0
        self.last_error = ""

    @property
    def junk(self) -> int:
        """Lines and items that did not decode and were left out."""
        return self._reader.junk

    @property
    def reached(self) -> int:
        """`version` as a number; API servers promise that those of one collection can be compared. -1: none yet."""
        return int(self.version) if self.version.isdecimal() else -1

    async def present(self) -> int:
        """The server's own version now, which its store's quorum confirms.

        Raises:
            ApiUnavailable: no answer.
            Refused: an answer without a version that is a number.
        """
        answer = await self._connection.request(
            "GET", f"{self._path}limit=1", accept=self._reader.accept, deadline_s=10.0
        )
        version = self._reader.page(answer.body)[0].resource_version if answer.ok else ""
        if not version.isdecimal():
            raise Refused(answer.status, message_of(answer.body))
        return int(version)

    async def run(self) -> None:
        """List, watch, list again when that is needed."""
        while True:
            try:
                await self._list()
            except (ApiUnavailable, Refused, *JUNK) as error:
                await self._pause(error)
                continue
            await self._watch()

    async def _list(self) -> None:
        """All pages; the next one is under way while this one is decoded."""
        found: list[T] = []
        asked = asyncio.ensure_future(self._ask(""))
        try:
            while True:
                answer = await asked
                ahead = self._reader.head(answer.body)
                if ahead is not None and ahead.more:
                    asked = asyncio.ensure_future(self._ask(ahead.more))
                    await asyncio.sleep(0)  # the request is written
                    await asyncio.sleep(0)  # and flushed: uvloop does that after a round of callbacks
                metadata, batches = self._reader.page(answer.body)
                for batch in batches:
                    found += batch
                    await asyncio.sleep(0)
                if not metadata.more:
                    break
                if ahead is None:
                    asked = asyncio.ensure_future(self._ask(metadata.more))
        finally:
            asked.cancel()
        self._listed(metadata, found)

    def _listed(self, metadata: ListMetadata, found: list[T]) -> None:
        if not metadata.resource_version:  # whatever it is, it must not empty the sink
            raise Refused(200, "the answer to a list has no version")
        self.version, self.heard, self._failures = metadata.resource_version, self._clock(), 0
        self.lists += 1
        self._sink.replaced(found)
        self.synced.set()

    async def _ask(self, more: str) -> Answer:
        path = f"{self._path}limit={self._page}" + (f"&continue={quote(more, safe='')}" if more else "")
        answer = await self._connection.request("GET", path, accept=self._reader.accept, deadline_s=60.0)
        if not answer.ok:
            raise Refused(answer.status, message_of(answer.body))
        return answer

    async def _watch(self) -> None:
        """Follow until the version is forgotten or the resync is due."""
        due = self._clock() + self._random.uniform(0.75, 1.25) * self._resync_s
        while (left := due - self._clock()) > 0:
            heard = self.heard
            try:
                await self._stream(min(left, self._random.uniform(1.0, 2.0) * WATCH_S))
            except Refused as error:
                if error.status == GONE:
                    self.last_error = str(error)
                    return
                await self._pause(error)
            except ApiUnavailable as error:
                await self._pause(error)
            else:
                if self.heard == heard:  # it ended without a word: do not spin
                    await self._pause(None)

    async def _stream(self, seconds: float) -> None:
        path = (
            f"{self._path}watch=1&allowWatchBookmarks=true&resourceVersion={quote(self.version, safe='')}"
            f"&timeoutSeconds={max(1, int(seconds))}"
        )
        answer = await self._connection.stream(
            path,
            self._on_event,
            accept=self._reader.stream_accept,
            splitter=self._reader.splitter(),
            silence_s=self._silence_s,
        )
        if not answer.ok:
            raise Refused(answer.status, message_of(answer.body))

    def _on_event(self, content: bytes) -> None:
        event = self._reader.event(content)
        if event is None:
            self._on_notice(content)
            return
        kind, obj = event
        if kind == "DELETED":
            self._sink.removed(obj)
        else:
            self._sink.changed(obj)
        self.version = obj.metadata.resource_version
        self.heard, self._failures = self._clock(), 0

    def _on_notice(self, content: bytes) -> None:
        notice = self._reader.notice(content)
        if notice is None:
            return
        if notice.type == "ERROR":
            raise Refused(notice.code, notice.message)
        self.heard, self._failures = self._clock(), 0
        self.version = notice.version or self.version

    async def _pause(self, error: Exception | None) -> None:
        if error is not None:
            self.last_error = str(error)
        longest = min(LONGEST_BACKOFF_S, 0.1 * 2.0 ** min(self._failures, 16))
        self._failures += 1
        await asyncio.sleep(self._random.uniform(0.5, 1.0) * longest)
