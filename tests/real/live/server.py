"""What the tests of this room do with the API server: run our command against it, look at it, put things there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tenants.manifests.objects import MANAGED_BY, OWNER
from tenants.model import TenantSet
from tenants.plan.order import KINDS
from tests.support.command import Ran, argv, tenants, write_files
from tests.support.kubernetes import ADMIN, Answer, ControlPlane, collection, wait_until
from tests.support.manifests import SANDBOX

Json = dict[str, Any]
NOBODY = TenantSet(runtime_classes={"bulkhead": SANDBOX})
LEFT = {
    "RuntimeClass /bulkhead",
    "TenantTable /tenants",
    "CustomResourceDefinition /tenanttables.bulkhead.dev",
    "ConfigMap kube-system/bulkhead-tenant-files",
}


class Server:
    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self.plane = plane
        self.directory = directory
        self.admin = plane.api()

    def run(self, command: str, model: TenantSet, *words: str | Path, user: str = ADMIN) -> Ran:
        """plan, apply or audit of these tenants against the API server."""
        files = write_files(self.directory / "tenants", model)
        return tenants(command, files, "--kubeconfig", self.plane.kubeconfig(user), *words)

    def apply(self, model: TenantSet, *words: str, user: str = ADMIN) -> Ran:
        return self.run("apply", model, "--yes", "--format", "json", *words, user=user)

    def start(self, model: TenantSet, *words: str) -> subprocess.Popen[str]:
        """An apply that the test may kill."""
        files = write_files(self.directory / "tenants", model)
        line = argv(
            "apply", files, "--kubeconfig", self.plane.kubeconfig(), "--yes", "--format", "json", *words
        )
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def plan(self, model: TenantSet, *words: str, user: str = ADMIN) -> Ran:
        return self.run("plan", model, *words, user=user)

    def ours(self) -> list[Json]:
        """Every object with our label, without what the server notes in it."""
        found: list[Json] = []
        for kind, version in KINDS.items():
            path = collection({"apiVersion": version, "kind": kind, "metadata": {}})
            items = must(self.admin.get(f"{path}?labelSelector={MANAGED_BY}%3D{OWNER}")).body["items"]
            found += [{"kind": kind, "apiVersion": version, **item} for item in items]
        return found

    def names(self) -> set[str]:
        """Ours, as kind namespace/name."""
        return {f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
                for one in self.ours()}  # fmt: skip

    def create(self, manifest: Json) -> Json:
        return must(self.admin.create(manifest)).body

    def get(self, manifest: Json) -> Answer:
        return self.admin.get(f"{collection(manifest)}/{manifest['metadata']['name']}")

    def pod(self, namespace: str, name: str, **spec: Any) -> Json:
        """A pod that the API server takes; nothing runs it."""
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": namespace},
        }
        assert self.admin.create(account).status in {201, 409}
        containers = [{"name": "main", "image": "registry.example/app"}]
        return self.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
                            "spec": {"containers": containers, **spec}})  # fmt: skip

    def clean(self) -> None:
        """Apply a set without tenants; prove that only the admission policies are left, and no namespace.

        The policies stay: a kube-apiserver that saw the last policy with ConfigMap parameters go does not watch
        ConfigMaps again when one comes back (seen with 1.36.3), and fails closed until it is restarted.
        """
        for namespace in self._namespaces():
            for pod in self.admin.get(f"/api/v1/namespaces/{namespace}/pods").body["items"]:
                must(self.admin.delete(f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"))
        ran = self.apply(NOBODY, "--delete-namespaces", "--force-conflicts")
        assert ran.status == 0, ran.out + ran.err
        for namespace in self._namespaces():
            self.admin.delete(f"/api/v1/namespaces/{namespace}")
        wait_until("the namespaces of the test are gone", lambda: not self._namespaces() or None, 60)
        assert not {name for name in self.names() if "AdmissionPolicy" not in name} - LEFT
        self.admin.close()

    def _namespaces(self) -> list[str]:
        found = [one["metadata"]["name"] for one in must(self.admin.get("/api/v1/namespaces")).body["items"]]
        return [name for name in found if not name.startswith("kube-") and name != "default"]


def must(answer: Answer) -> Answer:
    assert answer.ok, f"{answer.status} {answer.message}"
    return answer


def must_apply(server: Server, model: TenantSet, *words: str) -> None:
    ran = server.apply(model, *words)
    assert ran.status == 0, ran.out + ran.err


def namespace(name: str, **labels: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
