"""An API server as a Target: server-side apply under one field manager, dry runs, deletion, what runs there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote

from tenants import pods as running
from tenants.errors import ClusterError
from tenants.live.connection import Answer, Connection, refused
from tenants.live.refusals import (
    EMPTIED,
    IMMUTABLE,
    OWN_RULE,
    UNREADY,
    conflict_of,
    conflicts,
    relabelled,
    says,
)
from tenants.manifests.admission.facts import FACTS_GROUP, FACTS_KIND, FACTS_NAME, FACTS_VERSION
from tenants.manifests.objects import MANAGED_BY, OWNER
from tenants.model import Pool
from tenants.plan.changes import Conflict, Immutable, Unsaid
from tenants.plan.objects import Object, Ref, ref
from tenants.plan.order import KINDS
from tenants.pods import GONE, Pod

MANAGER: Final = "bulkhead"
PAGE: Final = "500"
READERS: Final = 8
_LOOK_SECONDS: Final = 1.5
_PAUSES_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)


class Cluster:
    """Objects behind one API server. `pools` says which nodes make up which pool, for counting pods."""

    def __init__(
        self,
        connection: Connection,
        pools: Mapping[str, Pool] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = connection
        self._sleep = sleep
        self._pauses = iter(
            _PAUSES_SECONDS
        )  # for the whole run: a server that stays unready is not waited for twice
        self._pools = pools or {}
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    @property
    def name(self) -> str:
        """The server's address."""
        return self._connection.host

    @property
    def acts(self) -> bool:
        """At once."""
        return True

    def owned(self) -> dict[Ref, Object]:
        """Every object of a kind that we render, with our label."""
        found: dict[Ref, Object] = {}
        for kind, version in KINDS.items():
            for manifest in self.listed(version, kind, {"labelSelector": f"{MANAGED_BY}={OWNER}"}):
                found[ref(manifest)] = manifest
        return found

    def current(self, refs: Iterable[Ref]) -> dict[Ref, Object]:
        """Read one by one, several at a time: they are few when most are ours already."""
        wanted = list(refs)
        with ThreadPoolExecutor(READERS) as readers:
            answers = readers.map(self._read, wanted)
        return {one: manifest for one, manifest in zip(wanted, answers, strict=True) if manifest is not None}

    def serves(self, version: str, kind: str) -> bool:
        """Whether the server knows the kind."""
        return kind in self._kinds(version)

    def _read(self, one: Ref) -> Object | None:
        if not self.serves(one.api_version, one.kind):
            return None
        answer = self._connection.ask("GET", self._path(one))
        if answer.status == 404:
            return None
        if not answer.ok:
            raise refused(answer, f"read {one}")
        return answer.body

    def listed(self, version: str, kind: str, query: Mapping[str, str] | None = None) -> Iterator[Object]:
        """All objects of a kind in all namespaces, page by page; none where the server has no such kind."""
        if kind not in self._kinds(version):
            return
        plural, _ = self._kinds(version)[kind]
        path, following = f"{_root(version)}/{plural}", {"limit": PAGE, **(query or {})}
        while True:
            page = self._connection.demand("GET", path, following, purpose=f"list {plural}")
            for item in page.get("items") or ():
                yield {"apiVersion": version, "kind": kind, **item}
            token = page["metadata"].get("continue")
            if not token:
                return
            following["continue"] = token

    def versions(self, group: str) -> list[str]:
        """The apiVersion that the server prefers for a group; none where it has no such group."""
        if not group:
            return ["v1"]
        answer = self._connection.ask("GET", f"/apis/{group}")
        if answer.status == 404:
            return []
        if not answer.ok:
            raise refused(answer, f"see what {group} has")
        return [answer.body["preferredVersion"]["groupVersion"]]

    def preview(self, manifest: Object, *, force: bool) -> Object | Conflict | Immutable | Unsaid:
        """The server's own dry run."""
        answer = self._apply(manifest, force=force, dry=True)
        return answer.body if isinstance(answer, Answer) else answer

    def write(self, manifest: Object, *, force: bool) -> Conflict | None:
        """Server-side apply; a kind that was only just defined is waited for.

        Where a field can't change, delete and apply: a crash between the two leaves a creation.
        """
        while not self.serves(manifest["apiVersion"], manifest["kind"]) and self._wait():
            self._resources.pop(manifest["apiVersion"], None)
        answer = self._apply(manifest, force=force, dry=False)
        if isinstance(answer, Immutable):
            self.remove(ref(manifest))
            answer = self._apply(manifest, force=force, dry=False)
        while isinstance(answer, Answer) and (changed := relabelled(manifest, answer.body)):
            if not self._wait():
                raise ClusterError(
                    f"admission does not let {ref(manifest)} have the label {changed}; apply again"
                )
            answer = self._apply(manifest, force=force, dry=False)
        if isinstance(answer, Immutable | Unsaid):
            raise ClusterError(f"cannot replace {ref(manifest)}: {answer.detail}")
        return answer if isinstance(answer, Conflict) else None

    def _apply(self, manifest: Object, *, force: bool, dry: bool) -> Answer | Conflict | Immutable | Unsaid:
        one = ref(manifest)
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": str(force).lower()}
        if dry:
            query["dryRun"] = "All"
        patience = (UNREADY,) if dry else (UNREADY, OWN_RULE)
        answer = self._ask_until_ready("PATCH", self._path(one), query, manifest, patience)
        if dry and says(answer, (UNREADY, OWN_RULE)):
            return Unsaid(answer.message)
        if answer.status == 422 and EMPTIED in answer.message:
            answer = self._replace(one, manifest, query)
        if answer.status == 409 and (causes := conflicts(answer)):
            conflict = conflict_of(one, causes, answer.message)
            # our own earlier replacement counts as another manager of the same name
            return self._apply(manifest, force=True, dry=dry) if conflict.managers == (MANAGER,) else conflict
        if answer.status == 422 and any(word in answer.message for word in IMMUTABLE):
            return Immutable(answer.message)
        if not answer.ok:
            raise refused(answer, f"{'preview' if dry else 'apply'} {one}")
        return answer

    def would_create_pod(self, manifest: Object, namespace: str | None) -> str:
        """What the server says against a new pod, in its own words; empty = it would be admitted."""
        meta = dict(manifest["metadata"])
        home = namespace or meta.get("namespace") or "default"
        pod = {**manifest, "metadata": {**meta, "namespace": home}}
        answer = self._connection.ask(
            "POST", f"/api/v1/namespaces/{quote(home)}/pods", {"dryRun": "All"}, pod
        )
        return "" if answer.ok else answer.message

    def settle(self) -> None:
        """The server looks at its policies once a second: ask for what no policy of ours allows until it says no.

        One rule answers for all, so one more look is waited for.
        """
        table = Ref(FACTS_KIND, "", FACTS_NAME, f"{FACTS_GROUP}/{FACTS_VERSION}")
        while not says(self._connection.ask("DELETE", self._path(table), {"dryRun": "All"}), (OWN_RULE,)):
            if not self._wait():
                raise ClusterError("the admission policies are not enforced yet; apply again")
        self._sleep(_LOOK_SECONDS)

    def _replace(self, one: Ref, manifest: Object, query: Mapping[str, str]) -> Answer:
        """PUT, for what an apply cannot say: that a map has no entry left."""
        present = self._connection.demand("GET", self._path(one), purpose=f"read {one}")
        version = {"resourceVersion": present["metadata"]["resourceVersion"]}
        whole = {**manifest, "metadata": {**manifest["metadata"], **version}}
        plain = {key: value for key, value in query.items() if key != "force"}
        return self._connection.ask("PUT", self._path(one), plain, whole)

    def _ask_until_ready(
        self, method: str, path: str, query: Mapping[str, str], body: Any, patience: tuple[str, ...]
    ) -> Answer:
        answer = self._connection.ask(method, path, query, body)
        while says(answer, patience) and self._wait():
            answer = self._connection.ask(method, path, query, body)
        return answer

    def _wait(self) -> bool:
        """Pause, longer each time; False when this run has paused enough."""
        pause = next(self._pauses, None)
        if pause is None:
            return False
        self._sleep(pause)
        return True

    def remove(self, one: Ref) -> None:
        """Background deletion; the server's garbage collector takes what hangs on it."""
        query = {"propagationPolicy": "Background"}
        answer = self._ask_until_ready("DELETE", self._path(one), query, None, (UNREADY, OWN_RULE))
        # 409: a namespace that is going away already
        if not answer.ok and answer.status not in {404, 409}:
            raise refused(answer, f"delete {one}")

    def release(self, one: Ref) -> None:
        """An apply that states nothing gives up every field that we own."""
        meta = {"name": one.name} | ({"namespace": one.namespace} if one.namespace else {})
        self._apply(
            {"apiVersion": one.api_version, "kind": one.kind, "metadata": meta}, force=False, dry=False
        )

    def occupied(self, namespace: str) -> str:
        """Pods that are not over, and volumes."""
        pods = self._in(namespace, "Pod")
        alive = sum((pod.get("status") or {}).get("phase") not in GONE for pod in pods)
        volumes = len(self._in(namespace, "PersistentVolumeClaim"))
        words = [f"{number} {word}{'' if number == 1 else 's'}"
                 for number, word in ((alive, "pod"), (volumes, "volume claim")) if number]  # fmt: skip
        return " and ".join(words)

    def _in(self, namespace: str, kind: str) -> list[Any]:
        plural, _ = self._kinds("v1")[kind]
        path = f"/api/v1/namespaces/{quote(namespace)}/{plural}"
        found = self._connection.demand(
            "GET", path, purpose=f"see which {plural} namespace {namespace} holds"
        )
        return list(found.get("items") or ())

    def pods(self) -> list[Pod] | None:
        """Pods of all namespaces that are not over; None where these credentials may not list them."""
        try:
            pools = {node["metadata"]["name"]: running.pool_of(node["metadata"].get("labels") or {}, self._pools)
                     for node in (self.listed("v1", "Node") if self._pools else ())}  # fmt: skip
            found = self.listed(
                "v1", "Pod", {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
            )
            return [self._pod(pod, pools) for pod in found]
        except ClusterError as error:
            if error.status == 403:
                return None
            raise

    def _pod(self, manifest: Object, pools: Mapping[str, str]) -> Pod:
        pool = pools.get(manifest["spec"].get("nodeName", ""))
        return running.read(manifest, pool) if pool else running.read(manifest)

    def namespaces(self) -> list[str]:
        """Those that are there and stay."""
        return [found["metadata"]["name"] for found in self.listed("v1", "Namespace")
                if not found["metadata"].get("deletionTimestamp")]  # fmt: skip

    def _path(self, one: Ref) -> str:
        kinds = self._kinds(one.api_version)
        if one.kind not in kinds:
            raise ClusterError(
                f"{self.name} serves no {one.kind} in {one.api_version}; Kubernetes 1.36 or newer is needed"
            )
        plural, namespaced = kinds[one.kind]
        place = f"/namespaces/{quote(one.namespace)}" if namespaced else ""
        return f"{_root(one.api_version)}{place}/{plural}/{quote(one.name)}"

    def _kinds(self, version: str) -> dict[str, tuple[str, bool]]:
        """Kind -> plural name and whether it lives in namespaces, as the server says; asked once."""
        if version not in self._resources:
            answer = self._connection.ask("GET", _root(version))
            if not answer.ok and answer.status != 404:
                raise refused(answer, f"see what {version} has")
            served = answer.body.get("resources") or () if answer.ok else ()
            self._resources[version] = {
                resource["kind"]: (resource["name"], resource["namespaced"])
                for resource in served
                if "/" not in resource["name"]
            }
        return self._resources[version]


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"
