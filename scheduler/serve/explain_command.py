"""`bulkhead explain pod NAMESPACE/NAME`: asks a running `bulkhead serve` why a pod stands there, or waits."""

from __future__ import annotations

import argparse
import http.client
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from scheduler.errors import BadInput, Problem
from scheduler.serve.explain import Explanation

FAILED: Final = 1
TIMEOUT_S: Final = 10


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "explain",
        help="why a pod stands where it stands, or why it waits",
        description="Asks a running `bulkhead serve`. Exit status: 0 told, 1 no such pod or no answer, 2 bad input.",
    )
    parser.add_argument("what", choices=("pod",), help="pod")
    parser.add_argument("name", metavar="NAMESPACE/NAME")
    parser.add_argument(
        "--server", default="https://127.0.0.1:8443", metavar="URL", help="default: %(default)s"
    )
    parser.add_argument("--client-cert", type=Path, metavar="FILE", help="our certificate, PEM")
    parser.add_argument("--client-key", type=Path, metavar="FILE", help="its key, PEM")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="authority of the server's certificate, PEM")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    if arguments.name.count("/") != 1:
        raise BadInput([Problem("explain", 0, f"{arguments.name!r} is no NAMESPACE/NAME")])
    try:
        status, body = ask(arguments)
    except (OSError, http.client.HTTPException) as error:
        print(f"bulkhead explain: {arguments.server} does not answer: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    if status != http.client.OK:
        print(f"bulkhead explain: {body.decode(errors='replace').strip()}", file=sys.stderr)  # noqa: T201
        return FAILED
    found = msgspec.json.decode(body, type=Explanation)
    sys.stdout.write(body.decode() + "\n" if arguments.json else text(found))
    return 0


def ask(arguments: argparse.Namespace) -> tuple[int, bytes]:
    """Status and body of the server's answer."""
    server = urlsplit(arguments.server)
    connection: http.client.HTTPConnection
    if server.scheme == "https":
        context = ssl.create_default_context(cafile=str(arguments.ca) if arguments.ca else None)
        if arguments.client_cert:
            context.load_cert_chain(arguments.client_cert, arguments.client_key)
        connection = http.client.HTTPSConnection(
            server.hostname or "", server.port, context=context, timeout=TIMEOUT_S
        )
    else:
        connection = http.client.HTTPConnection(server.hostname or "", server.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"/explain?pod={quote(arguments.name, safe='')}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def text(found: Explanation) -> str:
    """As people read it."""
    whose = f"tenant {found.tenant}" if found.tenant else "no tenant's: Bulkhead leaves it alone"
    asks = ", ".join(f"{name} {amount}" for name, amount in found.charge.items())
    lines = [f"{found.pod}  ({whose})", f"  {found.stage}" + (f" on node {found.node}" if found.node else "")]
    if found.code:
        lines.append(f"  {found.code}: {found.detail}")
    if found.position is not None:
        lines.append(f"  {found.position} pods of its tenant come before it")
    lines.append(f"  charged in pool {found.pool}: {asks}")
    if found.last is not None:
        at = datetime.fromtimestamp(found.last.at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        lines.append(f"  decision {found.last.id} of {at}, {found.decisions} in all")
    return "\n".join(lines) + "\n"
