"""Every implementation of `Store`, on the real thing, for the tests that all of them must pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scheduler.store.protocol import Store
from scheduler.store.sqlite import SqliteStore

Open = Callable[[], Store]


@contextmanager
def sqlite_stores(directory: Path) -> Iterator[Open]:
    """Every call opens the same ledger once more; all are closed at the end."""
    opened: list[Store] = []

    def another() -> Store:
        opened.append(SqliteStore(directory / "ledger.db"))
        return opened[-1]

    yield another
    for store in opened:
        store.close()


STORES = {"sqlite": sqlite_stores}
