"""Command line of the scheduler: parses arguments, calls one command, prints. Called by `bulkhead`."""

from __future__ import annotations

import argparse
import sys


def main(argv: list[str]) -> int:
    """Run one scheduler command; exit status as kubectl's."""
    parser = argparse.ArgumentParser(prog="bulkhead")
    parser.parse_args(argv)
    parser.print_help()
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
