"""One thread, one selector, timers: what the supervisor waits on."""

from __future__ import annotations

import heapq
import selectors
import time
from collections.abc import Callable
from typing import Protocol

Handler = Callable[[], None]


class Watched(Protocol):
    """Something with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


class _Entry:
    __slots__ = ("on_read", "on_write", "wants_read", "wants_write")

    def __init__(
        self,
        on_read: Handler,
        on_write: Handler | None,
        wants_write: Callable[[], bool],
        wants_read: Callable[[], bool],
    ) -> None:
        self.on_read, self.on_write = on_read, on_write
        self.wants_read, self.wants_write = wants_read, wants_write

    def mask(self) -> int:
        reads = selectors.EVENT_READ if self.wants_read() else 0
        return reads | (selectors.EVENT_WRITE if self.wants_write() else 0)


def _never() -> bool:
    return False


def _always() -> bool:
    return True


class Loop:
    """Calls handlers until `stop`; a handler that was removed is not called any more, even in the same round."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._entries: dict[int, _Entry] = {}
        self._masks: dict[int, int] = {}
        self._timers: list[tuple[float, int, Handler]] = []
        self._count = 0
        self._running = True

    def watch(
        self,
        what: Watched | int,
        on_read: Handler,
        on_write: Handler | None = None,
        wants_write: Callable[[], bool] = _never,
        wants_read: Callable[[], bool] = _always,
    ) -> None:
        """Call `on_read` and `on_write` when they would not wait, while they are wanted."""
        fd = what if isinstance(what, int) else what.fileno()
        self._entries[fd] = _Entry(on_read, on_write, wants_write, wants_read)
        self._masks[fd] = 0

    def forget(self, what: Watched | int) -> None:
        """Watch it no more; call this before it is closed. Safe to repeat."""
        fd = what if isinstance(what, int) else what.fileno()
        if self._masks.pop(fd, 0):
            self._selector.unregister(fd)
        self._entries.pop(fd, None)

    def later(self, seconds: float, call: Handler) -> None:
        """Call once, in so many seconds."""
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._count, call))

    def stop(self) -> None:
        """Return from `run` after this round."""
        self._running = False

    def run(self) -> None:
        """Handle what comes, until `stop`."""
        while self._running:
            self.once()

    def once(self) -> None:
        """Wait for the next things to happen and handle them."""
        self._adjust()
        for key, mask in self._selector.select(self._patience()):
            entry = self._entries.get(key.fd)
            if entry is not None and mask & selectors.EVENT_READ:
                entry.on_read()
            if (
                entry is not None
                and mask & selectors.EVENT_WRITE
                and entry.on_write is not None
                and self._entries.get(key.fd) is entry
            ):
                entry.on_write()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _patience(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _adjust(self) -> None:
        for fd, entry in self._entries.items():
            mask, before = entry.mask(), self._masks[fd]
            if mask == before:
                continue
            if not before:
                self._selector.register(fd, mask)
            elif not mask:
                self._selector.unregister(fd)
            else:
                self._selector.modify(fd, mask)
            self._masks[fd] = mask
