"""Booted machines to restore from: one directory each, made by whoever needs it first, trusted by digest alone.

<templates>/<key>/state      device state, some 70 KB
<templates>/<key>/memory     sparse image of the guest's memory, loaded once per boot of the host
<templates>/<key>/facts      sizes and digests of both; written last, the directory is renamed into place after it
<templates>/<key>.lock       held (flock) while it is made or loaded; the kernel drops it when the maker dies
<run>/templates/<key>        which process holds the loaded memory
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import HostUnfit, JournalCorrupt, TemplateUnusable
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm import memory
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.processes import Process

STATE_LIMIT = 16 << 20  # device state of a microvm is some 70 KB


class Template(NamedTuple):
    """An open template; the caller closes both descriptors."""

    key: str
    state: int
    memory: int

    def close(self) -> None:
        """Machines that map the memory keep it."""
        os.close(self.state)
        os.close(self.memory)


class Facts(NamedTuple):
    """What is known of a stored template."""

    memory_bytes: int
    memory_digest: str
    state_digest: str


Make = Callable[[int, int], None]  # boots into the memory descriptor, writes device state to the other one


class Templates:
    """The templates of a host; any number of processes may use one store at once."""

    def __init__(self, paths: Paths, cgroup: Cgroup | None = None) -> None:
        self.root = paths.templates
        self.holders = paths.run / "templates"
        self.cgroup = Cgroup(paths.template_group()) if cgroup is None else cgroup

    def ensure(self, key: str, memory_bytes: int, make: Make) -> Template:
        """The template of `key`, made by `make` where there is none or none that can be trusted."""
        ready = self._ready(key)
        if ready is not None:
            return ready
        self.root.mkdir(parents=True, exist_ok=True)
        with self._locked(key):
            return self._ready(key) or self._loaded(key) or self._made(key, memory_bytes, make)

    def discard(self, key: str) -> None:
        """Remove a template and let its memory go; machines that run from it go on."""
        with self._locked(key):
            self._drop(key)

    def keys(self) -> list[str]:
        """All templates, the one that was not used for the longest time first."""
        found = [path.parent for path in self.root.glob("[!.]*/facts")]
        return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def stored_bytes(self, key: str) -> int:
        """What a template takes on disk; its loaded memory takes as much again."""
        return sum(file.stat().st_blocks * 512 for file in (self.root / key).iterdir())

    def collect(self, cap_bytes: int, in_use: frozenset[str] = frozenset()) -> list[str]:
        """Remove templates, least recently used first, until they fit `cap_bytes`; never one in use. Returns which."""
        sizes = {key: self.stored_bytes(key) for key in self.keys()}
        removed = []
        for key in list(sizes):
            if sum(sizes.values()) <= cap_bytes:
                break
            if key not in in_use:
                self.discard(key)
                removed.append(key)
                del sizes[key]
        self._sweep()
        if not self.keys():
            self.cgroup.remove()
        return removed

    # --- steps ----------------------------------------------------------------------------------------------

    def _ready(self, key: str) -> Template | None:
        """Loaded already, by somebody."""
        try:
            held = memory.held(Process.parse((self.holders / key).read_text()))
        except (OSError, JournalCorrupt):
            return None
        if held is None:
            return None
        try:
            return self._open(key, held)
        except (TemplateUnusable, OSError):
            os.close(held)
            return None

    def _loaded(self, key: str) -> Template | None:
        """On disk: load its memory, and start a process that keeps it."""
        try:
            facts = self._facts(key)
            loaded = memory.load_apart(
                self.root / key / "memory", facts.memory_bytes, facts.memory_digest, self._group()
            )
        except (TemplateUnusable, OSError):
            return None
        try:
            template = self._open(key, loaded)
        except (TemplateUnusable, OSError):
            os.close(loaded)
            return None
        self._keep(key, loaded)
        return template

    def _made(self, key: str, memory_bytes: int, make: Make) -> Template:
        self._drop(key)
        self._group()  # its maker joins it
        making = self.root / f".making-{key}-{os.getpid()}"
        making.mkdir()
        fd = memory.create(memory_bytes)
        try:
            with (making / "state").open("xb") as state:
                make(fd, state.fileno())
            memory.seal(fd)
            digest = memory.save(fd, making / "memory")
            state_digest = hashlib.sha256((making / "state").read_bytes()).hexdigest()
            (making / "facts").write_text(json.dumps(Facts(memory_bytes, digest, state_digest)))
            making.rename(self.root / key)
            self._keep(key, fd)
            return self._open(key, fd)
        except BaseException:
            os.close(fd)
            raise
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _open(self, key: str, memory_fd: int) -> Template:
        """The template with its state checked; 70 KB take 0.3 ms."""
        facts = self._facts(key)
        fd = os.open(self.root / key / "state", os.O_RDONLY | os.O_CLOEXEC)
        if hashlib.sha256(os.pread(fd, STATE_LIMIT, 0)).hexdigest() != facts.state_digest:
            os.close(fd)
            raise TemplateUnusable(f"the device state of template {key} is not what was saved")
        os.utime(self.root / key)
        return Template(key, fd, memory_fd)

    def _facts(self, key: str) -> Facts:
        try:
            size, memory_digest, state_digest = json.loads((self.root / key / "facts").read_bytes())
            return Facts(int(size), str(memory_digest), str(state_digest))
        except (OSError, ValueError, TypeError) as error:
            raise TemplateUnusable(f"template {key}: {error}") from error

    def _keep(self, key: str, fd: int) -> None:
        self.holders.mkdir(parents=True, exist_ok=True)
        holder = memory.hold(fd, self._group())
        fresh = self.holders / f".{key}.{os.getpid()}"
        fresh.write_text(str(holder))
        fresh.replace(self.holders / key)

    def _group(self) -> tuple[Path, ...]:
        """Where this user may make control groups, ours: no pod pays for what all use."""
        with suppress(HostUnfit):
            self.cgroup.create()
        return tuple(file for file in self.cgroup.join_files() if os.access(file, os.W_OK))

    def _drop(self, key: str) -> None:
        place = self.holders / key
        with suppress(OSError, JournalCorrupt):  # nobody holds it
            Process.parse(place.read_text()).end()
        place.unlink(missing_ok=True)
        shutil.rmtree(self.root / key, ignore_errors=True)
        for left in self.root.glob(f".making-{key}-*"):
            shutil.rmtree(left, ignore_errors=True)  # its maker was killed: we hold the lock now

    def _sweep(self) -> None:
        """Let go of memory whose template is not there any more."""
        for place in self.holders.glob("[!.]*"):
            if not (self.root / place.name / "facts").exists():
                self.discard(place.name)
        known = {place.read_text() for place in self.holders.glob("[!.]*")}
        for pid in self.cgroup.processes():  # one whose maker was killed before it had written it down
            with suppress(ProcessLookupError, OSError):
                stray = Process.of(pid)
                if memory.is_holder(stray) and str(stray) not in known:
                    stray.end()

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.root / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
