"""The whole set: deterministic, in apply order, marked as ours, JSON-able, with names that the API server takes."""

from __future__ import annotations

import json
import re

import pytest

from tenants.manifests import render
from tenants.manifests.objects import MANAGED_BY, OWNER, TENANT_LABEL
from tenants.model import Tenant, TenantSet
from tests.support.manifests import TENANTS, Manifest, pick

WHOLE = render(TENANTS, live_namespaces=["agents-7", "agents", "kube-system", "stranger"])
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def key(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    return f"{manifest['kind']}/{metadata.get('namespace', '')}/{metadata['name']}"


def position(kind: str, namespace: str = "", name: str = "") -> int:
    return next(
        i
        for i, m in enumerate(WHOLE)
        if m["kind"] == kind
        and namespace in ("", m["metadata"].get("namespace"))
        and name in ("", m["metadata"]["name"])
    )


def test_equal_tenants_give_equal_bytes_whatever_the_order_of_files() -> None:
    backwards = TenantSet(
        tenants=dict(reversed(list(TENANTS.tenants.items()))),
        groups=TENANTS.groups,
        runtime_classes=dict(reversed(list(TENANTS.runtime_classes.items()))),
    )
    again = render(backwards, live_namespaces=("kube-system", "agents", "stranger", "agents-7"))
    assert json.dumps(again) == json.dumps(WHOLE)


def test_no_object_stands_twice() -> None:
    assert len({key(m) for m in WHOLE}) == len(WHOLE)


@pytest.mark.parametrize("manifest", WHOLE, ids=key)
def test_every_object_is_marked_as_ours_and_has_a_legal_name(manifest: Manifest) -> None:
    metadata = manifest["metadata"]
    assert metadata["labels"][MANAGED_BY] == OWNER
    assert SUBDOMAIN.fullmatch(metadata["name"])
    if "namespace" in metadata:
        assert metadata["labels"][TENANT_LABEL] in TENANTS.tenants
    assert all(len(value) <= 63 for value in metadata["labels"].values())


def test_names_stay_legal_for_the_longest_tenant() -> None:
    longest = "a" * 63
    tenants = TenantSet(tenants={longest: Tenant(name=longest, namespaces=(longest,))})
    for manifest in render(tenants):
        limit = 63 if manifest["kind"] in ("Namespace", "RuntimeClass") else 253
        assert len(manifest["metadata"]["name"]) <= limit
        assert all(len(value) <= 63 for value in manifest["metadata"]["labels"].values())


def test_policies_stand_before_namespaces_and_rights_come_last() -> None:
    order = [
        position("CustomResourceDefinition"),
        position("TenantTable"),
        position("ValidatingAdmissionPolicy"),
        position("MutatingAdmissionPolicy"),
        position("RuntimeClass"),
        position("Namespace", name="agents"),
        position("ResourceQuota", "agents"),
        position("NetworkPolicy", "agents"),
        position("RoleBinding", "agents"),
    ]
    assert order == sorted(order)


def test_a_namespace_under_a_prefix_is_made_ready_after_its_walls_stand() -> None:
    assert position("NetworkPolicy", "agents-7") < position("Namespace", name="agents-7")


def test_only_namespaces_that_a_tenant_owns_are_rendered() -> None:
    names = [m["metadata"]["name"] for m in pick(WHOLE, "Namespace")]
    assert names == ["agents", "cautious", "platform", "agents-7"]


def spoil(value: object) -> None:
    """Empties every container, inside first."""
    if isinstance(value, dict):
        for inner in value.values():
            spoil(inner)
        value.clear()
    elif isinstance(value, list):
        for inner in value:
            spoil(inner)
        value.clear()


def test_what_a_caller_does_to_the_objects_does_not_come_back() -> None:
    before = json.dumps(render(TENANTS))
    spoil(render(TENANTS))
    assert json.dumps(render(TENANTS)) == before
