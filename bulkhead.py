"""The `bulkhead` command: hands each subcommand to the package that owns it.

The three packages do not know each other's command lines; only this module names all of them. A package is
imported when one of its commands is called, so `bulkhead tenants check` never pays for the solver.
"""

from __future__ import annotations

import importlib
import sys

OWNERS = {
    "tenants": "tenants.__main__",
    "sandbox": "sandbox_runtime.__main__",
    "guest": "sandbox_runtime.command.guest",
}
DEFAULT_OWNER = "scheduler.__main__"


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit status (0 done, 1 a difference or a failure, 2 bad input)."""
    arguments = sys.argv[1:] if argv is None else argv
    owner = OWNERS.get(arguments[0]) if arguments else None
    module = importlib.import_module(owner or DEFAULT_OWNER)
    status: int = module.main(arguments[1:] if owner else arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
