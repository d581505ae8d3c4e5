"""The reference for users says what the loader does: its examples load, its tables name every field and class."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tenants.files.kinds import KINDS, PARTS
from tenants.files.load import parse
from tenants.files.problem import Kind
from tenants.model import TenantSet
from tenants.quantity import UNITS

REFERENCE = (Path(__file__).parents[4] / "docs/tenants.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)
WHOLE = [block for block in BLOCKS if block.startswith("apiVersion")]
PART = [block for block in BLOCKS if block.startswith(("quota", "network"))]
OTHERS = """\
---
apiVersion: bulkhead.dev/v1
kind: Tenant
name: platform
quota: {default: {cpu: 1, memory: 1Gi}}
---
apiVersion: bulkhead.dev/v1
kind: Pool
name: gpu
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: bulkhead}
handler: bulkhead
"""


def test_the_examples_were_found() -> None:
    assert (len(WHOLE), len(PART)) == (2, 2)


@pytest.mark.parametrize("block", WHOLE)
def test_a_whole_example_is_a_good_file(block: str) -> None:
    assert isinstance(parse({"docs": block}), TenantSet)


@pytest.mark.parametrize("block", PART)
def test_a_part_is_good_in_a_tenant(block: str) -> None:
    quota = "" if block.startswith("quota") else "quota: {default: {cpu: 1, memory: 1Gi}}\n"
    text = f"apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: a\n{quota}{block}{OTHERS}"
    assert isinstance(parse({"docs": text}), TenantSet)


def test_every_field_resource_and_class_of_problem_is_described() -> None:
    ours = [model for kind, model in KINDS.items() if kind != "RuntimeClass"]
    fields = {str(field.alias) for part in (*ours, *PARTS.values()) for field in part.model_fields.values()}
    words = {*fields, *UNITS, *(kind.value for kind in Kind)}
    assert (
        sorted(word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", REFERENCE))
        == []
    )


def test_the_message_in_the_reference_is_the_one_that_is_printed() -> None:
    head = "apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: a\n"
    text = f"{head}\n\n\nquota:\n  default:\n    memory: 4 Gb\n    cpu: 1\n"
    found = parse({"tenants/agents.yaml": text})
    assert isinstance(found, list)
    assert str(found[0]) in REFERENCE
