"""The options of `bulkhead serve`, checked before anything is opened."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from scheduler.errors import BadInput, Problem
from scheduler.serve.gates import Way


class Address(NamedTuple):
    """Host and port to listen on."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback


def address(written: str) -> Address:
    """`127.0.0.1:8443` or `[::1]:8443`; names are refused, for they may resolve to more than one thinks."""
    host, _, port = written.rpartition(":")
    try:
        found = Address(str(ipaddress.ip_address(host.strip("[]"))), int(port))
    except ValueError:
        found = Address("", -1)
    if not found.host or not 0 <= found.port < 65536:
        raise argparse.ArgumentTypeError(f"{written!r} is no IP:PORT, such as 127.0.0.1:8443")
    return found


def within(least: int, most: int) -> Callable[[str], int]:
    """Whole seconds of this range."""

    def seconds(written: str) -> int:
        if not written.isascii() or not written.isdigit() or not least <= int(written[:9]) <= most:
            raise argparse.ArgumentTypeError(f"{written!r} is not from {least} to {most} seconds")
        return int(written)

    return seconds


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare them all."""
    parser.add_argument(
        "--tenants", required=True, metavar="DIR|configmap:NS/NAME", help="tenant files, watched"
    )
    parser.add_argument(
        "--kubeconfig", type=Path, help="default: $KUBECONFIG, ~/.kube/config, else the service account"
    )
    parser.add_argument("--context", help="context of the kubeconfig (default: its current one)")
    parser.add_argument(
        "--store", default="sqlite:bulkhead.db", metavar="URL",
        help="sqlite:PATH, redis://…, rediss://…, redis+sentinel://host,host/name (default: %(default)s)",
    )  # fmt: skip
    _declare_listening(parser)
    _declare_behaviour(parser)


def _declare_listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", type=address, default=address("127.0.0.1:8443"), metavar="IP:PORT",
                        help="where kube-scheduler calls (default: 127.0.0.1:8443)")  # fmt: skip
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="server certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, PEM")
    parser.add_argument(
        "--client-ca", type=Path, metavar="FILE", help="authority of the callers' certificates, PEM"
    )
    parser.add_argument("--insecure-http", action="store_true", help="no TLS; on a loopback address only")
    parser.add_argument("--health-listen", type=address, metavar="IP:PORT",
                        help="plain HTTP for /healthz /readyz /metrics, where probes bring no certificate")  # fmt: skip


def _declare_behaviour(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-guide", action="store_true", help="open no gates: filter, prioritize and bind alone"
    )
    parser.add_argument("--guide-by", type=Way, choices=list(Way), default=Way.AUTO,
                        help="how kube-scheduler learns the node (default: %(default)s)")  # fmt: skip
    parser.add_argument("--keep-managed-fields", action="store_true",
                        help="do not drop metadata.managedFields of guided pods that a controller made")  # fmt: skip
    parser.add_argument("--no-leader-election", action="store_true", help="for a single replica")
    parser.add_argument("--lease-namespace", default="kube-system", metavar="NS", help="default: %(default)s")
    parser.add_argument("--lease-seconds", type=within(3, 600), default=15, metavar="S",
                        help="how long a leader that died is waited for (default: %(default)s)")  # fmt: skip
    parser.add_argument("--reservation-seconds", type=within(15, 3600), default=120, metavar="S",
                        help="how long quota waits for a guided pod to be bound (default: %(default)s)")  # fmt: skip
    parser.add_argument("--no-reclaim", action="store_true", help="evict nobody")
    parser.add_argument("--policy", default="bulkhead", help="scoring policy (default: %(default)s)")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def check(arguments: argparse.Namespace) -> None:
    """What the parser cannot see.

    Raises:
        BadInput: options that contradict each other or lack one another.
    """
    tls = [arguments.tls_cert, arguments.tls_key, arguments.client_ca]
    if arguments.insecure_http:
        if any(tls):
            raise _bad("--insecure-http with TLS files", "leave out one of the two")
        if not arguments.listen.loopback:
            raise _bad(
                f"--insecure-http on {arguments.listen.host}", "anybody could bind pods; use TLS or 127.0.0.1"
            )
    elif not all(tls):
        raise _bad("--tls-cert, --tls-key and --client-ca are needed", "or --insecure-http on 127.0.0.1")


def _bad(why: str, hint: str) -> BadInput:
    return BadInput([Problem("serve", 0, why, hint)])
