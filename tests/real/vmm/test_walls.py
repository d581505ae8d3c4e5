"""What stands around a machine: its user, namespaces, filter, control group, and no start without a wall."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.vmm import users
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.launch import Launcher
from tests.support.vmm import as_root, emulated, left_behind, request

pytestmark = emulated


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@as_root
def test_a_machine_is_confined(shared: Launcher) -> None:
    vm = shared.start(request("jail"))
    try:
        pid = vm.pids[0]
        facts = status(pid)
        assert all(int(uid) in range(users.FIRST, users.FIRST + users.COUNT) for uid in facts["Uid"].split())
        assert (facts["NoNewPrivs"], facts["Seccomp"], facts["CapPrm"]) == ("1", "2", "0" * 16)
        root = {path.name for path in Path(f"/proc/{pid}/root").iterdir()}
        assert root <= {"usr", "lib", "lib64", "bin", "sbin", "etc", "dev", "proc"}
        for namespace in ("mnt", "net", "ipc", "uts"):
            assert (
                Path(f"/proc/{pid}/ns/{namespace}").readlink()
                != Path(f"/proc/self/ns/{namespace}").readlink()
            )
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500"
        assert Path(f"/proc/{pid}/net/dev").read_text().count(":") == 1  # lo
    finally:
        vm.close()


def test_without_kvm_nothing_starts_unless_emulation_is_allowed(own: Launcher) -> None:
    with pytest.raises(HostUnfit, match="no usable KVM"):
        own.start(request("wall")._replace(allow_emulation=False))
    assert left_behind(own.paths) == []


@as_root
def test_two_machines_have_two_users(shared: Launcher) -> None:
    first, second = shared.start(request("one")), shared.start(request("two"))
    uids = {status(vm.pids[0])["Uid"] for vm in (first, second)}
    first.close()
    second.close()
    assert len(uids) == 2


@as_root
def test_a_machine_is_in_its_control_group_before_it_runs(shared: Launcher) -> None:
    group = Cgroup(f"bulkhead-test-{os.getpid()}")
    group.create(memory_bytes=1 << 30, cpu_milli=1_000)
    vm = shared.start(request("grouped", cgroup=group.path))
    try:
        assert vm.pids[0] in group.processes()
        assert 1 <= group.memory_limit() <= 1 << 30
    finally:
        vm.close()
        assert group.remove()
    assert not any(directory.exists() for directory in group.directories())
