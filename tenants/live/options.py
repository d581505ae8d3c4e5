"""Options by which a command says where objects live, and the Target that they name."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from tenants.live.cluster import Cluster
from tenants.live.connection import connect
from tenants.live.directory import Directory
from tenants.live.target import Target
from tenants.model import Pool


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Declare --kubeconfig and --context."""
    parser.add_argument(
        "--kubeconfig", type=Path, help="default: $KUBECONFIG, ~/.kube/config, else the pod's service account"
    )
    parser.add_argument("--context", help="context of the kubeconfig (default: its current one)")


def add_target(parser: argparse.ArgumentParser, *directory_options: str) -> None:
    """Declare the API server and, under the given names, the directory that takes its place."""
    add_cluster(parser)
    parser.add_argument(
        *directory_options,
        dest="directory",
        type=Path,
        metavar="DIR",
        help="a directory of YAML (GitOps) instead",
    )


def add_guided(parser: argparse.ArgumentParser) -> None:
    """Declare --guided."""
    parser.add_argument(
        "--guided",
        action="store_true",
        help="tenants' pods wait at a scheduling gate for `bulkhead serve`; nobody else opens it",
    )


def flag(written: str) -> bool:
    """The value of --prune=true and its like, as kubectl writes them."""
    if written.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{written!r} is neither true nor false")
    return written.lower() == "true"


def target_of(arguments: argparse.Namespace, pools: Mapping[str, Pool]) -> Target:
    """The directory if one is named, else the API server.

    Raises:
        KubeconfigError: no way to an API server.
    """
    if arguments.directory is not None:
        return Directory(arguments.directory)
    return cluster_of(arguments, pools)


def cluster_of(arguments: argparse.Namespace, pools: Mapping[str, Pool]) -> Cluster:
    """The API server that the options name."""
    return Cluster(connect(arguments.kubeconfig, arguments.context), pools)
