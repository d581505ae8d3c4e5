"""Shows the slow steps of a first start: a moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

PATIENCE_SECONDS = 1.0
WORDS = {
    "kernel": "building a kernel (some ten minutes, once)",
    "guest": "building the guest image (once)",
    "layers": "preparing the image's layers (once)",
    "template": "booting a machine to restore from (once for each size)",
    "machine": "starting the machine",
    "channel": "waiting for the guest",
    "mount": "mounting",
    "create": "creating the container",
}


class Progress(Protocol):
    """Told of steps."""

    def step(self, name: str, detail: str = "") -> None:
        """A step begins; unknown names are not shown."""


class Silent:
    """Shows nothing."""

    def step(self, name: str, detail: str = "") -> None:
        """Nothing."""


class Lines:
    """A line for each step that takes longer than a moment, by an alarm: no thread in a process that forks."""

    def __init__(self) -> None:
        self._text = ""
        signal.signal(signal.SIGALRM, self._late)

    def step(self, name: str, detail: str = "") -> None:
        """Say so if it is not over soon."""
        self._text = f"bulkhead: {WORDS[name]}{detail and f': {detail}'} …" if name in WORDS else ""
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS if self._text else 0)

    def _late(self, number: int, frame: FrameType | None) -> None:
        print(self._text, file=sys.stderr)

    def end(self) -> None:
        """Say no more."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


class Moving:
    """A spinner with the step's name."""

    def __init__(self, show: object) -> None:
        self._show = show

    def step(self, name: str, detail: str = "") -> None:
        """Show it."""
        if name in WORDS:
            self._show(f"{WORDS[name]}{detail and f': {detail}'}")  # type: ignore[operator]


@contextmanager
def showing(quiet: bool) -> Iterator[Progress]:
    """The kind that suits stderr; gone from the screen at the end."""
    if quiet:
        yield Silent()
    elif not sys.stderr.isatty():
        lines = Lines()
        try:
            yield lines
        finally:
            lines.end()
    else:
        from rich.console import Console  # a tenth of a second, for terminals only

        with Console(stderr=True).status("starting") as status:
            yield Moving(status.update)
