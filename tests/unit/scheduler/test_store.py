"""The embedded store in one process: what it keeps, what it refuses to open, and how it fails."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from scheduler.store import sqlite
from scheduler.store.protocol import Store, StoreUnavailable
from scheduler.store.sqlite import SqliteStore
from tenants.ledger.answer import Admitted, Reason, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Phase
from tenants.ledger.forest import quotas_of
from tenants.ledger.reclaim import Eviction
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


def test_two_that_share_it_see_what_the_other_did(store: SqliteStore, path: Path) -> None:
    other = another(path)
    assert store.admit(make_charge("one", "a", cpu=6)) == Admitted("one")
    answer = other.admit(make_charge("two", "b", cpu=5))
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.shortages[0].available) == (Reason.WAITING_FOR_QUOTA, 4)
    assert other.release("one")
    assert store.admit(make_charge("two", "b", cpu=5)) == Admitted("two")
    assert not store.release("one")
    other.close()


def test_a_changed_tree_reaches_everybody(store: SqliteStore, path: Path) -> None:
    other = another(path)
    assert other.read(lambda ledger: ledger.available("a", CPU)) == 10
    store.configure(quotas_of(make_set(make_tenant("a", quota=cpu(5, max=6)), offered={"cpu": 10})))
    assert other.read(lambda ledger: ledger.available("a", CPU)) == 6
    other.close()


def test_a_restart_finds_the_same_ledger(store: SqliteStore, path: Path) -> None:
    store.admit_all([make_charge("held", cpu=3), make_charge("leaving", "b", cpu=2)])
    store.terminate("leaving")
    store.record([make_charge("found", "b", cpu=9)])
    before = store.read(Ledger.copy)
    store.close()
    again = SqliteStore(path)
    after = again.read(Ledger.copy)
    assert (after.entries, after.quotas) == (before.entries, before.quotas)
    assert after.entries["leaving"].phase is Phase.TERMINATING
    assert after.usage("b") == {CPU: 11}
    again.close()


def test_a_batch_is_checked_one_after_the_other(store: SqliteStore) -> None:
    answers = store.admit_all([make_charge(f"p{number}", cpu=4) for number in range(4)])
    assert [isinstance(answer, Admitted) for answer in answers] == [True, True, False, False]


def test_no_victim_is_chosen_twice(store: SqliteStore, path: Path) -> None:
    other = another(path)
    store.record([make_charge(f"b-{number}", "b", born=number) for number in range(10)])
    first, second = store.reclaim(make_charge("one")), other.reclaim(make_charge("two"))
    assert isinstance(first, Eviction)
    assert isinstance(second, Eviction)
    assert [victim.uid for answer in (first, second) for victim in answer.victims] == ["b-9", "b-8"]
    assert isinstance(store.admit(make_charge("one")), Refused)
    other.release("b-9")
    assert store.admit(make_charge("one")) == Admitted("one")
    other.close()


def test_a_refused_eviction_changes_nothing(store: SqliteStore) -> None:
    assert isinstance(store.reclaim(make_charge("one", "nobody")), Refused)
    assert store.read(lambda ledger: dict(ledger.entries)) == {}


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


def test_an_error_in_the_middle_of_a_step_undoes_it(store: SqliteStore) -> None:
    def charges() -> Iterator[object]:
        yield make_charge("half", cpu=1)
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        store.admit_all(charges())  # type: ignore[arg-type]
    assert store.read(lambda ledger: dict(ledger.entries)) == {}


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
    with pytest.raises(StoreUnavailable, match="has layout 9, this program knows 1"):
        SqliteStore(path)


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        SqliteStore(tmp_path / "nowhere" / "ledger.db")


def test_threads_share_one_store(store: SqliteStore) -> None:
    answers: list[Admitted | Refused] = []

    def run(thread: int) -> None:
        answers.extend(store.admit(make_charge(f"{thread}-{number}", "a")) for number in range(5))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(answers) == 80
    assert sum(isinstance(answer, Admitted) for answer in answers) == 10
    assert store.read(lambda ledger: ledger.usage("a")) == {CPU: 10}


def test_many_may_be_the_first_to_open_it(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(SqliteStore, [path] * 8))
    stores[0].configure(TWO)
    assert all(store.read(lambda ledger: ledger.quotas) == TWO for store in stores)
    for store in stores:
        store.close()
