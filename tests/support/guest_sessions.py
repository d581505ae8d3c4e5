"""A running guest with a channel to its agent, and the few words of OCI that its tests need."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sandbox_runtime.channel import Channel, Reader, Writer
from sandbox_runtime.guest.build import build
from sandbox_runtime.model import GuestImage
from sandbox_runtime.paths import Paths
from sandbox_runtime.protocol import messages
from tests.support.guest_machine import GuestMachine, running

BUSYBOX = Path("/bin/busybox")
ROOTFS = "/run/rootfs"
_APPLETS = """
    sh cat echo true false sleep dd date hostname kill id ls mount head sha256sum tail ps env test tr stty tty stat ip
"""
NO_STDIO = messages.Stdio(0, 0, 0, False, 0, 0)


class Finished(NamedTuple):
    """What a process left: exit status and output."""

    code: int
    stdout: bytes
    stderr: bytes


def archive(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A tar archive of executable files and symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return buffer.getvalue()


def config(argv: Sequence[str], **extra: Any) -> str:
    """A config.json: own pid, ipc, uts and mount namespaces; `extra` goes into its linux part."""
    spaces = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network", "cgroup")]
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666"],
        },
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
    ]
    return json.dumps(
        {
            "ociVersion": "1.0.2",
            "process": process(argv),
            "root": {"path": "rootfs", "readonly": False},
            "hostname": "inside",
            "mounts": mounts,
            "linux": {"namespaces": spaces, "resources": {}} | extra,
        }
    )


def process(argv: Sequence[str]) -> dict[str, Any]:
    """An OCI process object, as root."""
    return {"args": list(argv), "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}}


class GuestSession:
    """One guest, one channel."""

    def __init__(self, machine: GuestMachine, channel: Channel) -> None:
        self.machine, self.channel = machine, channel
        self._names = 0

    def close(self) -> None:
        """Close whatever channel is the current one."""
        self.channel.close()

    def name(self) -> str:
        self._names += 1
        return f"n{self._names}"

    def put(self, target: str, content: bytes, atomic: bool = False) -> None:
        """Unpack an archive in the guest."""
        writer = self.channel.writer()
        answers: list[Any] = []
        self.channel.request("put_files", messages.PutFiles(target, writer.number, atomic), answers.append)
        writer.write_all(content, 60)
        writer.end()
        self.channel.run_until(lambda: bool(answers), 60)
        assert answers == [messages.Nothing()]

    def lay_out_rootfs(self) -> None:
        """A root file system of one static program under many names."""
        links = {f"bin/{name}": "busybox" for name in _APPLETS.split()}
        self.put(ROOTFS, archive({"bin/busybox": BUSYBOX.read_bytes(), "tmp/.keep": b""}, links))

    def create(
        self, argv: Sequence[str], stdin: int = 0, terminal: bool = False, **extra: Any
    ) -> tuple[str, Reader, Reader]:
        """A container that waits for `start`; its name, stdout and stderr."""
        name, out, err = self.name(), self.channel.reader(), self.channel.reader()
        stdio = messages.Stdio(stdin, out.number, 0 if terminal else err.number, terminal, 24, 80)
        self.channel.call("create", messages.Create(name, config(argv, **extra), ROOTFS, stdio), 60)
        return name, out, err

    def start(self, name: str) -> None:
        self.channel.call("start", messages.Name(name, ""), 60)

    def wait(self, name: str, exec_id: str = "") -> int:
        exited: messages.Exited = self.channel.call("wait", messages.Name(name, exec_id), 120)
        return exited.code

    def remove(self, name: str, exec_id: str = "") -> None:
        self.channel.call("remove", messages.Name(name, exec_id), 60)

    def run(self, argv: Sequence[str], **extra: Any) -> Finished:
        """Create, start, wait, collect, remove."""
        name, out, err = self.create(argv, **extra)
        self.start(name)
        stdout, stderr = self.collect(out, err)
        finished = Finished(self.wait(name), stdout, stderr)
        self.remove(name)
        return finished

    def collect(self, *readers: Reader) -> list[bytes]:
        """Everything that comes on several streams at once: a process that fills one must not wait for another."""
        parts = [bytearray() for _ in readers]
        while not all(reader.ended for reader in readers):
            self.channel.run_until(
                lambda: any(r.stream.waiting for r in readers) or all(r.ended for r in readers), 60
            )
            for part, reader in zip(parts, readers, strict=True):
                part.extend(reader.take())
        return [bytes(part) for part in parts]

    def exec(self, container: str, argv: Sequence[str], stdin: bytes | None = None) -> Finished:
        """Run a process in a container."""
        exec_id, out, err = self.name(), self.channel.reader(), self.channel.reader()
        writer = self.channel.writer() if stdin is not None else None
        stdio = messages.Stdio(writer.number if writer else 0, out.number, err.number, False, 0, 0)
        self.channel.call("exec", messages.Exec(container, exec_id, json.dumps(process(argv)), stdio), 60)
        if writer is not None:
            feed(writer, stdin or b"")
        stdout, stderr = self.collect(out, err)
        finished = Finished(self.wait(container, exec_id), stdout, stderr)
        self.remove(container, exec_id)
        return finished


def feed(writer: Writer, data: bytes) -> None:
    """Give all of `data` as room comes, then end; returns at once, the channel's pump does the rest."""
    rest = memoryview(data)

    def move() -> None:
        nonlocal rest
        rest = rest[writer.give(rest) :]
        if not rest and not writer.broken:
            writer.end()

    writer.on_move = move
    move()


@contextlib.contextmanager
def booted(guest: GuestImage, memory: str = "256M", extra: Sequence[str] = ()) -> Iterator[GuestSession]:
    """A booted guest that said hello."""
    folder = Path(tempfile.mkdtemp(prefix="bh-guest-"))
    try:
        with running(guest, folder, memory, extra) as machine, contextlib.ExitStack() as stack:
            session = GuestSession(machine, Channel(machine.connect()))
            stack.callback(session.close)
            try:
                session.channel.greet(90)
            except Exception as error:
                raise AssertionError(f"no hello; the console: {machine.console()}") from error
            yield session
    finally:
        shutil.rmtree(folder)


def guest_image(cache: Path) -> GuestImage:
    """The guest, built once for a cache directory."""
    return build(Paths(cache / "run", cache))
