"""What the tests of this room find: two tenants under the rendered set, their people, and pods from before."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from tenants.manifests import SCHEDULER, render
from tests.support.escapes import ESCAPES, Escape, Json, escaping, merge, plain_pod
from tests.support.kubernetes import Answer, Api, ControlPlane, wait_until
from tests.support.manifests import TENANTS, Manifest, find, pick

UNTRUSTED: Final = "agents"  # Pod Security switched off: the policies stand alone
TRUSTED: Final = "platform"  # the same
STRICT: Final = "agents-strict"  # under the tenant's prefix, with everything on
CONTROLLERS: Final = (
    "daemonset-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "statefulset-controller",
    "validatingadmissionpolicy-status-controller",
)
_EVERYTHING: Final = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
_RBAC: Final = "rbac.authorization.k8s.io"


class World:
    """The control plane and a connection for each person."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.admin = plane.api()
        self.ada, self.grace, self.mallory, self.margaret, self.provisioner = map(
            plane.api, ("ada", "grace", "mallory", "margaret", "provisioner")
        )
        self.rendered = render(TENANTS, live_namespaces=[STRICT])

    def apply_all(self, manifests: list[Manifest] | None = None) -> None:
        """The set, in its order; a policy that was changed a moment ago may still refuse, so some try again."""
        for manifest in self.rendered if manifests is None else manifests:
            wait_until(
                f"apply {manifest['kind']} {manifest['metadata']['name']}",
                lambda manifest=manifest: _applied(self.admin.apply(manifest)),  # type: ignore[misc]
                10,
            )
        self.lower_pod_security()

    def lower_pod_security(self) -> None:
        """Leaves the policies alone in two namespaces: what is refused there, they refuse."""
        off = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
        for name in (UNTRUSTED, TRUSTED):
            path = f"/api/v1/namespaces/{name}"
            wait_until("new facts are read", lambda path=path: self.admin.merge(path, off).ok or None)  # type: ignore[misc]

    def enforced(self) -> None:
        """Waits until both kinds of policy act on what comes in."""
        bad = sandboxed(plain_pod("probe"))
        bad["spec"]["hostPID"] = True
        wait_until(
            "validation acts", lambda: _names(self.try_pod(self.ada, UNTRUSTED, bad), "host-namespace")
        )
        wait_until("mutation acts", lambda: self.try_pod(self.ada, UNTRUSTED, plain_pod("probe")).ok or None)
        label = {"metadata": {"labels": {"bulkhead.dev/tenant": "platform"}}}
        path = "/api/v1/namespaces/stranger?dryRun=All"
        wait_until("namespaces are watched", lambda: _names(self.admin.merge(path, label), "tenant-label"))

    def try_pod(self, who: Api, namespace: str, pod: Json) -> Answer:
        """What would happen to a pod; nothing is stored."""
        return who.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)


def build(plane: ControlPlane) -> World:
    """Starts the controllers, makes the pods from before, applies the set and waits until it holds."""
    world = World(plane)
    plane.start_controllers(*CONTROLLERS)
    admin = world.admin
    for name in (UNTRUSTED, TRUSTED, STRICT, "stranger"):
        must(admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    for manifest in pick(world.rendered, "RuntimeClass"):
        must(admin.apply(manifest))
    kata = copy.deepcopy(find(world.rendered, "RuntimeClass", "runc"))
    must(admin.create({**kata, "metadata": {"name": "kata"}, "handler": "kata"}))
    high = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}}
    must(admin.create({**high, "value": 1000}))
    for name in (UNTRUSTED, TRUSTED, STRICT):
        path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        wait_until(f"the service account of {name}", lambda path=path: admin.get(path).ok or None)  # type: ignore[misc]
    for escape in ESCAPES:
        for name in (UNTRUSTED, TRUSTED):
            must(admin.create(legacy_pod(escape), name))
    grant(world)
    world.apply_all()
    world.enforced()
    for name, who in ((UNTRUSTED, world.ada), (TRUSTED, world.grace)):
        plain = plain_pod("plain")
        plain["spec"]["hostUsers"] = False  # so that an ephemeral container may ask for an unmasked /proc
        must(who.create(plain, name))
    return world


