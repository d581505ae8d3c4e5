"""The memory of a template: a sealed memfd that all machines of the template map private.

QEMU opens its memory file for writing even where it maps it private: a file with a name could be changed by a VMM that
was taken over, under every other tenant. A memfd that is sealed (fcntl(2), F_SEAL_WRITE) cannot be written by anybody,
and a private mapping of it still copies on write. It lives as long as somebody holds it: a `sleep` that does nothing
else does. Where that holder is gone (reboot, killed) the memory is loaded again from the template's file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sandbox_runtime import digests
from sandbox_runtime.errors import TemplateUnusable
from sandbox_runtime.vmm.confine import Confinement
from sandbox_runtime.vmm.processes import Process
from sandbox_runtime.vmm.spawn import spawn

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
HELD = 3  # the descriptor's number in its holder
CHUNK = 1 << 20
NAME = "bulkhead-template"
HOLDER = ("/bin/sleep", "infinity")


def create(size_bytes: int) -> int:
    """Memory for a template in the making."""
    fd = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size_bytes)
    return fd


def seal(fd: int) -> None:
    """Nobody writes to it from now on. Fails (EBUSY) while a shared mapping exists."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)


def save(fd: int, place: Path) -> str:
    """Write the memory to a sparse file, down to the disk; returns its digest."""
    with place.open("xb") as file:
        _copy(fd, file.fileno())
        file.truncate(os.fstat(fd).st_size)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return digests.apart(lambda: _digest(fd))


def load(place: Path, size_bytes: int, digest: str) -> int:
    """A sealed copy of a saved memory. TemplateUnusable where it is not what was saved."""
    fd = create(size_bytes)
    try:
        _fill(fd, place, digest)
        seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_holder(process: Process) -> bool:
    """Whether `process` is one that `hold` has started."""
    with suppress(OSError):
        argv = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        held_file = str(Path(f"/proc/{process.pid}/fd/{HELD}").readlink())
        return argv[:2] == [word.encode() for word in HOLDER] and held_file.startswith(f"/memfd:{NAME}")
    return False


def _fill(fd: int, place: Path, digest: str) -> None:
    with place.open("rb") as file:
        same_size = os.fstat(file.fileno()).st_size == os.fstat(fd).st_size
        if same_size:
            _copy(file.fileno(), fd)
        if not same_size or _digest(fd) != digest:
            raise TemplateUnusable(f"{place} is not what was saved")
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def hold(fd: int, cgroup: tuple[Path, ...]) -> Process:
    """Start the process that keeps `fd` open when we are gone; a grandchild, so that it is init's to reap."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            holder = spawn(HOLDER, [(fd, HELD)], Confinement(cgroup=cgroup, die_with_parent=False)).process
            os.write(writer, str(holder).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    said = os.read(reader, 200).decode()
    os.close(reader)
    if not said:
        raise TemplateUnusable("no process could be started that holds its memory")
    return Process.parse(said)


def load_apart(place: Path, size_bytes: int, digest: str, cgroup: tuple[Path, ...]) -> int:
    """`load` in a child in `cgroup`: pages are charged to the group of whoever writes them first."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        _load_and_send(theirs, place, size_bytes, digest, cgroup)
    theirs.close()
    with ours:
        why, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    os.waitpid(child, 0)
    if not fds:
        raise TemplateUnusable(why.decode(errors="replace") or f"{place}: its loader died")
    os.set_inheritable(fds[0], False)
    return fds[0]


def _load_and_send(
    theirs: socket.socket, place: Path, size_bytes: int, digest: str, cgroup: tuple[Path, ...]
) -> None:
    """The child; never returns."""
    try:
        for file in cgroup:
            file.write_text("0")
        socket.send_fds(theirs, [b"loaded"], [load(place, size_bytes, digest)])
    except BaseException as error:
        theirs.send(str(error).encode()[:4000] or b"failed")
    finally:
        os._exit(0)


def held(holder: Process) -> int | None:
    """The memory that `holder` keeps, or None where it is gone or holds no sealed memory."""
    if not holder.alive():
        return None
    try:
        fd = os.open(f"/proc/{holder.pid}/fd/{HELD}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
    except OSError:
        sealed = 0
    if not sealed:
        os.close(fd)
        return None
    return fd


def _copy(source: int, target: int) -> None:
    """Copy what is no hole and no zeroes."""
    for offset, data in _blocks(source):
        os.pwrite(target, data, offset)


def _digest(fd: int) -> str:
    """Of places and contents, where there are any."""
    whole = digests.sha256()
    for offset, data in _blocks(fd):
        whole.update(b"%d:%d:" % (offset, len(data)))
        whole.update(data)
    return whole.hexdigest()


def _blocks(fd: int) -> Iterator[tuple[int, bytes]]:
    """(offset, data) of a file in aligned blocks of 1 MiB, those left out that are holes or zeroes: they read alike."""
    offset, size = 0, os.fstat(fd).st_size
    while offset < size:
        try:
            offset = os.lseek(fd, offset, os.SEEK_DATA) // CHUNK * CHUNK
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        data = os.pread(fd, min(CHUNK, size - offset), offset)
        if data.count(0) != len(data):
            yield offset, data
        offset += CHUNK
