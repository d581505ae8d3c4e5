"""What runs inside the virtual machine: its kernel, its read-only image, and the agent (`agent/`, in Go).

`build.build(paths)` returns a `GuestImage` that the VMM boots. Read `build` first. Nothing is imported here: the
supervisor needs the command line's words and none of what builds.
"""
