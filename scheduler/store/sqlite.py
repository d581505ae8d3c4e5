"""The embedded store: one SQLite file in WAL mode, shared by the threads and processes of one machine.

A process keeps the ledger in memory together with the version up to which it has read the file. A step is BEGIN
IMMEDIATE (one writer at a time, everywhere), read what others changed since, decide with `tenants.ledger`, write the
entries that changed, COMMIT. So a step costs what changed and not what is stored, and the file holds only the entries
and the quotas: every sum is derived. A released pod stays as a row without content until every reader that is not far
behind has seen it; a reader that is further behind than that reads the file anew.

The file must lie on a local disk: WAL needs memory shared between its readers.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from scheduler.store.protocol import Answer, StoreUnavailable
from scheduler.store.steps import Steps
from tenants.ledger.book import Changes, Ledger
from tenants.ledger.charge import Entry
from tenants.ledger.forest import Quotas

APPLICATION_ID: Final = 0x42754C6B  # "BuLk": whose file it is
SCHEMA_VERSION: Final = 2  # 1 had neither reservations nor deadlines; its rows read as they are
LOG_PAGES: Final = 256  # 1 MiB of write-ahead log at most; SQLite's own 1,000 fill a small volume
REMEMBERED: Final = 10_000  # released pods that are kept for readers that lag
SCHEMA: Final = """
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,   -- of the last change
    forgotten INTEGER NOT NULL, -- releases up to this version are no longer kept
    configured INTEGER NOT NULL,
    quotas BLOB NOT NULL
) STRICT;
CREATE TABLE entry (
    uid TEXT PRIMARY KEY,
    version INTEGER NOT NULL UNIQUE,
    body BLOB                   -- NULL: released
) STRICT, WITHOUT ROWID;
"""


class SqliteStore(Steps):
    """A `Store` in a file; made if it is not there. Threads share one; a forked process must open its own.

    Args:
        path: the file; beside it SQLite keeps `-wal` and `-shm`.
        patience_ms: how long a step waits for the others before it raises.
        durable: whether an answer survives a power cut too, at the price of one fsync per step. Without it answers
            survive the death of every process, and a power cut may take the last of them, never half of one.

    Raises:
        StoreUnavailable: no such directory, not a file of ours, made by a newer version, or busy too long.
    """

    def __init__(self, path: Path, *, patience_ms: int = 10_000, durable: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._ledger = Ledger()
        self._seen = 0
        self._configured = 0
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Entry).decode
        with self._errors():
            self._db = sqlite3.connect(
                path, timeout=patience_ms / 1000, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(durable=durable)
                found = path.stat()
            except BaseException:
                self._db.close()
                raise
            self._file = found.st_dev, found.st_ino

    def _prepare(self, *, durable: bool) -> None:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        self._db.execute("BEGIN IMMEDIATE")
        owner, version = (self._number(f"PRAGMA {name}") for name in ("application_id", "user_version"))
        if self._number("SELECT count(*) FROM sqlite_schema") == 0:
            for statement in SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute("INSERT INTO head VALUES (1, 0, 0, 0, ?)", (msgspec.json.encode(Quotas()),))
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif owner != APPLICATION_ID:
            raise StoreUnavailable(str(self.path), "is a database of another program")
        elif version > SCHEMA_VERSION:
            raise StoreUnavailable(
                str(self.path), f"has layout {version}, this program knows {SCHEMA_VERSION}"
            )
        elif version < SCHEMA_VERSION:
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")
        # The file gets the pages that it needs anyway while there is room for them; others are not waited for.
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    # --- steps ----------------------------------------------------------------------------------------------

    def read(self, question: Callable[[Ledger], Answer]) -> Answer:
        """See `Store.read`."""
        with self._transaction("DEFERRED") as ledger:
            return question(ledger)

    def close(self) -> None:
        """See `Store.close`."""
        with self._lock:
            self._db.close()

    # --- inside ---------------------------------------------------------------------------------------------

    def _step(self, decide: Callable[[Ledger], Answer]) -> Answer:
        with self._transaction("IMMEDIATE") as ledger, ledger.attempt() as changes:
            answer = decide(ledger)
            seen, configured = self._write(changes)
            self._db.execute("COMMIT")
            # Still under the lock: set any later, it would take back what the next thread has read by then.
            self._seen, self._configured = seen, configured
        return answer

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[Ledger]:
        """The ledger as of now; the block ends it with COMMIT, or it never was."""
        with self._lock, self._errors():
            try:
                self._still_there()
                self._db.execute(f"BEGIN {kind}")
                self._catch_up()
                yield self._ledger
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _still_there(self) -> None:
        """A removed file could be written on for ever, beside the new one of somebody else."""
        try:
            found = self.path.stat()
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            raise StoreUnavailable(
                str(self.path),
                "was removed or replaced; start again to begin a new one, the cluster fills it",
            )

    def _catch_up(self) -> None:
        version, forgotten, configured = self._db.execute(
            "SELECT version, forgotten, configured FROM head"
        ).fetchone()
        if self._seen < forgotten or version < self._seen:
            self._ledger, self._seen, self._configured = Ledger(), 0, 0
        if self._configured != configured:
            quotas = self._db.execute("SELECT quotas FROM head").fetchone()[0]
            self._ledger.configure(msgspec.json.decode(quotas, type=Quotas))
            self._configured = configured
        if self._seen != version:
            self._replay(self._seen)
            self._seen = version

    def _replay(self, seen: int) -> None:
        if not seen:
            ledger = Ledger(self._ledger.quotas)
            rows = self._db.execute("SELECT body FROM entry WHERE body IS NOT NULL ORDER BY version")
            ledger.load(self._decode(body) for (body,) in rows)
            self._ledger = ledger
            return
        for uid, body in self._db.execute(
            "SELECT uid, body FROM entry WHERE version > ? ORDER BY version", (seen,)
        ):
            self._ledger.put(uid, None if body is None else self._decode(body))

    def _write(self, changes: Changes) -> tuple[int, int]:
        """The version after it, and that of the quotas."""
        quotas, configured = changes.quotas(), self._configured
        if quotas is not None:
            configured += 1
            body = self._encode(quotas)
            self._db.execute("UPDATE head SET configured = ?, quotas = ?", (configured, body))
        rows = [
            (uid, version, None if entry is None else self._encode(entry))
            for version, (uid, entry) in enumerate(changes.entries().items(), self._seen + 1)
        ]
        last = self._seen + len(rows)
        if rows:
            # A version that is taken must fail; REPLACE would take its row away, and with it somebody's answer.
            self._db.executemany(
                "INSERT INTO entry VALUES (?, ?, ?) ON CONFLICT (uid) DO UPDATE"
                " SET version = excluded.version, body = excluded.body",
                rows,
            )
            self._db.execute("UPDATE head SET version = ?", (last,))
            if last // REMEMBERED != self._seen // REMEMBERED:
                self._prune(last - REMEMBERED)
        return last, configured

    def _prune(self, last: int) -> None:
        self._db.execute("DELETE FROM entry WHERE body IS NULL AND version <= ?", (last,))
        self._db.execute("UPDATE head SET forgotten = max(forgotten, ?)", (last,))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                self._give_room()
            raise StoreUnavailable(str(self.path), str(error)) from error
        except msgspec.MsgspecError as error:
            raise StoreUnavailable(str(self.path), f"holds what nobody of us wrote: {error}") from error

    def _give_room(self) -> None:
        """Fold the write-ahead log into the file: it may be what fills the disk, with many states of few pages."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])
