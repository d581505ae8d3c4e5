"""`bulkhead sandbox` as its users run it, in directories of its own, and all that a sandbox could leave behind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm.cgroup import CONTROLLERS, ROOT, Cgroup
from sandbox_runtime.vmm.templates import Templates
from tests.support.layers import archive
from tests.support.vmm import guest_image

BUSYBOX = Path("/bin/busybox")
APPLETS = """
    sh cat echo true false sleep dd date hostname kill id ls mount head tail ps env test tr stty tty uname wc sha256sum
    seq df touch rm yes mkdir printf ln
""".split()  # noqa: SIM905 - as a list it is a page
SECONDS = 240  # of one command: emulation on a loaded machine


class Ran(NamedTuple):
    """A command that has ended."""

    status: int
    out: bytes
    err: bytes


class World:
    """Directories of its own; the guest image comes from the session's cache."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root / "r", root / "c")
        self.box = root / "box"
        self.root = root
        root.chmod(0o755)  # a shared directory is served as somebody who must get there
        self.paths.cache.mkdir(parents=True)
        self.paths.guest.symlink_to(guest_image().kernel.parent.parent)
        lay_out(self.box)

    def argv(self, command: str, *words: str | Path) -> list[str]:
        """A command line."""
        roots = ("--run-root", str(self.paths.run), "--cache-root", str(self.paths.cache))
        return [sys.executable, "-m", "bulkhead", "sandbox", command, *roots, *map(str, words)]

    def __call__(self, command: str, *words: str | Path, stdin: bytes = b"") -> Ran:
        """Run one command to its end."""
        done = subprocess.run(
            self.argv(command, *words), input=stdin, capture_output=True, timeout=SECONDS, check=False
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def run(self, *words: str | Path, stdin: bytes = b"") -> Ran:
        """`run --rm` of busybox under emulation; `words` are options, `--`, and the command."""
        return self("run", *self.options(words), stdin=stdin)

    def options(self, words: Sequence[str | Path]) -> list[str | Path]:
        """Options before the image, the command behind it."""
        at = words.index("--") if "--" in words else 0
        before, command = words[:at], words[at + 1 :] if "--" in words else words
        return ["--rm", "--quiet", "--allow-emulation", "-m", "128M", *before, self.box, *command]

    def popen(
        self, command: str, *words: str | Path, environ: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one command; its streams are pipes."""
        return subprocess.Popen(
            self.argv(command, *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | (environ or {}),
        )

    def detached(self, *words: str | Path) -> str:
        """The id of a sandbox in the background that is not removed by itself."""
        options = [word for word in self.options(words) if word != "--rm"]
        ran = self("run", "-d", *options)
        assert ran.status == 0, ran.err
        return ran.out.decode().strip()

    def outcome(self, sandbox_id: str) -> dict[str, Any]:
        """What is written down about how it stands."""
        found: dict[str, Any] = json.loads((self.paths.sandboxes / sandbox_id / "outcome").read_text())
        return found

    def supervisor(self, sandbox_id: str) -> int:
        """The pid of its supervisor."""
        return int(self.outcome(sandbox_id)["pid"])

    def vmm(self, sandbox_id: str) -> int:
        """The pid of its QEMU."""
        return int(self.outcome(sandbox_id)["vmm"][0])


@contextmanager
def world() -> Iterator[World]:
    """A world; at its end everything is removed. Sockets have short paths, so it is not in pytest's directories."""
    root = Path(tempfile.mkdtemp(prefix="bhs-"))
    made = World(root)
    try:
        yield made
    finally:
        for directory in made.paths.sandboxes.glob("*"):
            made("rm", "--force", directory.name)
        Templates(made.paths).collect(0)
        shutil.rmtree(root)


def lay_out(box: Path) -> None:
    """A root file system of busybox alone."""
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc"):
        (box / name).mkdir(parents=True)
    (box / "tmp").chmod(0o1777)
    (box / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv/app:/bin/sh\n")
    (box / "etc/group").write_text("root:x:0:\napp:x:1001:\nmore:x:1002:app\n")
    shutil.copy(BUSYBOX, box / "bin/busybox")
    for name in APPLETS:
        (box / "bin" / name).symlink_to("busybox")


def oci_layout(
    directory: Path, layers: Sequence[Sequence[tuple[tarfile.TarInfo, bytes]]], config: dict[str, Any]
) -> Path:
    """An image of these layers, lowest first, as an OCI layout; `config` is the inner object of its configuration."""

    def blob(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (directory / "blobs/sha256" / digest).write_bytes(content)
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    (directory / "blobs/sha256").mkdir(parents=True)
    packed = [blob(archive(*layer), "layer.v1.tar") for layer in layers]
    rootfs = {"type": "layers", "diff_ids": [each["digest"] for each in packed]}
    document = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs}
    described = blob(json.dumps(document).encode(), "config.v1+json")
    manifest = {"schemaVersion": 2, "config": described, "layers": packed}
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "manifest.v1+json")]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory


# --- what is left -----------------------------------------------------------------------------------------------


def left_behind(paths: Paths, ids: Iterable[str] = (), taps: Iterable[str] = ()) -> list[str]:
    """Whatever a sandbox could have left on this host, as text; empty when all is gone.

    Processes (also those in the control groups of `ids`), mounts, taps, control groups, files, user ids, references to
    layers. The caches themselves (layers, templates and their holders, guest, empty disks) are meant to stay.
    """
    return [
        *_processes(paths),
        *_mounts(paths),
        *(f"tap {name}" for name in taps if Path("/sys/class/net", name).exists()),
        *_groups(paths, ids),
        *_files(paths),
    ]


def gone(paths: Paths, ids: Iterable[str] = (), taps: Iterable[str] = (), seconds: float = 5.0) -> list[str]:
    """`left_behind`, as soon as that is nothing, or after so many seconds."""
    ids, taps = tuple(ids), tuple(taps)
    until(lambda: not left_behind(paths, ids, taps), seconds)
    return left_behind(paths, ids, taps)


def until(done: Callable[[], object], seconds: float) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _processes(paths: Paths) -> list[str]:
    """Those that name our directories, or have a file or socket of them open."""
    roots = (str(paths.run), str(paths.cache))
    inodes = {
        f"socket:[{line.split()[6]}]"
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]
        if any(root in line for root in roots)
    }
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        if place.name == str(os.getpid()):
            continue
        try:
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            links = {str(fd.readlink()) for fd in (place / "fd").iterdir()}
        except OSError:
            continue
        ours = any(f"{root}/" in f"{words} " or f"{root} " in f"{words} " for root in roots)
        if ours or links & inodes or any(link.startswith(roots) for link in links):
            found.append(f"process {place.name}: {words[:120]}")
    return found


def _mounts(paths: Paths) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"mount {line}" for line in lines if str(paths.run) in line or f"{paths.cache}/sandboxes" in line]


def _groups(paths: Paths, ids: Iterable[str]) -> list[str]:
    """Control groups by the name that `run` gives them, in every hierarchy."""
    roots = [ROOT] if Cgroup("x").unified else [ROOT / name for name in CONTROLLERS]
    places = [root / paths.group(sandbox_id) for root in roots for sandbox_id in ids]
    return [f"cgroup {place}" for place in places if place.is_dir()]


def _files(paths: Paths) -> list[str]:
    places = [
        *paths.sandboxes.glob("*"),
        *paths.uids.glob("*"),
        *paths.stores.glob("*"),
        *paths.layers.glob("references/*/*"),
        *paths.layers.glob("building/*"),
        *paths.templates.glob(".making-*"),
    ]
    return [f"file {place}" for place in places]
