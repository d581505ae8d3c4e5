"""Tables and sizes for people: plain columns, so that awk and eyes read them alike."""

from __future__ import annotations

from collections.abc import Sequence


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; control characters, which a tenant may have put anywhere, are shown as they are written."""
    lines = [list(head), *[[_plain(cell) for cell in row] for row in rows]]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def mib(count: float) -> str:
    """Bytes as MiB."""
    return f"{count / (1 << 20):.1f} MiB"


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
