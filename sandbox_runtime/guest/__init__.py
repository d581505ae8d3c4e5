"""What runs inside the virtual machine: its kernel, its read-only image, and the agent (`agent/`, in Go).

`build(paths)` returns a `GuestImage` that the VMM boots. Read `build` first.
"""

from sandbox_runtime.guest.build import build

__all__ = ["build"]
