"""A plain container beside the sandboxes, by runc, with limits of its own: what a neighbour without a wall is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox_runtime.errors import HostUnfit

PERIOD_US = 100_000
PIDS = 256  # a fork bomb without this would take the host, which is not ours alone


def config(
    argv: Sequence[str], rootfs: Path, group: str, memory_bytes: int, network: str = ""
) -> dict[str, Any]:
    """config.json: own namespaces, one processor, `memory_bytes`, few processes; `network` names one to join."""
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    ]
    resources = {
        "memory": {"limit": memory_bytes},
        "cpu": {"quota": PERIOD_US, "period": PERIOD_US},
        "pids": {"limit": PIDS},
    }
    return {
        "ociVersion": "1.0.2",
        "process": {"args": list(argv), "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "root": {"path": str(rootfs), "readonly": False},
        "mounts": mounts,
        "linux": {
            "namespaces": [
                *({"type": kind} for kind in ("pid", "ipc", "uts", "mount")),
                {"type": "network"} | ({"path": network} if network else {}),
            ],
            "resources": resources,
            "cgroupsPath": group,
        },
    }


class Runc:
    """Containers in a state directory of their own, named below `group`."""

    def __init__(self, folder: Path, rootfs: Path, group: str) -> None:
        self._folder, self._rootfs, self._group = folder, rootfs, group

    def start(
        self, name: str, argv: Sequence[str], memory_bytes: int, network: str = ""
    ) -> subprocess.Popen[bytes]:
        """A container whose streams are ours."""
        bundle = self._folder / name
        bundle.mkdir()
        text = json.dumps(config(argv, self._rootfs, f"/{self._group}/{name}", memory_bytes, network))
        (bundle / "config.json").write_text(text)
        return subprocess.Popen(
            ["runc", "--root", str(self._folder / "state"), "run", "--bundle", str(bundle), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Kill all of it and remove it."""
        delete = ["runc", "--root", str(self._folder / "state"), "delete", "--force", name]
        subprocess.run(delete, capture_output=True, check=False)
        process.kill()
        process.communicate()

    def close(self) -> None:
        """Remove the group in those hierarchies where runc alone has made it."""
        for directory in Path("/sys/fs/cgroup").glob(f"*/{self._group}"):
            with suppress(OSError):  # others have groups below it, and remove them
                directory.rmdir()


def check() -> None:
    """HostUnfit where there is no runc."""
    try:
        subprocess.run(["runc", "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise HostUnfit(
            "runc", "the neighbour without a wall is one of its containers", "apt-get install runc"
        ) from None
