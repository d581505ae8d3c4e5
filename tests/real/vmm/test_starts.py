"""Real machines under emulation: booted, restored, with devices of every kind, and gone without a trace."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from sandbox_runtime.vmm import tap
from sandbox_runtime.vmm.launch import Launcher
from sandbox_runtime.vmm.overhead import overhead
from tests.support.vmm import answers, as_root, at_home, emulated, left_behind, request, session

pytestmark = emulated

BOOTS = int(os.environ.get("BULKHEAD_BOOTS", "1"))
RESTORES = int(os.environ.get("BULKHEAD_RESTORES", "5"))


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def descriptors_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_cold_boot_brings_an_agent_and_leaves_nothing(shared: Launcher) -> None:
    for index in range(BOOTS):
        vm = shared.start(request(f"cold{index}", use_template=False))
        try:
            assert answers(vm), vm.console()
            assert not vm.started.restored
        finally:
            vm.close()
        assert left_behind(shared.paths) == []


def test_restores_bring_an_agent_each_and_leave_nothing(shared: Launcher) -> None:
    shared.start(request("first")).close()
    before = children()
    descriptors = descriptors_open()
    for index in range(RESTORES):
        vm = shared.start(request(f"r{index}"))
        try:
            assert answers(vm), vm.console()
            assert vm.started.restored, vm.started.why_cold
        finally:
            vm.close()
    assert left_behind(shared.paths) == []
    assert children() == before
    assert descriptors_open() == descriptors


@as_root
def test_a_machine_with_a_network_card_is_restored_too(own: Launcher) -> None:
    card = tap.open_tap(f"bh{os.getpid()}")
    try:
        vm = own.start(request("wired")._replace(tap=card))
        try:
            assert vm.started.restored, vm.started.why_cold
            with session(vm) as channel:
                guest = at_home(channel)
                assert b"eth0" in guest.run(["cat", "/proc/1/net/dev"], namespaces=[{"type": "mount"}]).stdout
        finally:
            vm.close()
    finally:
        os.close(card)
    assert not Path(f"/sys/class/net/bh{os.getpid()}").exists()


@as_root
def test_a_machine_with_a_directory_of_the_host_is_booted(own: Launcher, tmp_path: Path) -> None:
    daemon = Path("/usr/lib/qemu/virtiofsd")
    if not daemon.exists():
        pytest.skip("no C virtiofsd here: apt-get install qemu-system-common")
    (tmp_path / "shared").mkdir()
    socket_path = tmp_path / "s"
    argv = [
        str(daemon),
        f"--socket-path={socket_path}",
        "-o",
        f"source={tmp_path}/shared",
        "-o",
        "sandbox=chroot",
    ]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as serving:
        while not socket_path.exists():
            time.sleep(0.01)
        with socket.socket(socket.AF_UNIX) as way:
            way.connect(str(socket_path))
            vm = own.start(request("sharing")._replace(shares=(("host", way.fileno()),)))
        try:
            assert not vm.started.restored
            assert "virtiofs" in vm.started.why_cold
            assert answers(vm)
        finally:
            vm.close()
            serving.kill()


def test_the_overhead_is_told_apart_from_the_memory_of_the_guest(shared: Launcher) -> None:
    vm = shared.start(request("cost"))
    try:
        assert answers(vm)
        cost = overhead(vm, helpers=[os.getpid()])
    finally:
        vm.close()
    assert cost.accel == "tcg"
    assert 0 < cost.guest_private_bytes + cost.guest_template_bytes < vm.memory_bytes
    assert 0 < cost.translated_bytes <= 64 << 20
    assert 0 < cost.vmm_bytes < 100 << 20
    held = cost.vmm_bytes + cost.translated_bytes + cost.helper_bytes
    assert cost.total_bytes == held + cost.guest_private_bytes + cost.guest_template_bytes
    assert cost.further_bytes == cost.total_bytes - cost.guest_template_bytes
