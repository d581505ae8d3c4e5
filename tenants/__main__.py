"""Command line of the tenant files: finds the command and runs it. Called by `bulkhead tenants`.

Only the module of the command that is called gets imported: `check` in a pre-commit hook must not wait for
the Kubernetes client that `apply` needs.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import pkgutil
import sys

from tenants import command
from tenants.errors import TenantsError

INTERRUPTED = 130  # as shells report SIGINT
BROKEN_PIPE = 141  # and SIGPIPE


def main(argv: list[str]) -> int:
    """Run one command; 0 done, 1 a difference or a failure, 2 bad input, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="bulkhead tenants", description="Read, check, plan and apply the files that describe tenants."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in modules_for(argv):
        importlib.import_module(f"{command.__name__}.{name}").add_parser(commands)
    arguments = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a name that the terminal can't show must not end the report
            stream.reconfigure(errors="backslashreplace")
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except TenantsError as error:
        print(f"bulkhead tenants: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def modules_for(argv: list[str]) -> list[str]:
    """The module of the command that `argv` calls; all of them for the help and for an unknown word."""
    names = [found.name for found in pkgutil.iter_modules(command.__path__)]
    called = [name for name in names if argv and argv[0] == name.removesuffix("_")]
    return called or names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
