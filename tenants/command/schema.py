"""`bulkhead tenants schema`: prints the JSON Schema of tenant files, for editors."""

from __future__ import annotations

import argparse
import json
import sys

from tenants.files.schema import schema


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of tenant files",
        description="Save it beside the tenant files and begin each with `# yaml-language-server: $schema=FILE`.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Print the schema; always 0."""
    sys.stdout.write(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
    return 0
