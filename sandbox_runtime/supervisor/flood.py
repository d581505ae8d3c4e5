"""A guest that keeps its supervisor busy with events that tell nothing: bounded by their rate. Pure."""

from __future__ import annotations

from sandbox_runtime.protocol.errors import ProtocolViolation

MOST = 500  # ends of unknown processes and repeated kills for memory; an honest agent sends a few
WINDOW_SECONDS = 10.0


class NoNews:
    """Counts them within a window of time."""

    def __init__(self) -> None:
        self._since, self._seen = float("-inf"), 0

    def count(self, now: float) -> None:
        """One more, at `now` seconds of any steady clock. ProtocolViolation where it is too much."""
        if now - self._since > WINDOW_SECONDS:
            self._since, self._seen = now, 0
        self._seen += 1
        if self._seen > MOST:
            raise ProtocolViolation(
                "event-flood", f"{MOST} events within {WINDOW_SECONDS:g} s that tell nothing"
            )
