"""Makes the guest: kernel, initramfs, image. Seconds the first time, a few file look-ups afterwards; needs no root."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sandbox_runtime.guest import agent_binary, cmdline, image, initramfs
from sandbox_runtime.guest.inputs import Inputs, gather
from sandbox_runtime.guest.kernel import KernelFiles, find_kernel, vmlinux
from sandbox_runtime.guest.store import IMAGE, INITRD, KERNEL, GuestStore
from sandbox_runtime.model import GuestImage
from sandbox_runtime.paths import Paths


def build(paths: Paths, kernel: KernelFiles | None = None, agent: Path | None = None) -> GuestImage:
    """The guest for this host, built if it is not in the cache, else checked and returned.

    `kernel`: another one than `find_kernel` finds; `agent`: a compiled agent, for hosts without Go.
    Raises HostUnfit with the package that is missing.
    """
    store = GuestStore(paths.guest)
    inputs = gather(kernel or find_kernel(paths.guest), agent)
    name = inputs.fingerprint()
    if (found := store.find(name)) is not None:
        return found
    with store.locked():
        if (found := store.find(name)) is not None:
            return found
        return _build(store, name, inputs)


def _build(store: GuestStore, name: str, inputs: Inputs) -> GuestImage:
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=store.root))
    try:
        built = work / "built"
        built.mkdir()
        agent = _agent(inputs, work, store.root / "go-cache")
        (built / KERNEL).write_bytes(vmlinux(inputs.kernel.boot_file.read_bytes()))
        if inputs.modules.boot_files:
            (built / INITRD).write_bytes(_initrd(inputs, agent))
        _image(inputs, agent, work, built / IMAGE)
        return store.keep(name, built, cmdline.image(with_initrd=bool(inputs.modules.boot_files)))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _agent(inputs: Inputs, work: Path, cache: Path) -> Path:
    if inputs.agent is not None:
        return inputs.agent
    agent_binary.compile_agent(work / "agent", cache)
    return work / "agent"


def _initrd(inputs: Inputs, agent: Path) -> bytes:
    files = {
        f"modules/{path.name}": (inputs.kernel.modules / path).read_bytes()
        for path in inputs.modules.boot_files
    }
    files |= {"modules/index": inputs.modules.boot_index.encode(), "init": agent.read_bytes()}
    return initramfs.pack(files, executable=frozenset({"init"}))


def _image(inputs: Inputs, agent: Path, work: Path, target: Path) -> None:
    tree = work / "tree"
    tree.mkdir()
    modules = [inputs.kernel.modules / path for path in inputs.modules.image_files]
    image.stage(tree, list(inputs.programs), agent, modules, inputs.modules.image_index)
    image.make(tree, target)
