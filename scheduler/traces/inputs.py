"""Turns the input options that commands share (--nodes --pods --tenants --assign) into values, or one BadInput."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from scheduler.errors import BadInput, Problem
from scheduler.placement.tenancy import SingleTenant, Tenancy, TenantRules
from scheduler.traces.assign import Assignment, parse
from scheduler.traces.files import read_cluster
from scheduler.traces.workload import Cluster
from tenants.files.load import load
from tenants.model import TenantSet


class Inputs(msgspec.Struct, frozen=True):
    """A cluster, its tenants and the rules they make."""

    cluster: Cluster
    tenants: TenantSet
    tenancy: Tenancy


def add_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Declare the options."""
    parser.add_argument(
        "--nodes", type=Path, required=required, help="openb node CSV, or kubectl get nodes -o json|yaml"
    )
    parser.add_argument(
        "--pods", type=Path, required=required, help="openb pod CSV, or kubectl get pods -A -o json|yaml"
    )
    parser.add_argument(
        "--tenants", type=Path, help="directory of tenant files; without it everybody is one tenant"
    )
    parser.add_argument("--assign", help="rules `column=value: tenant` separated by `;`, or a file of them")


def read_inputs(nodes: Path, pods: Path, tenants: Path | None, assign: str | None) -> Inputs:
    """Read everything.

    Raises:
        BadInput: with all problems of the first input that has any.
    """
    declared = read_tenants(tenants) if tenants else TenantSet()
    assignment = read_assignment(assign, declared)
    if tenants and not assignment.rules and pods.suffix == ".csv":
        why = "the pods of a CSV trace name no tenant"
        raise BadInput(
            [Problem(str(pods), 1, why, "say who owns which with --assign 'qos=BE: agents; *: platform'")]
        )
    cluster = read_cluster(nodes, pods, assignment, declared)
    return Inputs(cluster, declared, TenantRules(declared) if tenants else SingleTenant())


def read_tenants(directory: Path) -> TenantSet:
    """Read the tenant files."""
    declared = load(directory)
    if isinstance(declared, TenantSet):
        return declared
    raise BadInput(
        [
            Problem(
                found.path,
                found.line,
                f"{found.where}: {found.why}".lstrip(": "),
                found.suggestion,
                found.col,
            )
            for found in declared
        ]
    )


def read_assignment(assign: str | None, tenants: TenantSet) -> Assignment:
    """Read rules from a file of that name, else from the text itself."""
    if assign is None:
        return Assignment()
    path = Path(assign)
    if "=" not in assign and "*" not in assign:
        if not path.is_file():
            raise BadInput([Problem(assign, 1, "no such file, and no rule", "write `column=value: tenant`")])
        return parse(path.read_text(encoding="utf-8"), assign, tenants.tenants)
    return parse(assign, "--assign", tenants.tenants)
