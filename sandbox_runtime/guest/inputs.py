"""What a guest image is made of, and a cheap name for it: paths, sizes and times of every input, no contents read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.guest import agent_binary
from sandbox_runtime.guest.image import host_program, libraries
from sandbox_runtime.guest.kernel import KernelFiles
from sandbox_runtime.guest.modules import ModuleSet, choose

_RECIPE = Path(__file__).parent


class Inputs(NamedTuple):
    """Every input: kernel, modules chosen from it, programs, and the agent (None: compiled from source)."""

    kernel: KernelFiles
    modules: ModuleSet
    programs: tuple[Path, ...]
    agent: Path | None

    def files(self) -> list[Path]:
        """Every file whose content matters."""
        chosen = {*self.modules.boot_files, *self.modules.image_files}
        needed = [library for program in self.programs for library in libraries(program)]
        agent = [self.agent] if self.agent else [Path(agent_binary.go_command()), *agent_binary.sources()]
        recipe = sorted(_RECIPE.glob("*.py"))
        modules = sorted(self.kernel.modules / path for path in chosen)
        return [self.kernel.boot_file, *modules, *self.programs, *needed, *agent, *recipe]

    def fingerprint(self) -> str:
        """Changes whenever an input is replaced or edited. 64 hex digits."""
        state = hashlib.sha256(self.kernel.release.encode())
        for path in self.files():
            status = path.stat()
            state.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return state.hexdigest()


def gather(kernel: KernelFiles, agent: Path | None = None) -> Inputs:
    """Find the other inputs on this host. Raises HostUnfit with the package that is missing."""
    modules_dep = kernel.modules / "modules.dep"
    aliases = kernel.modules / "modules.alias"
    modules = choose(*(path.read_text() if path.is_file() else "" for path in (modules_dep, aliases)))
    return Inputs(kernel, modules, (host_program("crun", "crun"),), agent)
