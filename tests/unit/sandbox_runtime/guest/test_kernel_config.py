"""What the guest's own kernel is built from."""

from __future__ import annotations

from sandbox_runtime.guest.kernel_symbols import CONFIG, dropped_symbols, wanted_symbols

RESOLVED = "CONFIG_PVH=y\n# CONFIG_SWAP is not set\nCONFIG_NR_CPUS=8\n"


def test_a_decision_that_the_kernel_overruled_is_named() -> None:
    wanted = {"CONFIG_PVH": "y", "CONFIG_SWAP": "n", "CONFIG_NR_CPUS": "64", "CONFIG_EROFS_FS": "y"}
    assert dropped_symbols(wanted, RESOLVED) == ["CONFIG_EROFS_FS", "CONFIG_NR_CPUS"]


def test_nothing_is_a_module_and_nothing_is_decided_twice() -> None:
    lines = [line for line in CONFIG.read_text().splitlines() if line.startswith("CONFIG_")]
    assert len(wanted_symbols(CONFIG.read_text())) == len(lines)
    assert "m" not in wanted_symbols(CONFIG.read_text()).values()


def test_what_the_agent_and_the_machine_need_is_built_in() -> None:
    wanted = wanted_symbols(CONFIG.read_text())
    needed = "PVH VIRTIO_MMIO VIRTIO_BLK VIRTIO_CONSOLE SCSI_VIRTIO EROFS_FS EXT4_FS OVERLAY_FS VIRTIO_FS CGROUP_BPF"
    assert all(wanted[f"CONFIG_{name}"] == "y" for name in needed.split())
