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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from scheduler.store.protocol import Answer, StoreUnavailable
from tenants.ledger.answer import Admitted, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge, Entry
from tenants.ledger.forest import Quotas
from tenants.ledger.reclaim import Eviction, claim, victims

APPLICATION_ID: Final = 0x42754C6B  # "BuLk": whose file it is
SCHEMA_VERSION: Final = 1
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


class SqliteStore:
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
        with self._errors():
            self._db = sqlite3.connect(
                path, timeout=patience_ms / 1000, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(durable=durable)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self, *, durable: bool) -> None:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.execute("PRAGMA journal_mode = WAL")
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
        self._db.execute("COMMIT")

    # --- steps ----------------------------------------------------------------------------------------------

    def configure(self, quotas: Quotas) -> None:
        """See `Store.configure`; a tree equal to the present one is no change."""
        with self._step() as ledger:
            if quotas != ledger.quotas:
                ledger.configure(quotas)
                self._configured += 1
                body = msgspec.json.encode(quotas)
                self._db.execute("UPDATE head SET configured = ?, quotas = ?", (self._configured, body))

    def admit(self, charge: Charge) -> Admitted | Refused:
        """See `Store.admit`."""
        return self.admit_all([charge])[0]

    def admit_all(self, charges: Iterable[Charge]) -> list[Admitted | Refused]:
        """See `Store.admit_all`."""
        with self._step() as ledger:
            answers = []
            changed: list[str] = []
            for charge in charges:
                before = ledger.entries.get(charge.uid)
                answers.append(ledger.admit(charge))
                if ledger.entries.get(charge.uid) != before:
                    changed.append(charge.uid)
            self._write(changed)
            return answers

    def record(self, charges: Iterable[Charge]) -> None:
        """See `Store.record`."""
        with self._step() as ledger:
            found = list(charges)
            for charge in found:
                ledger.record(charge)
            self._write(charge.uid for charge in found)

    def terminate(self, uid: str) -> bool:
        """See `Store.terminate`."""
        with self._step() as ledger:
            known = ledger.terminate(uid)
            self._write([uid] if known else [])
            return known

    def release(self, uid: str) -> bool:
        """See `Store.release`."""
        with self._step() as ledger:
            known = ledger.release(uid)
            self._write([uid] if known else [])
            return known

    def reclaim(self, charge: Charge) -> Eviction | Refused:
        """See `Store.reclaim`."""
        with self._step() as ledger:
            answer = victims(ledger, charge)
            if isinstance(answer, Eviction):
                claim(ledger, charge, answer)
                self._write([*(victim.uid for victim in answer.victims), charge.uid])
            return answer

    def read(self, question: Callable[[Ledger], Answer]) -> Answer:
        """See `Store.read`."""
        with self._step("DEFERRED") as ledger:
            return question(ledger)

    def close(self) -> None:
        """See `Store.close`."""
        with self._lock:
            self._db.close()

    # --- inside ---------------------------------------------------------------------------------------------

    @contextmanager
    def _step(self, kind: str = "IMMEDIATE") -> Iterator[Ledger]:
        with self._lock, self._errors():
            self._db.execute(f"BEGIN {kind}")
            try:
                self._catch_up()
                yield self._ledger
                self._db.execute("COMMIT")
            except BaseException:
                self._forget()
                raise

    def _catch_up(self) -> None:
        version, forgotten, configured = self._db.execute(
            "SELECT version, forgotten, configured FROM head"
        ).fetchone()
        if self._seen < forgotten:
            self._ledger, self._seen, self._configured = Ledger(), 0, 0
        if self._configured != configured:
            quotas = self._db.execute("SELECT quotas FROM head").fetchone()[0]
            self._ledger.configure(msgspec.json.decode(quotas, type=Quotas))
            self._configured = configured
        if self._seen != version:
            changes = self._db.execute(
                "SELECT uid, body FROM entry WHERE version > ? ORDER BY version", (self._seen,)
            )
            for uid, body in changes:
                if body is None:
                    self._ledger.release(uid)
                else:
                    entry = msgspec.json.decode(body, type=Entry)
                    self._ledger.record(entry.charge, entry.phase)
            self._seen = version

    def _write(self, uids: Iterable[str]) -> None:
        rows = []
        for uid in uids:
            self._seen += 1
            entry = self._ledger.entries.get(uid)
            rows.append((uid, self._seen, None if entry is None else msgspec.json.encode(entry)))
        if rows:
            self._db.executemany("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", rows)
            self._db.execute("UPDATE head SET version = ?", (self._seen,))
            if self._seen // REMEMBERED != (self._seen - len(rows)) // REMEMBERED:
                self._prune()

    def _prune(self) -> None:
        last = self._seen - REMEMBERED
        self._db.execute("DELETE FROM entry WHERE body IS NULL AND version <= ?", (last,))
        self._db.execute("UPDATE head SET forgotten = max(forgotten, ?)", (last,))

    def _forget(self) -> None:
        """After a failure only the file knows what is true: the next step reads it anew."""
        self._ledger, self._seen, self._configured = Ledger(), 0, 0
        with suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnavailable(str(self.path), str(error)) from error

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])
