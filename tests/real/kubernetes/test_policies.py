"""What the rendered set does on a real API server beside refusing escapes: it fills in, guards the walls of a
tenant against its own administrators, takes namespaces in hand from their first moment, and fails closed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest

from tenants.manifests import SCHEDULER, render
from tenants.manifests.admission.policies import rule_names
from tests.real.kubernetes.world import STRICT, TRUSTED, UNTRUSTED, World, must, pods, sandboxed
from tests.support.escapes import Json, plain_pod
from tests.support.kubernetes import Answer, collection, wait_until
from tests.support.manifests import TENANTS, find, pick

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("kubernetes")]

ADMISSION = "/apis/admissionregistration.k8s.io/v1"


def assert_denied(answer: Answer, rule: str) -> None:
    assert answer.status == 403, f"{answer.status} {answer.message}"
    assert f"bulkhead: {rule}: " in answer.message


def namespace(name: str, **labels: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def spec_of(answer: Answer) -> Json:
    assert answer.ok, answer.message
    spec: Json = answer.body["spec"]
    return spec


class TestMutation:
    def test_an_untrusted_pod_gets_the_sandbox_its_overhead_and_the_scheduler(self, world: World) -> None:
        spec = spec_of(world.try_pod(world.ada, STRICT, plain_pod("new")))
        assert spec["runtimeClassName"] == "bulkhead"
        assert spec["schedulerName"] == SCHEDULER
        assert spec["overhead"] == {"cpu": "100m", "memory": "128Mi"}

    def test_a_trusted_pod_keeps_its_runtime_and_gets_the_scheduler(self, world: World) -> None:
        spec = spec_of(world.try_pod(world.grace, TRUSTED, plain_pod("new")))
        assert "runtimeClassName" not in spec
        assert "overhead" not in spec
        assert spec["schedulerName"] == SCHEDULER

    @pytest.mark.parametrize("name", ["bulkhead", "runc"])
    def test_a_trusted_pod_may_ask_for_any_class(self, world: World, name: str) -> None:
        pod = plain_pod("new")
        pod["spec"]["runtimeClassName"] = name
        assert spec_of(world.try_pod(world.grace, TRUSTED, pod))["runtimeClassName"] == name

    def test_a_trusted_tenant_that_wants_the_sandbox_gets_it_and_cannot_leave_it(self, world: World) -> None:
        pod = plain_pod("new")
        assert spec_of(world.try_pod(world.admin, "cautious", pod))["runtimeClassName"] == "bulkhead"
        pod["spec"]["runtimeClassName"] = "runc"
        assert_denied(world.try_pod(world.admin, "cautious", pod), "tenant-runtime")

    def test_a_pod_outside_every_tenant_is_left_alone(self, world: World) -> None:
        pod = plain_pod("new")
        pod["spec"]["hostPID"] = True
        spec = spec_of(world.try_pod(world.admin, "stranger", pod))
        assert "runtimeClassName" not in spec
        assert spec["schedulerName"] == "default-scheduler"

    def test_service_accounts_of_an_untrusted_tenant_hand_out_no_token_unasked(self, world: World) -> None:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "worker"}}
        mine = must(world.ada.create(account, UNTRUSTED)).body
        assert mine["automountServiceAccountToken"] is False
        assert "automountServiceAccountToken" not in must(world.grace.create(account, TRUSTED)).body

    def test_quota_counts_the_overhead(self, world: World) -> None:
        path = f"/api/v1/namespaces/{STRICT}/resourcequotas/bulkhead"
        pod = plain_pod("counted")
        pod["spec"].pop("initContainers")
        wait_until("quota is counted", lambda: world.admin.get(path).body.get("status", {}).get("used"))
        must(world.ada.create(pod, STRICT))
        used = world.admin.get(path).body["status"]["used"]
        assert (used["requests.memory"], used["requests.cpu"], used["pods"]) == ("144Mi", "110m", "1")
        too_big = copy.deepcopy(pod)
        too_big["metadata"]["name"] = "too-big"
        too_big["spec"]["containers"][0]["resources"]["requests"]["memory"] = "100Gi"
        refused = world.ada.create(too_big, STRICT)
        assert refused.status == 403
        assert "exceeded quota: bulkhead" in refused.message

    def test_a_container_without_requests_gets_them(self, world: World) -> None:
        pod = plain_pod("new")
        del pod["spec"]["containers"][0]["resources"]
        [container] = spec_of(world.try_pod(world.ada, STRICT, pod))["containers"]
        assert container["resources"]["requests"] == {"cpu": "100m", "memory": "128Mi"}

    def test_the_priority_class_of_the_ceiling_is_allowed(self, world: World) -> None:
        pod = plain_pod("new")
        pod["spec"]["priorityClassName"] = "bulkhead-agents"
        assert spec_of(world.try_pod(world.ada, STRICT, pod))["priority"] == 0

    def test_a_device_that_the_quota_names_is_allowed_with_its_taint(self, world: World) -> None:
        pod = plain_pod("new")
        pod["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/gpu": "1"}
        pod["spec"]["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
        assert spec_of(world.try_pod(world.ada, STRICT, pod))


class TestWalls:
    """Objects that hold a wall up, against somebody whom RBAC gives every right in the namespace."""

    @pytest.mark.parametrize(
        ("kind", "name"),
        [("NetworkPolicy", "bulkhead-isolate"), ("NetworkPolicy", "bulkhead-allow"),
         ("ResourceQuota", "bulkhead"), ("LimitRange", "bulkhead"), ("Role", "bulkhead-admin"),
         ("RoleBinding", "bulkhead-admin")],
    )  # fmt: skip
    def test_ours_are_neither_changed_nor_deleted_by_a_tenant(
        self, world: World, kind: str, name: str
    ) -> None:
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

    def test_an_administrator_lacks_the_rights_anyway(self, world: World) -> None:
        for kind in ("NetworkPolicy", "ResourceQuota", "LimitRange"):
            [manifest, *_] = pick(world.rendered, kind, UNTRUSTED)
            answer = world.ada.delete(f"{collection(manifest)}/{manifest['metadata']['name']}")
            assert answer.status == 403
            assert "cannot delete resource" in answer.message

    @pytest.mark.parametrize(("who", "where"), [("mallory", UNTRUSTED), ("margaret", TRUSTED)])
    def test_nobody_opens_the_network_with_a_policy_of_his_own(
        self, world: World, who: str, where: str
    ) -> None:
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

    def test_a_tenant_cannot_give_itself_the_right_to_bind(self, world: World) -> None:
        rules = [{"apiGroups": [""], "resources": ["pods/binding"], "verbs": ["create"]}]
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "bind"}}
        answer = world.ada.create({**role, "rules": rules}, UNTRUSTED)
        assert answer.status == 403
        assert "attempting to grant RBAC permissions not currently held" in answer.message

    def test_the_older_bindings_resource_is_closed_too(self, world: World) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "plain"}, "target": target}
        assert_denied(
            world.mallory.call("POST", f"/api/v1/namespaces/{UNTRUSTED}/bindings", binding), "binding"
        )

    def test_a_token_that_never_expires_is_not_made(self, world: World) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "forever", "annotations": {"kubernetes.io/service-account.name": "default"}},
            "type": "kubernetes.io/service-account-token",
        }
        assert_denied(world.ada.create(secret, UNTRUSTED), "token-secret")
        assert must(world.grace.create(secret, TRUSTED)).ok
        assert must(
            world.ada.create({**secret, "type": "Opaque", "metadata": {"name": "fine"}}, UNTRUSTED)
        ).ok

    def test_a_service_takes_no_foreign_address(self, world: World) -> None:
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "mitm"},
            "spec": {"ports": [{"port": 443}], "externalIPs": ["203.0.113.7"]},
        }
        assert_denied(world.ada.create(service, UNTRUSTED), "external-ip")
        assert must(world.grace.create(service, TRUSTED)).ok

    def test_a_node_port_is_outside_the_quota(self, world: World) -> None:
        path = f"/api/v1/namespaces/{UNTRUSTED}/resourcequotas/bulkhead"
        wait_until("quota is counted", lambda: world.admin.get(path).body.get("status", {}).get("used"))
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "node-port"}}
        answer = world.ada.create(
            {**service, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}, UNTRUSTED
        )
        assert answer.status == 403
        assert "services.nodeports=0" in answer.message

    @pytest.mark.parametrize("verb", ["exec", "attach", "portforward"])
    def test_a_service_account_of_another_tenant_has_no_business_inside(
        self, world: World, verb: str
    ) -> None:
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


class TestNamespaces:
    @pytest.fixture
    def fresh(self, world: World) -> Iterator[str]:
        """A namespace that somebody has just made under the untrusted tenant's prefix."""
        must(world.provisioner.create(namespace("agents-fresh")))
        yield "agents-fresh"
        must(world.admin.delete("/api/v1/namespaces/agents-fresh"))
        gone = wait_until(
            "the namespace is gone",
            lambda: world.admin.get("/api/v1/namespaces/agents-fresh").status == 404 or None,
        )
        assert gone  # the controllers could take our objects away with it

    def test_one_under_a_prefix_is_labelled_the_moment_it_is_made(self, world: World, fresh: str) -> None:
        labels = must(world.admin.get(f"/api/v1/namespaces/{fresh}")).body["metadata"]["labels"]
        assert labels == {
            "bulkhead.dev/tenant": "agents",
            "bulkhead.dev/trust": "untrusted",
            "kubernetes.io/metadata.name": fresh,
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
        }

    def test_it_runs_no_pod_before_its_walls_stand(self, world: World, fresh: str) -> None:
        account = f"/api/v1/namespaces/{fresh}/serviceaccounts/default"
        wait_until("the service account", lambda: world.admin.get(account).ok or None)
        assert_denied(world.try_pod(world.admin, fresh, plain_pod("early")), "namespace-not-ready")
        escape = sandboxed(plain_pod("early"))
        escape["spec"]["runtimeClassName"] = "runc"
        assert_denied(world.try_pod(world.admin, fresh, escape), "untrusted-runtime")
        ready = {"metadata": {"labels": {"bulkhead.dev/ready": "true"}}}
        assert_denied(world.provisioner.merge(f"/api/v1/namespaces/{fresh}", ready), "ready-label")
        world.apply_all(render(TENANTS, live_namespaces=[STRICT, fresh]))
        wait_until(
            "pods are let in", lambda: world.try_pod(world.ada, fresh, plain_pod("on-time")).ok or None
        )

    def test_nobody_moves_a_namespace_to_another_tenant(self, world: World, fresh: str) -> None:
        path = f"/api/v1/namespaces/{fresh}"
        for label, value in (("tenant", "platform"), ("tenant", None), ("trust", "trusted"), ("trust", None)):
            change = {"metadata": {"labels": {f"bulkhead.dev/{label}": value}}}
            labels = must(world.provisioner.merge(path, change)).body["metadata"]["labels"]
            assert (labels["bulkhead.dev/tenant"], labels["bulkhead.dev/trust"]) == ("agents", "untrusted")

    def test_a_namespace_of_nobody_cannot_call_itself_a_tenants(self, world: World) -> None:
        for label in ("tenant", "trust"):
            forged = namespace("nobodys", **{f"bulkhead.dev/{label}": "platform"})
            assert_denied(world.provisioner.create(forged), f"{label}-label")

    def test_the_level_of_pod_security_is_lowered_by_the_platform_alone(self, world: World) -> None:
        one = {
            "apiGroups": [""],
            "resources": ["namespaces"],
            "resourceNames": [STRICT],
            "verbs": ["patch", "get"],
        }
        rbac = "rbac.authorization.k8s.io"
        role: Json = {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "own-namespace"},
        }
        binding = {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "own-namespace"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "own-namespace"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": "ada"}],
        }
        must(world.admin.create({**role, "rules": [one]}))
        must(world.admin.create(binding))
        path = f"/api/v1/namespaces/{STRICT}"
        wait_until("the right counts", lambda: world.ada.get(path).ok or None)
        for level in ("privileged", None):
            lower = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}
            assert_denied(world.ada.merge(path + "?dryRun=All", lower), "pod-security-label")
        fine = {"metadata": {"labels": {"team": "blue"}}}
        assert must(world.ada.merge(path + "?dryRun=All", fine)).ok


