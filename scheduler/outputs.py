"""Files that a command writes: refused before the work where they cannot be, and written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from scheduler.errors import BadInput, Problem


def refuse_unwritable(option: str, path: Path, *, make_directory: bool = False) -> None:
    """Check that a file can be put at `path`; the directory is made if wished.

    Raises:
        BadInput: it cannot, with the reason.
    """
    try:
        if make_directory:
            path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(path)
        partial.open("wb").close()
        partial.unlink()
        why = "is a directory" if path.is_dir() else ""
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    if why:
        raise BadInput(
            [Problem(str(path), 1, f"{option} cannot be written there: {why}", "name another file")]
        )


def partial_of(path: Path) -> Path:
    """Where a file is written before it appears under its name."""
    return path.with_name(path.name + ".partial")


def write_whole(path: Path, text: str) -> None:
    """Write a text file in one step."""
    partial = partial_of(path)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
