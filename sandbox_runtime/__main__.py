"""Command line of the sandbox runtime. Called by `bulkhead sandbox`.

Only the module of the command that is called gets imported: `run` must not wait for what `doctor` needs.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from sandbox_runtime import command
from sandbox_runtime.errors import BadInput, HostUnfit, SandboxError

COMMANDS = (
    "run",
    "exec",
    "ps",
    "logs",
    "stats",
    "attach",
    "kill",
    "stop",
    "wait",
    "rm",
    "overhead",
    "doctor",
)
FAILED = 125  # as docker: the fault is ours or the caller's, not the container's
INTERRUPTED = 130


def main(argv: list[str]) -> int:
    """Run one command. `run` and `exec` end with the container's status, or 125, 126, 127 as docker does."""
    parser = argparse.ArgumentParser(
        prog="bulkhead sandbox", description="Run containers in microVMs with a kernel of their own."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in [argv[0]] if argv and argv[0] in COMMANDS else COMMANDS:
        importlib.import_module(f"{command.__name__}.{name}_command").add_parser(commands)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as wrong:
        return FAILED if wrong.code else 0
    try:
        status: int = arguments.run(arguments)
    except BadInput as error:
        print(f"bulkhead sandbox: {error}", file=sys.stderr)
        return FAILED
    except HostUnfit as error:
        print(
            f"bulkhead sandbox: {error.what}\n  why: {error.why}\n  what to do: {error.remedy}",
            file=sys.stderr,
        )
        return FAILED
    except SandboxError as error:
        print(f"bulkhead sandbox: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        return 141
    except OSError as error:
        print(f"bulkhead sandbox: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
