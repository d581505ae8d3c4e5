"""The embedded store in one process: what it keeps, what it refuses to open, and how it fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from scheduler.store import sqlite
from scheduler.store.protocol import Store, StoreUnavailable
from scheduler.store.sqlite import SqliteStore
from tenants.ledger.answer import Admitted
from tenants.ledger.book import Ledger
from tenants.ledger.forest import quotas_of
from tests.support.ledger import CPU, make_charge, make_set
from tests.support.tenants import cpu, make_tenant

TWO = quotas_of(make_set(make_tenant("a", quota=cpu(5)), make_tenant("b", quota=cpu(5)), offered={"cpu": 10}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(path)
    opened.configure(TWO)
    yield opened
    opened.close()


def another(path: Path) -> SqliteStore:
    return SqliteStore(path, patience_ms=200)


def test_it_is_a_store(store: SqliteStore) -> None:
    as_protocol: Store = store
    assert as_protocol.admit(make_charge(cpu=5)) == Admitted("pod")


def test_released_pods_are_forgotten_and_who_lagged_reads_anew(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "REMEMBERED", 10)
    other = another(path)
    assert other.admit(make_charge("kept", cpu=1)) == Admitted("kept")
    assert other.admit(make_charge("old", cpu=1)) == Admitted("old")
    store.release("old")
    for number in range(60):
        store.admit(make_charge(f"p{number}"))
        store.release(f"p{number}")
    with closing(sqlite3.connect(path)) as raw:
        rows = raw.execute("SELECT count(*) FROM entry").fetchone()[0]
    assert rows <= 21, "the kept pod and what was released lately"
    assert other.read(lambda ledger: sorted(ledger.entries)) == ["kept"]
    other.read(Ledger.verify)
    other.close()


def test_a_step_that_fails_leaves_no_trace(store: SqliteStore, path: Path) -> None:
    store.admit(make_charge("before", cpu=1))
    hasty = another(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"ledger store .*ledger.db: database is locked"):
        hasty.admit(make_charge("during", cpu=1))
    holder.execute("ROLLBACK")
    holder.close()
    assert hasty.read(lambda ledger: sorted(ledger.entries)) == ["before"]
    assert hasty.admit(make_charge("during", cpu=1)) == Admitted("during")
    hasty.close()


def test_a_full_disk_is_said_and_nothing_is_half_written(store: SqliteStore) -> None:
    store.admit(make_charge("before", cpu=1))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = [make_charge(f"{'x' * 200}{number}", cpu=1) for number in range(500)]
    with pytest.raises(StoreUnavailable, match="full"):
        store.record(many)
    assert store.read(lambda ledger: sorted(ledger.entries)) == ["before"]


@pytest.mark.parametrize(
    ("name", "content", "want"),
    [
        ("text", b"not a database at all" * 100, "file is not a database"),
        ("another program's", None, "is a database of another program"),
    ],
    ids=["text", "another program's"],
)
def test_a_file_that_is_not_ours_is_left_alone(
    path: Path, name: str, content: bytes | None, want: str
) -> None:
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE theirs (x)")
        other.close()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match=want):
        SqliteStore(path)


def test_a_newer_layout_is_not_touched(store: SqliteStore, path: Path) -> None:
    store._db.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreUnavailable, match="has layout 9, this program knows 2"):
        SqliteStore(path)


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        SqliteStore(tmp_path / "nowhere" / "ledger.db")


def test_many_may_be_the_first_to_open_it(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(SqliteStore, [path] * 8))
    stores[0].configure(TWO)
    assert all(store.read(lambda ledger: ledger.quotas) == TWO for store in stores)
    for store in stores:
        store.close()


def test_a_file_of_the_first_layout_is_read_and_raised(store: SqliteStore, path: Path) -> None:
    store.admit(make_charge("old", cpu=3))
    store._db.execute("PRAGMA user_version = 1")
    again = SqliteStore(path)
    assert again.read(lambda ledger: ledger.usage("a")) == {CPU: 3}
    assert again._number("PRAGMA user_version") == 2
    again.close()


def test_a_file_that_was_removed_is_not_written_on(store: SqliteStore, path: Path) -> None:
    store.admit(make_charge("before", cpu=1))
    path.unlink()
    with pytest.raises(StoreUnavailable, match="was removed or replaced; start again"):
        store.admit(make_charge("lost", cpu=1))
    new = SqliteStore(path)
    new.configure(TWO)
    with pytest.raises(StoreUnavailable, match="was removed or replaced"):
        store.read(lambda ledger: dict(ledger.entries))
    assert new.admit(make_charge("first", cpu=10)) == Admitted("first")
    new.close()


def test_a_row_that_is_damaged_is_said(store: SqliteStore, path: Path) -> None:
    store.admit(make_charge("before", cpu=1))
    store._db.execute("UPDATE entry SET body = ?", (b'{"charge": 1}',))
    with pytest.raises(StoreUnavailable, match="holds what nobody of us wrote"):
        SqliteStore(path).admit(make_charge("lost", cpu=1))


def test_after_a_full_disk_it_goes_on(store: SqliteStore) -> None:
    store.admit(make_charge("before", cpu=1))
    pages = store._number("PRAGMA page_count")
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = [make_charge(f"{'x' * 200}{number}", cpu=1) for number in range(500)]
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="full"):
            store.record(many)
        assert store.read(lambda ledger: sorted(ledger.entries)) == ["before"]
    store._db.execute("PRAGMA max_page_count = 100000")
    store.record(many)
    assert len(store.read(lambda ledger: ledger.entries)) == 501
    store.read(Ledger.verify)


def test_a_version_that_somebody_else_has_written_is_never_written_over(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.record([make_charge("first", cpu=1), make_charge("second", cpu=1)])
    catch_up = store._catch_up

    def behind() -> None:
        catch_up()
        store._seen -= 1

    monkeypatch.setattr(store, "_catch_up", behind)
    with pytest.raises(StoreUnavailable, match="UNIQUE"):
        store.record([make_charge("third", cpu=1)])
    monkeypatch.undo()
    assert store.read(lambda ledger: set(ledger.entries)) == {"first", "second"}
