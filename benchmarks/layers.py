"""How long a root filesystem takes to make, and what its pages cost: `python -m benchmarks.layers --json`.

Works in a directory of its own on the disk that is asked about (`--directory`), and removes it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.layer.archive import write_archive
from sandbox_runtime.rootfs.layer.directory import write_directory
from sandbox_runtime.rootfs.lower import Identity, of_directories
from sandbox_runtime.rootfs.upper import create, used

MIB = 1 << 20
Figures = dict[str, float | int | str]


def main() -> int:
    """Print the figures as a table, or as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument(
        "--directory", type=Path, help="on the disk to measure; default: the temporary directory"
    )
    parser.add_argument("--sizes", default="10,100,500", help="MB of the layers, with commas")
    options = parser.parse_args()
    where = Path(tempfile.mkdtemp(prefix="bulkhead-layers-", dir=options.directory))
    try:
        figures = measure(where, [int(size) for size in options.sizes.split(",")])
    finally:
        shutil.rmtree(where)
    if options.json:
        json.dump(figures, sys.stdout, indent=2)
    else:
        for name, value in figures.items():
            sys.stdout.write(f"{name:45} {value}\n")
    return 0


def measure(where: Path, sizes: list[int]) -> Figures:
    """All figures; times in milliseconds unless the name says otherwise, medians of several runs."""
    figures: Figures = {"cpus": os.cpu_count() or 0}
    for size in sizes:
        figures |= _layer(where / str(size), size)
    return figures | _hit(where) | _uppers(where) | _merge(where) | _sharing(where)


def _layer(where: Path, size: int) -> Figures:
    """One layer of `size` MB: files of 1 B to 4 MB as in a distribution's image, one in eight compressible."""
    tree = _tree(where / "tree", size * 1_000_000)
    packed = where / "layer.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(tree, ".")
    compressed = where / "layer.tar.gz"
    with packed.open("rb") as source, compressed.open("wb") as target:
        subprocess.run(["gzip", "-1c"], stdin=source, stdout=target, check=True)
    ours: list[Callable[[int], object]] = [
        partial(_archive, packed), partial(_archive, compressed), partial(write_directory, str(tree)),
    ]  # fmt: skip
    rounds = 3 if size <= 100 else 1
    times: list[list[float]] = [[], [], [], []]
    for number in range(rounds):  # interleaved, so that a slow moment of the machine falls on all
        for place, build in zip(times, ours, strict=False):
            cache = LayerCache(where / "cache")
            place.append(_timed(partial(cache.acquire, f"layer-{number}", "bench", build)))
            shutil.rmtree(where / "cache")
        times[3].append(_timed(partial(_mkfs, tree, where / "mkfs.erofs")))
    names = ("from tar", "from tar.gz", "from directory", "mkfs.erofs, without fsync and digest")
    files = sum(len(found) for _, _, found in os.walk(tree))
    shutil.rmtree(where)
    medians = {
        f"{size} MB {name}": round(statistics.median(found), 1)
        for name, found in zip(names, times, strict=True)
    }
    return {f"{size} MB files": files, **medians}


def _tree(tree: Path, total: int) -> Path:
    pick = random.Random(total)  # noqa: S311 - the same tree every time
    made = number = 0
    while made < total:
        size = min(int(2 ** pick.uniform(0, 22)), total - made) or 1
        path = tree / f"d{number % 97}" / f"s{number % 11}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size) if number % 8 == 0 else pick.randbytes(size))
        made += size
        number += 1
    return tree


def _archive(path: Path, fd: int) -> int:
    with path.open("rb") as source:
        return write_archive(source, fd)


def _mkfs(tree: Path, image: Path) -> None:
    if shutil.which("mkfs.erofs"):
        subprocess.run(["mkfs.erofs", "--quiet", str(image), str(tree)], check=True, capture_output=True)
        image.unlink()


def _hit(where: Path) -> Figures:
    cache = LayerCache(where / "hits")
    build = partial(_write, b"x" * 4096)
    cache.acquire("layer", "bench", build)
    times = [_timed(partial(cache.acquire, "layer", f"pod{n}", build)) for n in range(500)]
    return {
        "cache hit µs": round(statistics.median(times) * 1000, 1),
        "cache hit p99 µs": round(sorted(times)[494] * 1000),
    }


def _write(content: bytes, fd: int) -> int:
    return os.write(fd, content)


def _uppers(where: Path) -> Figures:
    figures: Figures = {}
    for size in (1, 10, 100):
        paths = [where / f"upper{size}-{number}" for number in range(20)]
        times = [_timed(partial(create, path, size << 30, where / "templates")) for path in paths]
        figures[f"upper of {size} GiB, first"] = round(times[0], 2)
        figures[f"upper of {size} GiB, next"] = round(statistics.median(times[1:]), 2)
        figures[f"upper of {size} GiB, KiB on disk"] = used(paths[1]) >> 10
    return figures


def _merge(where: Path) -> Figures:
    """A hundred layers of 200 files: the first time, and when everything is there."""
    layers = []
    for number in range(100):
        layer = where / "many" / str(number)
        for file in range(200):
            (layer / f"d{file % 20}").mkdir(parents=True, exist_ok=True)
            (layer / f"d{file % 20}" / f"f{number}-{file}").write_bytes(b"x" * 100)
        layers.append((layer, Identity.SNAPSHOT))
    cache = LayerCache(where / "merged")
    of_directories(cache, "bench", layers[:-1])
    first = _timed(partial(of_directories, cache, "bench", layers))
    again = [_timed(partial(of_directories, cache, f"pod{number}", layers)) for number in range(5)]
    return {
        "100 layers, one new, merged": round(first, 1),
        "100 layers, all there": round(statistics.median(again), 1),
    }


def _sharing(where: Path) -> Figures:
    """Ten readers of one layer of 64 MiB, as ten VMMs: proportional set size of each, and pages in memory."""
    image = where / "shared.erofs"
    image.write_bytes(random.Random(0).randbytes(64 * MIB))  # noqa: S311
    readers = [_reader(image) for _ in range(10)]
    try:
        for reader in readers:
            _line(reader)
        shares = [_proportional(reader.pid, image) for reader in readers]
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
            for stream in (reader.stdout, reader.stdin):
                if stream:
                    stream.close()
    total = round(sum(shares) / MIB, 1)
    return {"10 readers of one 64 MiB layer: MiB in memory": total, "the same with a copy each: MiB": 640}


_READER = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        sum(view[::4096])
        print("read", flush=True)
        sys.stdin.read()
"""


def _reader(image: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-S", "-c", _READER, str(image)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(reader: subprocess.Popen[str]) -> None:
    if reader.stdout:
        reader.stdout.readline()


def _proportional(pid: int, image: Path) -> int:
    """Bytes of the image that this process has to answer for: Pss of its mapping."""
    inside = False
    for line in io.StringIO(Path(f"/proc/{pid}/smaps").read_text()):
        if "-" in line.split(" ", 1)[0]:
            inside = line.rstrip().endswith(str(image))
        elif inside and line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    raise SystemExit(main())
