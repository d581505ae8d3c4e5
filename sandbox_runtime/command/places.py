"""Options that all commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from sandbox_runtime.paths import Paths


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where sandboxes and caches are."""
    parser.add_argument(
        "--run-root", type=Path, help="directory of running sandboxes (default: /run/bulkhead, or the user's)"
    )
    parser.add_argument(
        "--cache-root",
        type=Path,
        help="directory of caches, disks and logs (default: /var/lib/bulkhead, or the user's)",
    )


def paths(arguments: argparse.Namespace) -> Paths:
    """The directories that the options name."""
    found = Paths.of_this_user()
    return Paths(
        (arguments.run_root or found.run).absolute(), (arguments.cache_root or found.cache).absolute()
    )
