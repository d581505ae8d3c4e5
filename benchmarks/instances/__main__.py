"""`python -m benchmarks.instances --out DIR`: a cluster and a pod list with the statistics of the openb trace."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.instances.mixes import MIXES
from benchmarks.instances.write import write_instance

MOST = 5_000_000


def main(argv: list[str]) -> int:
    """Write the two files; 0 done, 2 bad arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instances", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write the two CSV files to")
    parser.add_argument("--nodes", type=count, default=1213, help="how many nodes (default: %(default)s)")
    parser.add_argument("--pods", type=count, default=8152, help="how many pods (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="same seed, same files (default: %(default)s)")
    parser.add_argument(
        "--mix", choices=MIXES, default="openb", help="what is drawn from (default: %(default)s)"
    )
    asked = parser.parse_args(argv)
    try:
        written = write_instance(
            asked.out, MIXES[asked.mix], nodes=asked.nodes, pods=asked.pods, seed=asked.seed
        )
    except OSError as error:
        print(f"{asked.out}: {error.strerror}; name a directory that can be written", file=sys.stderr)
        return 2
    for path in written:
        print(path)
    return 0


def count(text: str) -> int:
    """A number of things, at least one."""
    if not text.isdigit() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
