"""Shows the slow steps of a first start: a moving line on a terminal, plain lines elsewhere, nothing when all is quick."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PATIENCE_SECONDS = 1.0
WORDS = {
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
    """A line for each step that follows a slow one, or is known to be slow."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def step(self, name: str, detail: str = "") -> None:
        """Write it down."""
        slow = time.monotonic() - self._since > PATIENCE_SECONDS
        if name in WORDS and (slow or name in ("guest", "layers", "template")):
            print(f"bulkhead: {WORDS[name]}{detail and f': {detail}'} …", file=sys.stderr)  # noqa: T201


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
        yield Lines()
    else:
        from rich.console import Console  # a tenth of a second, for terminals only

        with Console(stderr=True).status("starting") as status:
            yield Moving(status.update)
