"""Objects that hold a wall up, against somebody whom RBAC gives every right in the namespace."""

from __future__ import annotations

import pytest

from tests.real.kubernetes.world import (
    TRUSTED,
    UNTRUSTED,
    World,
    assert_denied,
    must,
    pods,
    spec_of,
)
from tests.support.escapes import Json, plain_pod
from tests.support.kubernetes import collection, wait_until
from tests.support.manifests import find, pick

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("kubernetes")]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("NetworkPolicy", "bulkhead-isolate"), ("NetworkPolicy", "bulkhead-allow"),
     ("ResourceQuota", "bulkhead"), ("ResourceQuota", "bulkhead-affinity"),
     ("LimitRange", "bulkhead"), ("Role", "bulkhead-admin"),
     ("RoleBinding", "bulkhead-admin")],
)  # fmt: skip
def test_ours_are_neither_changed_nor_deleted_by_a_tenant(world: World, kind: str, name: str) -> None:
    manifest = find(world.rendered, kind, name, UNTRUSTED)
    path = f"{collection(manifest)}/{name}"
    changes: list[Json] = [
        {"metadata": {"annotations": {"a": "b"}}},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}},
    ]
    for change in changes:
        assert_denied(world.mallory.merge(path, change), "platform-object")
    assert_denied(world.mallory.delete(path), "platform-object")
    forged = {**manifest, "metadata": {**manifest["metadata"], "name": "forged"}}
    assert_denied(world.mallory.create(forged, UNTRUSTED), "platform-object")


def test_an_administrator_lacks_the_rights_anyway(world: World) -> None:
    for kind in ("NetworkPolicy", "ResourceQuota", "LimitRange"):
        [manifest, *_] = pick(world.rendered, kind, UNTRUSTED)
        answer = world.ada.delete(f"{collection(manifest)}/{manifest['metadata']['name']}")
        assert answer.status == 403
        assert "cannot delete resource" in answer.message


@pytest.mark.parametrize(("who", "where"), [("mallory", UNTRUSTED), ("margaret", TRUSTED)])
def test_nobody_opens_the_network_with_a_policy_of_his_own(world: World, who: str, where: str) -> None:
    wide = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "open"},
        "spec": {
            "podSelector": {},
            "ingress": [{}],
            "egress": [{}],
            "policyTypes": ["Ingress", "Egress"],
        },
    }
    assert_denied(getattr(world, who).create(wide, where), "network-policy")
    assert must(world.admin.create(wide, where)).ok
    must(world.admin.delete(f"/apis/networking.k8s.io/v1/namespaces/{where}/networkpolicies/open"))


def test_a_tenant_cannot_give_itself_the_right_to_bind(world: World) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods/binding"], "verbs": ["create"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "bind"}}
    answer = world.ada.create({**role, "rules": rules}, UNTRUSTED)
    assert answer.status == 403
    assert "attempting to grant RBAC permissions not currently held" in answer.message


def test_the_older_bindings_resource_is_closed_too(world: World) -> None:
    target = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "plain"}, "target": target}
    assert_denied(world.mallory.call("POST", f"/api/v1/namespaces/{UNTRUSTED}/bindings", binding), "binding")


def test_a_token_that_never_expires_is_not_made(world: World) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "forever", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    }
    assert_denied(world.ada.create(secret, UNTRUSTED), "token-secret")
    assert must(world.grace.create(secret, TRUSTED)).ok
    assert must(world.ada.create({**secret, "type": "Opaque", "metadata": {"name": "fine"}}, UNTRUSTED)).ok


def test_a_service_takes_no_foreign_address(world: World) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "mitm"},
        "spec": {"ports": [{"port": 443}], "externalIPs": ["203.0.113.7"]},
    }
    assert_denied(world.ada.create(service, UNTRUSTED), "external-ip")
    assert must(world.grace.create(service, TRUSTED)).ok


@pytest.mark.parametrize(
    ("storage_class", "volume", "want_allowed"),
    [("standard", None, True), ("standard", "backup", False), ("", None, False), (None, None, False)],
)
def test_a_claim_takes_new_volumes_only(
    world: World, storage_class: str | None, volume: str | None, want_allowed: bool
) -> None:
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    spec |= {} if storage_class is None else {"storageClassName": storage_class}
    spec |= {} if volume is None else {"volumeName": volume}
    name = f"claim-{storage_class}-{volume}".lower()
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": spec,
    }
    answer = world.ada.create(claim, UNTRUSTED)
    if want_allowed:
        path = f"{collection(claim, UNTRUSTED)}/{name}?dryRun=All"
        pointed = {"spec": {"volumeName": "backup"}}
        assert_denied(world.ada.merge(path, pointed), "volume-claim")
        assert must(world.admin.merge(path, pointed)).ok  # as the controller does
    else:
        assert_denied(answer, "volume-claim")
    assert must(world.grace.create(claim, TRUSTED)).ok


def test_anti_affinity_against_the_pods_of_others_is_outside_the_quota(world: World) -> None:
    path = f"/api/v1/namespaces/{UNTRUSTED}/resourcequotas/bulkhead-affinity"
    wait_until("quota is counted", lambda: world.admin.get(path).body.get("status", {}).get("used"))
    pod = plain_pod("jealous")
    term = {"topologyKey": "zone", "labelSelector": {}, "namespaceSelector": {}}
    against = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    pod["spec"]["affinity"] = {"podAntiAffinity": against}
    refused = world.try_pod(world.ada, UNTRUSTED, pod)
    assert refused.status == 403
    assert "exceeded quota: bulkhead-affinity" in refused.message
    del term["namespaceSelector"]
    assert spec_of(world.try_pod(world.ada, UNTRUSTED, pod))


def test_a_node_port_is_outside_the_quota(world: World) -> None:
    path = f"/api/v1/namespaces/{UNTRUSTED}/resourcequotas/bulkhead"
    wait_until("quota is counted", lambda: world.admin.get(path).body.get("status", {}).get("used"))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "node-port"}}
    answer = world.ada.create({**service, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}, UNTRUSTED)
    assert answer.status == 403
    assert "services.nodeports=0" in answer.message


@pytest.mark.parametrize("verb", ["exec", "attach", "portforward"])
def test_a_service_account_of_another_tenant_has_no_business_inside(world: World, verb: str) -> None:
    path = f"/api/v1/namespaces/{TRUSTED}/serviceaccounts/default/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = must(world.admin.call("POST", path, request)).body["status"]["token"]
    invited = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"invited-{verb}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "too-much"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": TRUSTED}],
    }
    must(world.admin.create(invited, UNTRUSTED))
    stranger = world.plane.api_with_token(token)
    call = f"{pods(world, UNTRUSTED, 'plain')}/{verb}?command=id&stdout=true&ports=80"
    wait_until("the invitation counts", lambda: stranger.get(pods(world, UNTRUSTED, "plain")).ok or None)
    assert_denied(stranger.call("POST", call), "foreign-exec")
    assert "does not have a host assigned" in world.ada.call("POST", call).message
