"""Which kernel modules the guest carries, in which order they load. Pure: text of modules.dep in, index out.

The agent (modules.go) reads the index: one line per key, `key: file file …`, dependencies first. Keys: `boot` (from the
initramfs), `virtio:N` (when a device of virtio type N is there), `fs:KIND` (when such a filesystem is mounted),
`name:MODULE` (when the kernel asks modprobe for it).
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple

# crc32c_generic: libcrc32c, below erofs, asks for it by name; cloud kernels have it built in
_BOOT = ("virtio_mmio", "virtio_blk", "virtio_console", "crc32c_generic", "erofs")
_WANTED = {
    "virtio:1": ("virtio_net",),
    "virtio:4": ("virtio-rng",),
    "virtio:5": ("virtio_balloon",),
    "virtio:8": ("virtio_scsi", "sd_mod"),
    "virtio:26": ("virtiofs",),
    "fs:overlay": ("overlay",),
    "fs:virtiofs": ("virtiofs",),
    "fs:ext4": ("ext4",),  # built into a cloud kernel
    "fs:9p": (
        "9p",
        "9pnet_virtio",
    ),  # not in a cloud kernel; no sandbox asks for it, the storage benchmark does
    "fs:xfs": ("xfs",),
    "fs:nfs": ("nfsv3",),
    "fs:nfs4": ("nfsv4",),
}
_BY_NAME = """
    overlay fuse tun veth bridge dummy ip_tables ip6_tables iptable_nat iptable_filter iptable_mangle iptable_raw
    ip6table_filter ip6table_nat ip6table_mangle nf_tables nft_compat nft_chain_nat nft_ct nft_nat nft_masq nft_redir
    nft_reject_inet nf_conntrack nf_nat xt_conntrack xt_MASQUERADE xt_REDIRECT xt_owner xt_comment xt_addrtype
    xt_multiport xt_mark xt_connmark xt_nat xt_tcpudp xt_REJECT nf_conntrack_netlink nfnetlink
"""


class ModuleSet(NamedTuple):
    """Index text, and the files behind it relative to the release's module directory."""

    boot_files: tuple[PurePosixPath, ...]
    boot_index: str
    image_files: tuple[PurePosixPath, ...]
    image_index: str


class Dependencies:
    """What modules.dep says: each module's file and those that must be loaded before it."""

    def __init__(self, modules_dep: str) -> None:
        self._files: dict[str, PurePosixPath] = {}
        self._before: dict[str, list[str]] = {}
        for line in modules_dep.splitlines():
            path, _, needs = line.partition(":")
            name = _name(path)
            self._files[name] = PurePosixPath(path)
            # modules.dep lists the nearest dependency first; loading goes the other way
            self._before[name] = [_name(need) for need in reversed(needs.split())]

    def files(self, wanted: tuple[str, ...]) -> list[PurePosixPath]:
        """Files in load order; a module that this kernel has built in, or not at all, is left out."""
        order: dict[PurePosixPath, None] = {}
        for name in (_name(each) for each in wanted):
            for each in (*self._before.get(name, ()), name):
                if each in self._files:
                    order[self._files[each]] = None
        return list(order)


def choose(modules_dep: str, modules_alias: str = "") -> ModuleSet:
    """The modules of the guest, from a kernel's modules.dep and modules.alias."""
    dependencies = Dependencies(modules_dep)
    boot = dependencies.files(_BOOT)
    late = {key: dependencies.files(names) for key, names in _WANTED.items()}
    late |= {f"name:{_name(name)}": dependencies.files((name,)) for name in _BY_NAME.split()}
    late |= {f"name:{alias}": late[f"name:{name}"] for alias, name in _aliases(modules_alias)}
    lines = [_line(key, [file for file in files if file not in boot]) for key, files in late.items()]
    everything = {file for files in late.values() for file in files} - set(boot)
    return ModuleSet(tuple(boot), _line("boot", boot), tuple(sorted(everything)), "".join(lines))


def _aliases(modules_alias: str) -> list[tuple[str, str]]:
    """Other names (`nft-chain-2-nat`) under which the kernel asks for modules that the guest has; patterns left out."""
    words = (line.split() for line in modules_alias.splitlines() if line.startswith("alias "))
    known = {_name(name) for name in _BY_NAME.split()}
    return sorted(
        (_name(word[1]), _name(word[2]))
        for word in words
        if len(word) == 3 and _name(word[2]) in known and not set("*?[:") & set(word[1])
    )


def _line(key: str, files: list[PurePosixPath]) -> str:
    return f"{key}: {' '.join(file.name for file in files)}\n"


def _name(path: str) -> str:
    return PurePosixPath(path).name.split(".")[0].replace("-", "_")
