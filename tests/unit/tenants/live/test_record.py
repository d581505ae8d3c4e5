"""The record of the last apply: it gives back the model, small or big, and never raises on what is not one."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.live.record import recall, record
from tenants.model import Allowance, Dimension, Tenant, TenantSet

QUOTA = {Dimension("default", "cpu"): Allowance(), Dimension("default", "memory"): Allowance()}


def many(count: int) -> TenantSet:
    return TenantSet(
        tenants={f"t{i}": Tenant(name=f"t{i}", namespaces=(f"t{i}",), quota=QUOTA) for i in range(count)}
    )


@pytest.mark.parametrize("count", [0, 1, 7000])
def test_it_gives_back_the_model(count: int) -> None:
    kept = record(many(count))
    assert ("binaryData" in kept) is (count == 7000)
    assert recall(kept) == many(count)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"data": {}},
        {"data": {"tenants.yaml": "kind: ["}},
        {"data": {"tenants.yaml": "kind: Tenant\nname: x"}},
        {"binaryData": {"tenants.yaml.gz": "%%%"}},
        {"binaryData": {"tenants.yaml.gz": "aGVsbG8="}},
        {"binaryData": {"tenants.yaml.gz": "H4sIAAAAAAAA"}},
    ],
)
def test_what_is_no_record_is_none(content: dict[str, Any]) -> None:
    assert recall(content) is None
