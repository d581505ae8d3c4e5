"""The guest's kernel: the one built here, if there is one, or the ELF vmlinux inside a distribution's bzImage.

PVH enters the kernel directly: no firmware, no 16-bit set-up code, no decompression in the (maybe emulated) guest. The
boot protocol (Documentation/arch/x86/boot.rst) says where the compressed kernel lies in the file.
"""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import HostUnfit

OWN = "own-kernel"  # in the guest cache: what `kernel_build` has left
_ELF = b"\x7fELF"
_SETUP_SECTORS = 0x1F1
_BOOT_MAGIC = 0x202
_PAYLOAD = 0x248  # offset and length, u32 each, from the end of the set-up code
_SECTOR = 512


class KernelFiles(NamedTuple):
    """A kernel as it lies on the host: its release, the file that boots, and the directory of its modules."""

    release: str
    boot_file: Path
    modules: Path


def find_kernel(guest: Path) -> KernelFiles:
    """What boots where nobody says otherwise; `guest`: the guest cache. Raises HostUnfit."""
    return own_kernel(guest) or find_distribution_kernel(Path("/boot"), Path("/lib/modules"))


def own_kernel(guest: Path) -> KernelFiles | None:
    """The kernel that was built for this cache; it has no modules."""
    try:
        return kernel_in((guest / OWN).resolve(strict=True))
    except OSError:
        return None


def kernel_in(home: Path) -> KernelFiles:
    """A kernel as `kernel_build` keeps it."""
    return KernelFiles((home / "release").read_text().strip(), home / "vmlinux", home / "no-modules")


def find_distribution_kernel(boot: Path, modules: Path) -> KernelFiles:
    """The newest cloud kernel below `boot` whose modules are there too. Raises HostUnfit."""
    found = [
        KernelFiles(release, path, modules / release)
        for path in boot.glob("vmlinuz-*-cloud-*")
        if (modules / (release := path.name.removeprefix("vmlinuz-")) / "modules.dep").is_file()
    ]
    if not found:
        raise HostUnfit(
            "guest kernel",
            f"no vmlinuz-*-cloud-* in {boot} with modules in {modules}",
            "apt-get install linux-image-cloud-amd64, or bulkhead guest build-kernel",
        )
    return max(found, key=lambda kernel: _version(kernel.release))


def _version(release: str) -> list[int]:
    return [int(part) for part in release.replace("-", ".").split(".") if part.isdigit()]


def vmlinux(boot_file: bytes) -> bytes:
    """The ELF kernel inside a bzImage; an ELF file is returned as it is. Raises HostUnfit."""
    if boot_file.startswith(_ELF):
        return boot_file
    if boot_file[_BOOT_MAGIC : _BOOT_MAGIC + 4] != b"HdrS":
        raise HostUnfit("guest kernel", "neither a bzImage nor an ELF file", "name another kernel")
    setup = (boot_file[_SETUP_SECTORS] or 4) + 1
    offset, length = struct.unpack_from("<II", boot_file, _PAYLOAD)
    begin = setup * _SECTOR + offset
    elf = _decompress(boot_file[begin : begin + length])
    if not elf.startswith(_ELF):
        raise HostUnfit("guest kernel", "its payload is no ELF file", "name another kernel")
    return elf


def _decompress(payload: bytes) -> bytes:
    # The last four bytes are the size when decompressed, which no decompressor expects.
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(wbits=31).decompress(payload)
    if payload.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMADecompressor().decompress(payload)
    for magic, tool in ((b"\x02\x21\x4c\x18", "lz4"), (b"\x28\xb5\x2f\xfd", "zstd")):
        if payload.startswith(magic):
            return _pipe(tool, payload[:-4])
    raise HostUnfit(
        "guest kernel", f"compressed in an unknown way ({payload[:4].hex()})", "name another kernel"
    )


def _pipe(tool: str, data: bytes) -> bytes:
    if shutil.which(tool) is None:
        raise HostUnfit(tool, f"the kernel is compressed with {tool}", f"apt-get install {tool}")
    run = subprocess.run([tool, "-dc"], input=data, capture_output=True, check=False)
    if run.returncode:
        raise HostUnfit("guest kernel", f"{tool} says {run.stderr[-200:]!r}", "name another kernel")
    return run.stdout
