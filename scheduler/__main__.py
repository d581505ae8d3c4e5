"""Command line of the scheduler: finds the command, and turns bad input into one clear message and status 2.

Called by `bulkhead`.
"""

from __future__ import annotations

import argparse
import sys

from scheduler.capacity import command as compare_command
from scheduler.errors import BadInput
from scheduler.replay import command as replay_command
from scheduler.serve import command as serve_command
from scheduler.serve import explain_command

EPILOG = "also: bulkhead tenants … (tenant files)"


def main(argv: list[str]) -> int:
    """Run one scheduler command; 0 done, 1 failed, 2 bad input, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="bulkhead", epilog=EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    replay_command.add_parser(commands)
    compare_command.add_parser(commands)
    serve_command.add_parser(commands)
    explain_command.add_parser(commands)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except BadInput as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
