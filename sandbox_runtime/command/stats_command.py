"""`bulkhead sandbox stats`: what sandboxes take and do now, as a table, JSON or Prometheus text."""

from __future__ import annotations

import argparse
import json
import os
import selectors
import sys
import time
from pathlib import Path
from typing import Any

from sandbox_runtime import metrics
from sandbox_runtime.command import places
from sandbox_runtime.command.client import Client, Gone, connect
from sandbox_runtime.command.table import mib, show
from sandbox_runtime.errors import BadInput
from sandbox_runtime.lifecycle import journal
from sandbox_runtime.paths import Paths
from sandbox_runtime.supervisor import frames, starts
from sandbox_runtime.supervisor.frames import Kind

PATIENCE_SECONDS = 4.0  # a scrape must not wait for one sandbox; a guest is given 2 s by its supervisor


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("stats", help="what sandboxes take and do")
    places.add_options(parser)
    parser.add_argument("id", nargs="*", help="default: all that run")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--prometheus", action="store_true", help="text for Prometheus")
    parser.add_argument(
        "--textfile", type=Path, help="write it there, by rename, for node exporter's textfile collector"
    )
    parser.add_argument("--every", type=float, default=0.0, metavar="SECONDS", help="again and again")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print or write them."""
    paths = places.paths(arguments)
    if arguments.every < 0:
        raise BadInput("--every wants seconds")
    while True:
        begin = time.monotonic()
        _show(paths, collect(paths, arguments.id), arguments)
        if not arguments.every:
            return 0
        time.sleep(max(0.0, arguments.every - (time.monotonic() - begin)))


def collect(paths: Paths, ids: list[str]) -> list[dict[str, Any]]:
    """The figures of running sandboxes, all asked at once; one that does not answer in time is left out."""
    found: dict[str, dict[str, Any]] = {}
    with selectors.DefaultSelector() as selector:
        for sandbox_id in ids or sorted(
            place.parent.name for place in paths.sandboxes.glob(f"*/{journal.CONTROL}")
        ):
            try:
                client = connect(paths, sandbox_id)
                client.send(op="stats")
            except Gone:
                continue
            selector.register(client, selectors.EVENT_READ, sandbox_id)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                client = key.fileobj  # type: ignore[assignment]
                if _take(client, key.data, found):
                    selector.unregister(client)
                    client.link.close()
        for key in list(selector.get_map().values()):
            key.fileobj.link.close()  # type: ignore[union-attr]
    return [found[sandbox_id] for sandbox_id in sorted(found)]


def _take(client: Client, sandbox_id: str, found: dict[str, dict[str, Any]]) -> bool:
    """Whether it is done with."""
    try:
        for kind, payload in client.take():
            if kind is Kind.JSON:
                found[sandbox_id] = frames.parse(payload)
                return True
    except Gone:
        return True
    return False


def _show(paths: Paths, found: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    if arguments.textfile:
        fresh = arguments.textfile.with_name(f".{arguments.textfile.name}.{os.getpid()}")
        fresh.write_text(metrics.text(found, starts.read(paths)))
        fresh.replace(arguments.textfile)
    elif arguments.prometheus:
        sys.stdout.write(metrics.text(found, starts.read(paths)))
    elif arguments.json:
        print(json.dumps(found))
    else:
        show(
            ("ID", "CPU", "HOST MEMORY", "GUEST USED", "CONTAINER", "READ", "WRITTEN", "PIDS", "ACCEL"),
            [_row(each) for each in found],
        )


def _row(figures: dict[str, Any]) -> tuple[str, ...]:
    guest = figures.get("guest", {})
    containers, disks = figures.get("containers", []), figures.get("disks", {}).values()
    return (
        str(figures["id"]),
        f"{figures['cpu_us'] / 1e6:.2f} s",
        mib(figures["rss_bytes"]),
        mib(guest.get("memory_total_bytes", 0) - guest.get("memory_available_bytes", 0)) if guest else "-",
        mib(sum(each["working_set_bytes"] for each in containers)) if containers else "-",
        mib(sum(each.get("rd_bytes", 0) for each in disks)),
        mib(sum(each.get("wr_bytes", 0) for each in disks)),
        str(sum(each["pids"] for each in containers)),
        str(figures["accel"]),
    )
