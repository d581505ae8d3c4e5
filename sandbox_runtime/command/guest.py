"""`bulkhead guest build`: makes the guest image ahead of its first use. Called by `bulkhead guest`."""

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


def main(argv: list[str]) -> int:
    """Run one command; 1 where it failed."""
    parser = argparse.ArgumentParser(prog="bulkhead guest", description="What boots in every sandbox.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build_ = commands.add_parser("build", help="build the guest image, or find it in the cache")
    places.add_options(build_)
    build_.add_argument("--agent", type=Path, help="a compiled agent, for hosts without Go")
    build_.add_argument("--json", action="store_true")
    build_.set_defaults(run=_build)
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
