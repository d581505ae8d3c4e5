"""`bulkhead guest build | build-kernel`: makes what boots in every sandbox, ahead of its first use."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from sandbox_runtime.command import places
from sandbox_runtime.command.progress import showing
from sandbox_runtime.errors import HostUnfit, SandboxError
from sandbox_runtime.guest.build import build
from sandbox_runtime.guest.kernel_build import build_kernel, remove_kernel


def main(argv: list[str]) -> int:
    """Run one command; 1 where it failed."""
    parser = argparse.ArgumentParser(prog="bulkhead guest", description="What boots in every sandbox.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build_ = commands.add_parser("build", help="build the guest image, or find it in the cache")
    places.add_options(build_)
    build_.add_argument("--agent", type=Path, help="a compiled agent, for hosts without Go")
    build_.add_argument("--json", action="store_true")
    build_.set_defaults(run=_build)
    kernel = commands.add_parser(
        "build-kernel", help="build a smaller kernel from the distribution's source, and use it from now on"
    )
    places.add_options(kernel)
    kernel.add_argument(
        "--source", type=Path, help="a kernel source archive (default: /usr/src/linux-source-*.tar.xz)"
    )
    kernel.add_argument("--jobs", type=int, default=0, help="compilers at once (default: one a processor)")
    kernel.add_argument("--remove", action="store_true", help="go back to the distribution's kernel")
    kernel.add_argument("--json", action="store_true")
    kernel.set_defaults(run=_build_kernel)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except HostUnfit as error:
        print(
            f"bulkhead guest: {error.what}\n  why: {error.why}\n  what to do: {error.remedy}", file=sys.stderr
        )
        return 1
    except SandboxError as error:
        print(f"bulkhead guest: {error}", file=sys.stderr)
        return 1
    return status


def _build(arguments: argparse.Namespace) -> int:
    begin = time.monotonic()
    with showing(quiet=arguments.json) as progress:
        progress.step("guest")
        found = build(places.paths(arguments), agent=arguments.agent)
    seconds = time.monotonic() - begin
    files = {
        name: path.stat().st_size
        for name, path in (("kernel", found.kernel), ("initrd", found.initrd), ("image", found.image))
        if path is not None
    }
    if arguments.json:
        print(
            json.dumps({"digest": found.digest, "seconds": seconds, "bytes": files, "cmdline": found.cmdline})
        )
        return 0
    print(f"{found.digest} in {seconds:.1f} s")
    for name, size in files.items():
        print(f"  {name}: {size / (1 << 20):.1f} MiB")
    return 0


def _build_kernel(arguments: argparse.Namespace) -> int:
    paths = places.paths(arguments)
    if arguments.remove:
        had = remove_kernel(paths)
        print(
            "back to the distribution's kernel"
            if had
            else "there was no other than the distribution's kernel"
        )
        return 0
    begin = time.monotonic()
    with showing(quiet=arguments.json) as progress:
        made = build_kernel(
            paths, arguments.source, arguments.jobs, lambda words: progress.step("kernel", words)
        )
    seconds, size = time.monotonic() - begin, made.boot_file.stat().st_size
    if arguments.json:
        print(
            json.dumps(
                {"release": made.release, "file": str(made.boot_file), "bytes": size, "seconds": seconds}
            )
        )
        return 0
    print(f"{made.release} in {seconds:.0f} s, {size / (1 << 20):.1f} MiB; new sandboxes boot it from now on")
    print("`bulkhead guest build-kernel --remove` goes back to the distribution's kernel")
    return 0
