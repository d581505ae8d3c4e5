"""What is written down, who owns it, and what a later run does with it. Real files, processes and locks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sandbox_runtime.errors import BadInput
from sandbox_runtime.lifecycle import journal, recover
from sandbox_runtime.lifecycle.journal import Journal, Thing
from sandbox_runtime.model import ContainerSpec, GuestImage, Mount, SandboxSpec, Volume, VolumeKind
from sandbox_runtime.paths import Paths
from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.supervisor import order as orders
from sandbox_runtime.supervisor.order import Order
from sandbox_runtime.vmm.processes import Process

ORDER = Order(
    SandboxSpec(
        "s",
        containers=(ContainerSpec("main", ("a", "b"), mounts=(Mount("v", "/v"),), oci={"hostname": "x"}),),
        volumes=(Volume("v", VolumeKind.DISK, size_bytes=7),),
    ),
    GuestImage(Path("/k"), None, Path("/i"), "quiet", "d"),
    created_ns=5,
    detached=True,
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "r", tmp_path / "c")


def claimed(paths: Paths, name: str = "s") -> int:
    lock = journal.claim(paths, name)
    orders.write(paths.sandbox(name), ORDER._replace(spec=ORDER.spec._replace(id=name)))
    return lock


def test_an_order_comes_back_as_it_was(paths: Paths) -> None:
    os.close(claimed(paths))
    assert orders.read(paths.sandbox("s")) == ORDER
    assert (paths.sandbox("s") / journal.ORDER).stat().st_mode & 0o777 == 0o600


def test_an_id_is_taken_once(paths: Paths) -> None:
    os.close(journal.claim(paths, "s"))
    with pytest.raises(BadInput, match="already"):
        journal.claim(paths, "s")


def test_things_are_read_back_in_order_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    noted = Journal(tmp_path)
    noted.note("tap", "bh0")
    noted.note("cgroup", "a/b")
    with (tmp_path / journal.JOURNAL).open("ab") as file:
        file.write(b'["process", "12')
    assert journal.things(tmp_path) == [Thing("tap", "bh0"), Thing("cgroup", "a/b")]


def test_a_living_owner_is_left_alone(paths: Paths) -> None:
    lock = claimed(paths)
    assert recover.recover(paths) == []
    assert journal.take(paths, paths.sandbox("s")) is None
    os.close(lock)


def test_after_its_owner_died_everything_is_ended_and_no_success_is_told(paths: Paths) -> None:
    lock = claimed(paths)
    journal.write_outcome(paths.sandbox("s"), {"phase": "running", "code": None})
    storage = paths.storage("s")
    storage.mkdir(parents=True)
    (storage / "c0-upper.ext4").touch()
    (storage / "main.log").touch()
    socket = paths.sandbox("s") / "vol0.sock"
    socket.touch()
    sleeper = subprocess.Popen(["sleep", "1000"])
    noted = Journal(paths.sandbox("s"))
    for kind, name in (
        ("process", str(Process.of(sleeper.pid))),
        ("socket", str(socket)),
        ("what-a-newer-version-wrote", "x"),
    ):
        noted.note(kind, name)
    os.close(lock)
    assert recover.recover(paths) == ["s"]
    assert sleeper.wait(5) == -9
    assert [path.name for path in storage.iterdir()] == ["main.log"]
    assert not socket.exists()
    outcome = journal.read_outcome(paths.sandbox("s"))
    assert (outcome["phase"], outcome["code"], outcome["reason"]) == ("stopped", 255, "supervisor-died")
    assert recover.recover(paths) == []


def test_somebody_else_with_the_same_pid_is_not_ended(paths: Paths) -> None:
    os.close(claimed(paths))
    sleeper = subprocess.Popen(["sleep", "1000"])
    Journal(paths.sandbox("s")).note("process", str(Process.of(sleeper.pid)._replace(started=1)))
    recover.recover(paths)
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_a_claim_without_an_order_leaves_nothing(paths: Paths) -> None:
    os.close(journal.claim(paths, "s"))
    recover.recover(paths)
    assert list(paths.sandboxes.iterdir()) == []


def test_disks_and_references_of_a_sandbox_that_is_no_more_go(paths: Paths) -> None:
    lock = claimed(paths, "alive")
    cache = LayerCache(paths.layers)
    for holder in ("alive", "lost"):
        (paths.storage(holder)).mkdir(parents=True)
        (cache.directory / "references" / "k").mkdir(exist_ok=True)
        (cache.directory / "references" / "k" / holder).touch()
    assert recover.orphans(paths) == ["lost"]
    assert [path.name for path in paths.stores.iterdir()] == ["alive"]
    assert [path.name for path in (cache.directory / "references/k").iterdir()] == ["alive"]
    os.close(lock)
