"""The rendered set as a whole, as the API server sees it."""

from __future__ import annotations

import json

import pytest

from tenants.manifests.admission.policies import rule_names
from tests.real.kubernetes.world import (
    World,
)
from tests.support.escapes import ESCAPES, Json
from tests.support.kubernetes import collection, wait_until
from tests.support.manifests import pick

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("kubernetes")]


ADMISSION = "/apis/admissionregistration.k8s.io/v1"


def test_the_api_server_finds_no_type_error_in_any_expression(world: World) -> None:
    for manifest in pick(world.rendered, "ValidatingAdmissionPolicy"):
        path = f"{ADMISSION}/validatingadmissionpolicies/{manifest['metadata']['name']}"

        def checked(path: str = path) -> Json | None:
            body = world.admin.get(path).body
            status: Json = body.get("status", {})
            return status if status.get("observedGeneration") == body["metadata"]["generation"] else None

        warnings = (
            wait_until(f"{path} is checked", checked).get("typeChecking", {}).get("expressionWarnings", [])
        )
        assert warnings == [], json.dumps(warnings, indent=1)


def test_every_object_is_stored_as_it_was_rendered(world: World) -> None:
    """Unknown fields would be dropped in silence; strict decoding of a dry run names them."""
    for manifest in world.rendered:
        name = manifest["metadata"]["name"]
        path = f"{collection(manifest)}/{name}?fieldManager=bulkhead&force=true&dryRun=All&fieldValidation=Strict"
        answer = world.admin.call("PATCH", path, manifest, "application/apply-patch+yaml")
        assert answer.ok, f"{manifest['kind']} {name}: {answer.message}"


def test_every_rule_that_a_denial_can_name_is_shown_to_deny_by_some_test(world: World) -> None:
    """The names in this room's tests and table cover the whole list."""
    shown = {e.rule for e in ESCAPES} | {e.trusted_rule for e in ESCAPES} | {
        "binding", "foreign-exec", "tenant-label", "trust-label", "ready-label", "pod-security-label",
        "platform-object", "network-policy", "token-secret", "external-ip", "volume-claim", "namespace-not-ready",
        "facts-in-use",
    }  # fmt: skip
    assert set(rule_names()) == shown - {""}
