"""The control plane of `benchmarks.control_plane`, where the test skips visibly if its binaries are missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.control_plane.api import APPLY, JSON, MERGE, Answer, Api, collection
from benchmarks.control_plane.binaries import MissingBinaries, binaries
from benchmarks.control_plane.plane import ADMIN, CONTROLLERS, ControlPlane
from benchmarks.control_plane.ports import ControlPlaneBroken, free_ports, is_open, wait_until

__all__ = [
    "ADMIN", "APPLY", "CONTROLLERS", "JSON", "MERGE", "Answer", "Api", "ControlPlane", "ControlPlaneBroken",
    "collection", "control_plane", "free_ports", "is_open", "tools", "wait_until",
]  # fmt: skip


def tools(*more: str) -> Path:
    """Where the binaries are; the test skips where etcd, kube-apiserver or one of `more` is missing."""
    try:
        return binaries("etcd", "kube-apiserver", *more)
    except MissingBinaries as error:
        pytest.skip(str(error))


def control_plane(directory: Path, users: Mapping[str, tuple[str, ...]]) -> Iterator[ControlPlane]:
    """The body of a fixture: a control plane in a directory that does not exist yet."""
    with ControlPlane(tools(), directory, users) as plane:
        yield plane