class TestFailClosed:
    @pytest.fixture
    def without_mutation(self, world: World) -> Iterator[None]:
        """A cluster that has validating policies only."""
        bindings = list(pick(world.rendered, "MutatingAdmissionPolicyBinding"))
        for binding in bindings:
            must(world.admin.delete(f"{collection(binding)}/{binding['metadata']['name']}"))
        wait_until(
            "mutation has stopped",
            lambda: not world.try_pod(world.ada, UNTRUSTED, plain_pod("new")).ok or None,
        )
        yield
        world.apply_all(bindings)
        world.enforced()

    @pytest.mark.usefixtures("without_mutation")
    def test_without_mutation_a_silent_pod_is_refused_and_an_outspoken_one_runs(self, world: World) -> None:
        answer = world.try_pod(world.ada, STRICT, plain_pod("silent"))
        assert_denied(answer, "untrusted-runtime")
        assert "names no runtimeClassName; allowed: bulkhead" in answer.message
        pod = plain_pod("half-silent")
        pod["spec"]["runtimeClassName"] = "bulkhead"
        assert_denied(world.try_pod(world.ada, STRICT, pod), "scheduler-name")
        assert spec_of(world.try_pod(world.ada, STRICT, sandboxed(plain_pod("outspoken"))))
        assert spec_of(world.try_pod(world.grace, TRUSTED, plain_pod("trusted")))

    @pytest.mark.usefixtures("without_mutation")
    def test_without_mutation_a_namespace_without_its_label_is_refused(self, world: World) -> None:
        wait_until(
            "namespaces are not mutated",
            lambda: not world.provisioner.call(
                "POST", "/api/v1/namespaces?dryRun=All", namespace("agents-bare")
            ).ok or None,
        )  # fmt: skip
        assert_denied(world.provisioner.create(namespace("agents-bare")), "tenant-label")
        whole = {"bulkhead.dev/tenant": "agents", "bulkhead.dev/trust": "untrusted"}
        path = "/api/v1/namespaces?dryRun=All"
        assert must(world.provisioner.call("POST", path, namespace("agents-bare", **whole))).ok
        moved = {"metadata": {"labels": {"bulkhead.dev/tenant": "platform"}}}
        assert_denied(world.provisioner.merge(f"/api/v1/namespaces/{STRICT}", moved), "tenant-label")

    def test_without_facts_nothing_gets_in_and_the_cluster_itself_goes_on(self, world: World) -> None:
        facts = find(world.rendered, "ConfigMap", "bulkhead-tenants")
        must(world.admin.delete(f"{collection(facts)}/bulkhead-tenants"))
        try:
            refused = wait_until(
                "pods are refused",
                lambda: _refusal(world.try_pod(world.ada, STRICT, sandboxed(plain_pod("new")))),
            )
            assert "failed to configure binding" in refused.message
            escape = sandboxed(plain_pod("new"))
            escape["spec"]["runtimeClassName"] = "runc"
            assert not world.try_pod(world.ada, STRICT, escape).ok
            assert spec_of(world.try_pod(world.admin, "kube-system", plain_pod("dns")))
        finally:
            world.apply_all([facts])
            world.enforced()


def _refusal(answer: Answer) -> Answer | None:
    return None if answer.ok else answer


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
    from tests.support.escapes import ESCAPES

    shown = {e.rule for e in ESCAPES} | {e.trusted_rule for e in ESCAPES} | {
        "binding", "foreign-exec", "tenant-label", "trust-label", "ready-label", "pod-security-label",
        "platform-object", "network-policy", "token-secret", "external-ip", "namespace-not-ready",
    }  # fmt: skip
    assert set(rule_names()) == shown - {""}
