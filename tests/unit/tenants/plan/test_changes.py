"""Objects against objects, in which order they are written, and what is stale."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.manifests import render
from tenants.plan.changes import Action, FieldChange, removed, update
from tenants.plan.objects import Ref, is_object, ref
from tenants.plan.order import KINDS, to_remove, to_write
from tests.support.manifests import TENANTS

ONE = Ref("ConfigMap", "n", "x", "v1")


def made(data: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "namespace": "n", **meta},
        "data": data,
    }


@pytest.mark.parametrize(
    ("name", "before", "after", "want"),
    [
        ("equal", {"a": 1}, {"a": 1}, None),
        ("a value", {"a": 1}, {"a": 2}, [FieldChange("data.a", 1, 2)]),
        ("comes", {}, {"a": 1}, [FieldChange("data.a", None, 1)]),
        ("goes", {"a": 1}, {}, [FieldChange("data.a", 1, None)]),
        ("a key with dots", {"a.b/c": 1}, {"a.b/c": 2}, [FieldChange("data[a.b/c]", 1, 2)]),
        ("inside a list", {"a": [{"b": 1}, 2]}, {"a": [{"b": 3}, 2]}, [FieldChange("data.a[0].b", 1, 3)]),
        ("a longer list", {"a": [1]}, {"a": [1, 2]}, [FieldChange("data.a", [1], [1, 2])]),
    ],
)
def test_an_update_says_which_fields(
    name: str, before: dict[str, Any], after: dict[str, Any], want: list[FieldChange] | None
) -> None:
    found = update(ONE, made(before), made(after))
    assert (list(found.fields) if found else None) == want, name
    assert found is None or found.action is Action.UPDATE


def test_what_the_server_notes_is_no_difference() -> None:
    noted = {
        **made({}, uid="u", resourceVersion="7", generation=2, managedFields=[{}]),
        "status": {"phase": "x"},
    }
    assert update(ONE, made({}), noted) is None


def test_stale_is_what_is_ours_and_asked_for_no_more_whatever_its_version() -> None:
    other = Ref("ConfigMap", "n", "x", "v2")
    stale = Ref("ConfigMap", "n", "old", "v1")
    assert removed({ONE: {}, stale: {}}, [other]) == [stale]


def test_every_rendered_kind_can_be_found_again_for_pruning() -> None:
    assert {(one["kind"], one["apiVersion"]) for one in render(TENANTS)} <= set(KINDS.items())


def test_a_namespace_is_ready_last_and_removal_goes_the_other_way() -> None:
    rendered = render(TENANTS)
    written = to_write(rendered, ready=())
    kinds = [one["kind"] for one in written]
    bare, ready = kinds.index("Namespace"), len(kinds) - 1
    assert kinds[ready] == "Namespace"
    assert "bulkhead.dev/ready" not in written[bare]["metadata"]["labels"]
    assert "bulkhead.dev/ready" in written[ready]["metadata"]["labels"]
    last = {kind: len(kinds) - 1 - kinds[::-1].index(kind) for kind in kinds}
    assert max(last["ValidatingAdmissionPolicyBinding"], last["MutatingAdmissionPolicyBinding"]) < bare
    assert bare < min(kinds.index("NetworkPolicy"), kinds.index("ResourceQuota"))
    assert last["NetworkPolicy"] < kinds.index("RoleBinding") < ready
    spaces = {ref(one) for one in rendered if one["kind"] == "Namespace"}
    assert len(to_write(rendered, ready=spaces)) == len(rendered), "one that is ready is written once"
    gone = [one.kind for one in to_remove(map(ref, rendered))]
    assert gone.index("RoleBinding") < gone.index("NetworkPolicy") < gone.index("Namespace")
    assert gone[-1] == "CustomResourceDefinition"


@pytest.mark.parametrize(
    "document",
    [
        None,
        7,
        [],
        {},
        {"kind": "X"},
        {"kind": "X", "apiVersion": "v1"},
        {"kind": "X", "apiVersion": "v1", "metadata": 3},
    ],
)
def test_what_is_no_object(document: object) -> None:
    assert not is_object(document)
