"""Disks that come to a running machine and go, and those that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_runtime.errors import BadInput, VmmFailed
from sandbox_runtime.model import Io
from sandbox_runtime.vmm.launch import Launcher
from tests.support.vmm import answers, emulated, request

pytestmark = emulated


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A disk of 1 MiB, empty."""
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    return tmp_path / "image"


def test_disks_come_and_go_while_the_guest_runs(shared: Launcher, tmp_path: Path) -> None:
    data, more = tmp_path / "data", tmp_path / "more"
    for image in (data, more):
        image.write_bytes(bytes(1 << 20))
    vm = shared.start(request("disks"))
    try:
        assert answers(vm)
        with data.open("r+b") as writable, more.open("rb") as readable:
            vm.disks.attach("data", writable.fileno(), "serial-1", io=Io(write_iops=100))
            vm.disks.attach("more", readable.fileno(), "serial-2", read_only=True)
        vm.disks.throttle("data", Io(read_iops=50))
        assert set(vm.disks.statistics()) == {"data", "more"}
        for name in ("data", "more"):
            vm.disks.detach(name)
        assert vm.disks.statistics() == {}
        assert [fds["fdset-id"] for fds in vm.qmp.command("query-fdsets") if fds["fds"]] == []
    finally:
        vm.close()


def test_a_disk_that_another_machine_writes_is_refused_and_no_part_of_it_stays(
    shared: Launcher, image: Path
) -> None:
    first, second = shared.start(request("first")), shared.start(request("second"))
    try:
        assert answers(second)
        with image.open("r+b") as ours, image.open("r+b") as theirs:
            first.disks.attach("mine", ours.fileno(), "s")
            with pytest.raises(VmmFailed, match="lock"):
                second.disks.attach("mine", theirs.fileno(), "s", io=Io(write_iops=1))
        assert [fds for fds in second.qmp.command("query-fdsets") if fds["fds"]] == []
        assert second.qmp.command("qom-list", path="/objects") == first.qmp.command(
            "qom-list", path="/objects"
        )
        first.kill()
        assert first.wait(5)
        with image.open("r+b") as again:
            second.disks.attach("mine", again.fileno(), "s", io=Io(write_iops=1))
    finally:
        first.close()
        second.close()


def test_a_disk_whose_file_is_open_the_wrong_way_is_refused_before_qemu_is_asked(
    shared: Launcher, image: Path
) -> None:
    vm = shared.start(request("wrong"))
    try:
        with image.open("rb") as readable, pytest.raises(BadInput, match="both ways"):
            vm.disks.attach("d", readable.fileno(), "s")
        with image.open("rb") as readable, pytest.raises(BadInput, match="no name"):
            vm.disks.attach("d,x=y", readable.fileno(), "s", read_only=True)
        with image.open("rb") as readable, pytest.raises(BadInput, match="serial"):
            vm.disks.attach("d", readable.fileno(), "s" * 37, read_only=True)
    finally:
        vm.close()
