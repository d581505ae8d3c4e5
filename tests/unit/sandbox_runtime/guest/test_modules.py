"""Which modules the guest carries, and in which order they load."""

from __future__ import annotations

from sandbox_runtime.guest.modules import Dependencies, choose

MODULES_DEP = """\
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_mmio.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/lib/libcrc32c.ko.xz:
kernel/fs/erofs/erofs.ko: kernel/lib/libcrc32c.ko.xz
kernel/fs/overlayfs/overlay.ko:
"""


def test_dependencies_load_first() -> None:
    files = Dependencies(MODULES_DEP).files(("virtio_mmio", "erofs"))
    names = [file.name for file in files]
    assert names == ["virtio_ring.ko", "virtio.ko", "virtio_mmio.ko", "libcrc32c.ko.xz", "erofs.ko"]


def test_a_name_is_found_with_either_dash() -> None:
    assert (
        Dependencies(MODULES_DEP).files(("virtio_rng",))
        == Dependencies(MODULES_DEP).files(("virtio-rng",))
        != []
    )


def test_what_is_built_in_is_left_out() -> None:
    assert Dependencies(MODULES_DEP).files(("ext4",)) == []


def test_the_index_says_what_a_device_and_a_filesystem_need() -> None:
    chosen = choose(MODULES_DEP)
    assert chosen.boot_index == "boot: virtio_ring.ko virtio.ko virtio_mmio.ko libcrc32c.ko.xz erofs.ko\n"
    lines = chosen.image_index.splitlines()
    assert "virtio:4: virtio-rng.ko" in lines
    assert "fs:overlay: overlay.ko" in lines
    assert "virtio:8: " not in lines or "virtio:8:" in [line.strip() for line in lines]
    assert {file.name for file in chosen.image_files} == {"virtio-rng.ko", "overlay.ko"}


def test_a_kernel_without_modules_needs_none() -> None:
    assert choose("").boot_files == choose("").image_files == ()
