"""The storage table: every way by which a container reaches files, beside the raw disk in the same guest and the host.

All ways end in files of one host directory. They take turns, so that a change of the machine's load meets all of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.sandbox import nfs
from benchmarks.sandbox.inside import Inside, inside
from benchmarks.sandbox.load_program import compile_load
from benchmarks.sandbox.ninep import MOUNT, TAG, NinepLauncher
from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.model import MIB, GuestImage, NetKind, Nic, Volume, VolumeKind
from sandbox_runtime.rootfs.plan import Disk
from sandbox_runtime.vmm.launch import Launcher, Request

SIZE = 64 * MIB
DISK_BYTES = 256 * MIB
NET = Nic(NetKind.TAP, "bench0", addresses=("10.99.0.2/24",), gateway="10.99.0.1")
BLOCKS = {"seq": 1 << 20, "rand": 4096}
NO_DIRECT = frozenset({"tmpfs"})  # page cache is all that it is
BAR, BARRED = 0.95, ("rootfs", "block volume", "emptyDir (disk)")
HOST, RAW = "host", "raw disk"
CACHED = "raw disk (host's cache)"  # what 9p and virtiofs read from too; other disks go around it
NINEP, RAW_NINEP = "hostPath (9p)", "raw disk (9p's guest)"


class Work(NamedTuple):
    """What is done: `read` or `write`, `seq` in 1 MiB or `rand` in 4 KiB, `direct` (O_DIRECT) or `buffered`."""

    access: str
    pattern: str
    mode: str

    @property
    def unit(self) -> str:
        """Of the figures."""
        return "MiB/s" if self.pattern == "seq" else "IOPS"


WORKS = [Work(*words) for words in product(("read", "write"), ("seq", "rand"), ("direct", "buffered"))]


class Row(NamedTuple):
    """One way doing one work: median in `unit`, and over what the raw disk in the guest and the host reach with it."""

    way: str
    work: Work
    figure: float
    unit: str
    of_raw: float
    of_host: float
    rounds: int


class Storage(NamedTuple):
    """The table, and what is not in it with the reason."""

    rows: list[Row]
    skipped: list[str]

    def misses(self) -> list[str]:
        """The ways that must be as fast as the raw disk, and are not."""
        return [
            f"{row.way} {' '.join(row.work)}: {row.of_raw:.2f} of the raw disk, bar {BAR}"
            for row in self.rows
            if row.way in BARRED and row.work.mode == "direct" and row.of_raw < BAR
        ]


Runner = Callable[[Sequence[str]], bytes]
Figures = dict[tuple[str, Work], list[float]]  # by way and work, one for each round


def storage(
    launcher: Launcher,
    request: Request,
    folder: Path,
    rounds: int,
    milliseconds: int,
    ninep: GuestImage | None = None,
) -> Storage:
    """Measure. `request` is booted, not restored: virtiofs needs that. `ninep` is a guest whose kernel has 9p."""
    folder.chmod(0o711)  # directories in it are shared as a stranger sees them
    program = compile_load(folder, launcher.paths.cache / "go-cache")
    skipped = (
        []
        if ninep
        else [f"{NINEP}: n/a, linux-image-cloud-amd64 has none; --generic-kernel names one that has"]
    )
    with ExitStack() as stack:
        volumes, nic = _volumes(folder, stack, skipped)
        disks = [
            Disk("raw", (_file(folder / "raw.img"),)),
            Disk("cached", (_file(folder / "cached.img"),), shared=True),
        ]
        found = stack.enter_context(
            inside(launcher, request._replace(use_template=False), program, volumes, disks, nic)
        )
        ways = _ways(found, program, folder, volumes)
        if ninep:
            ways |= _over_ninep(launcher, request._replace(id="bench9", guest=ninep), program, folder, stack)
        figures: Figures = {key: [] for key in product(ways, WORKS)}
        for number in range(rounds):
            for work in WORKS:
                for way in list(ways)[:: -1 if number % 2 else 1]:
                    _measure(ways[way], work, milliseconds, figures[way, work], skipped, way)
    return Storage(_rows(ways, figures, rounds), list(dict.fromkeys(skipped)))


def _volumes(folder: Path, stack: ExitStack, skipped: list[str]) -> tuple[list[Volume], Nic]:
    """Names are those of the table; `nfs` only where a server can be had."""
    shared, exported, block = folder / "shared", folder / "exported", _file(folder / "block.img")
    for directory in (shared, exported):
        directory.mkdir()
        directory.chmod(0o777)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(block)], check=True)
    volumes = [
        Volume("block", VolumeKind.BLOCK, str(block)),
        Volume("disk", VolumeKind.DISK, size_bytes=DISK_BYTES),
        Volume("tmpfs", VolumeKind.TMPFS, size_bytes=2 * SIZE),
        Volume("virtiofs", VolumeKind.VIRTIOFS, str(shared)),
    ]
    try:
        stack.enter_context(nfs.serving(exported, folder))
    except HostUnfit as error:
        skipped.append(f"NFS: {error}")
        return volumes, Nic()
    options = ("vers=4.1", "nolock", "soft", "timeo=100")
    return [*volumes, Volume("nfs", VolumeKind.NFS, "10.99.0.1:/data", options=options)], NET


def _file(path: Path) -> Path:
    """An image with all of its blocks there, so that nothing is allocated while it is measured."""
    with path.open("wb") as file:
        for _ in range(DISK_BYTES // MIB):
            file.write(os.urandom(MIB))
    return path


NAMES = {
    "block": "block volume", "disk": "emptyDir (disk)", "tmpfs": "emptyDir (tmpfs)",
    "virtiofs": "hostPath (virtiofs)", "nfs": "NFS",
}  # fmt: skip


def _ways(
    found: Inside, program: Path, folder: Path, volumes: Sequence[Volume]
) -> dict[str, tuple[Runner, str]]:
    def on_host(words: Sequence[str]) -> bytes:
        return subprocess.run([str(program), *words], capture_output=True, check=True).stdout

    in_guest = _in_guest(found)
    places = {NAMES[volume.name]: (in_guest, f"/{volume.name}/file") for volume in volumes}
    return {
        HOST: (on_host, str(folder / "raw.img")),
        RAW: (in_guest, "serial:raw"),
        CACHED: (in_guest, "serial:cached"),
        "rootfs": (in_guest, "/file"),
        **places,
    }


def _over_ninep(
    launcher: Launcher, request: Request, program: Path, folder: Path, stack: ExitStack
) -> dict[str, tuple[Runner, str]]:
    """A second guest with another kernel, so with a raw disk of its own to be compared with."""
    directory = folder / "ninep"
    directory.mkdir()
    raw = Disk("raw", (_file(folder / "raw9.img"),))
    cold = request._replace(use_template=False)
    found = stack.enter_context(
        inside(NinepLauncher(launcher, directory), cold, program, (), [raw], Nic(), [MOUNT])
    )
    runner = _in_guest(found)
    return {RAW_NINEP: (runner, "serial:raw"), NINEP: (runner, f"/{TAG}/file")}


def _in_guest(found: Inside) -> Runner:
    def run(words: Sequence[str]) -> bytes:
        output = found.run(["/bin/load", *words])
        if output.code:
            raise OSError(output.stderr.decode(errors="replace").strip())
        return output.stdout

    return run


def _measure(
    way: tuple[Runner, str], work: Work, milliseconds: int, into: list[float], skipped: list[str], name: str
) -> None:
    runner, place = way
    words = [place, *work, str(BLOCKS[work.pattern]), str(SIZE), str(milliseconds)]
    try:
        done = json.loads(runner(words))
    except (OSError, subprocess.CalledProcessError) as error:
        skipped.append(f"{name}, {work.mode}: {error}")
        return
    amount = done["bytes"] / MIB if work.pattern == "seq" else done["operations"]
    into.append(amount / done["seconds"])


def _raw(way: str) -> str:
    """The raw disk of the same guest."""
    return RAW_NINEP if way in (NINEP, RAW_NINEP) else RAW


def _rows(
    ways: dict[str, tuple[Runner, str]], figures: dict[tuple[str, Work], list[float]], rounds: int
) -> list[Row]:
    middle = {key: statistics.median(values) if values else 0.0 for key, values in figures.items()}
    return [
        Row(
            way, work, round(middle[way, work], 1), work.unit,
            round(middle[way, work] / middle[_raw(way), work], 3),
            round(middle[way, work] / middle[HOST, work], 3), rounds,
        )
        for way, work in product(ways, WORKS)
        if middle[way, work] and middle[_raw(way), work] and middle[HOST, work]
    ]  # fmt: skip