def grant(world: World) -> None:
    """Rights that a careful platform would not give, to show that the policies do not lean on RBAC."""
    for name, user in ((UNTRUSTED, "mallory"), (STRICT, "mallory"), (TRUSTED, "margaret")):
        must(world.admin.create(_role("Role", name, _EVERYTHING)))
        must(world.admin.create(_role_binding("Role", name, user)))
    namespaces = [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["*"]}]
    must(world.admin.create(_role("ClusterRole", "", namespaces)))
    must(world.admin.create(_role_binding("ClusterRole", "", "provisioner")))


def _role(kind: str, namespace: str, rules: list[Json]) -> Json:
    metadata = {"name": "too-much", **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules}


def _role_binding(kind: str, namespace: str, user: str) -> Json:
    binding = _role(f"{kind}Binding", namespace, [])
    del binding["rules"]
    binding["roleRef"] = {"apiGroup": _RBAC, "kind": kind, "name": "too-much"}
    binding["subjects"] = [{"apiGroup": _RBAC, "kind": "User", "name": user}]
    return binding


def sandboxed(pod: Json) -> Json:
    """The pod with class and scheduler written out, as mutation would have."""
    changed = copy.deepcopy(pod)
    changed["spec"] = {"runtimeClassName": "bulkhead", "schedulerName": SCHEDULER, **changed["spec"]}
    return changed


def legacy_pod(escape: Escape) -> Json:
    """A pod that got out before there were policies; otherwise it is as it should be."""
    return escaping(escape, sandboxed(plain_pod(f"legacy-{escape.name}")))


def must(answer: Answer) -> Answer:
    """The answer, which has to be a success."""
    assert answer.ok, answer.message
    return answer


def assert_denied(answer: Answer, rule: str) -> None:
    assert answer.status == 403, f"{answer.status} {answer.message}"
    assert f"bulkhead: {rule}: " in answer.message


def namespace(name: str, **labels: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def spec_of(answer: Answer) -> Json:
    assert answer.ok, answer.message
    spec: Json = answer.body["spec"]
    return spec


def _applied(answer: Answer) -> Answer | None:
    """A set that the server finds invalid is a defect; a refusal by an old policy passes."""
    later = answer.status in (404, 409) or "bulkhead: " in answer.message  # 404: a kind that is new
    assert answer.ok or later, answer.message
    return answer if answer.ok else None


def _names(answer: Answer, rule: str) -> bool | None:
    return f"bulkhead: {rule}: " in answer.message or None


def pods(world: World, namespace: str, name: str) -> str:
    """Path of a pod."""
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


Change = Callable[[World, str, str], Answer]


def change_image(who: Callable[[World], Api]) -> Change:
    """An update that every tenant makes daily."""

    def change(world: World, namespace: str, name: str) -> Answer:
        pod = world.admin.get(pods(world, namespace, name)).body
        pod["spec"]["containers"][0]["image"] = "registry.example/app:2"
        return who(world).replace(pods(world, namespace, name) + "?dryRun=All", pod)

    return change


def debug(who: Callable[[World], Api], **settings: Any) -> Change:
    """An ephemeral container; `settings` is its security context."""

    def change(world: World, namespace: str, name: str) -> Answer:
        pod = world.admin.get(pods(world, namespace, name)).body
        container: Json = {"name": "debug", "image": "registry.example/debug:1"}
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        merge(container["securityContext"], settings)
        pod["spec"].setdefault("ephemeralContainers", []).append(container)
        path = pods(world, namespace, name) + "/ephemeralcontainers?dryRun=All"
        return who(world).replace(path, pod)

    return change


def resize(who: Callable[[World], Api]) -> Change:
    """More CPU for the main container, in place."""

    def change(world: World, namespace: str, name: str) -> Answer:
        pod = world.admin.get(pods(world, namespace, name)).body
        pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "20m"
        return who(world).replace(pods(world, namespace, name) + "/resize?dryRun=All", pod)

    return change


def bind(who: Callable[[World], Api]) -> Change:
    """What only the scheduler does."""

    def change(world: World, namespace: str, name: str) -> Answer:
        target = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        return who(world).call("POST", pods(world, namespace, name) + "/binding?dryRun=All", binding)

    return change
