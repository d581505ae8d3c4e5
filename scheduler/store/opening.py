"""Opens the store that an address names; the one place that knows all implementations."""

from __future__ import annotations

from scheduler.store.address import SqliteAddress, parse
from scheduler.store.redis import RedisStore
from scheduler.store.sqlite import SqliteStore


def open_store(address: str) -> SqliteStore | RedisStore:
    """The store at `address`, see `address`; made if it is not there.

    Raises:
        BadInput: the address is none.
        StoreUnavailable: nothing can be opened there.
    """
    place = parse(address)
    if isinstance(place, SqliteAddress):
        return SqliteStore(place.path, patience_ms=round(place.patience_s * 1000), durable=place.durable)
    return RedisStore(place)
