"""One world: etcd, kube-apiserver, kube-scheduler, a Service, replicas of `bulkhead serve`, a driver and a judge.

The control plane lives through all scenarios; the replicas and their store are made anew by `use`. Every wait has an
end. `close` proves that nothing is left.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.control_plane.scheduler import KubeScheduler
from scheduler.store.opening import open_store
from tests.chaos import cast
from tests.chaos.driver import Driver
from tests.chaos.judge import Judge, Standing
from tests.chaos.replica import Replica, build_clock, warm_up
from tests.chaos.service import Service
from tests.support.certificates import server_files
from tests.support.kubernetes import Api, ControlPlane, is_open, tools, wait_until
from tests.support.serving import ACCOUNT, ROOT
from tests.support.stores import RedisServer

CONFIG: Final = ROOT / "deploy" / "scheduler" / "kube-scheduler-config.yaml"
RECOVERY_S: Final = 120.0
SETTLED_S: Final = 120.0
LEASE: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/bulkhead-scheduler"


class World:
    """Start it with `with`; then `use`."""

    def __init__(
        self, directory: Path, *, seed: int = 1, per_second: float = 12, lease_s: int = 15,
        outage_s: float = 30.0, reservation_s: int = 20,
    ) -> None:  # fmt: skip
        self.directory, self._seed, self._per_second, self.lease_s = directory, seed, per_second, lease_s
        self.outage_s, self.reservation_s = outage_s, reservation_s
        self.place: Path | None = None
        self.replicas: list[Replica] = []
        self.redis: RedisServer | None = None
        self.store = ""
        self._uses = 0
        self._threads = threading.active_count()
        self._open = contextlib.ExitStack()

    def __enter__(self) -> World:
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        self.directory.mkdir(parents=True)
        flags = ("--storage-media-type=application/json", "--etcd-compaction-interval=0")
        self.plane = self._open.enter_context(
            ControlPlane(tools("kube-scheduler"), self.directory / "plane", {ACCOUNT: ()}, flags)
        )
        self.api = self.plane.api()
        warm_up()
        self.settable_clock = build_clock(self.directory)
        self.authority, self.tls = server_files(self.directory)
        self.caller = self.authority.issue("caller")
        self.tenants = self.directory / "tenants"
        self.tenants.mkdir()
        self.write_tenants(cast.tenant_files())
        furnish(self.api)
        self.judge = Judge(self.plane.etcd_port)
        self._open.callback(self.judge.close)
        self.service = Service(lambda: self.replicas)
        self._open.callback(self.service.close)
        self.scheduler = KubeScheduler(self.plane, self._scheduler_fields())
        self.scheduler.wait_ready()
        self.driver = Driver(self.plane, self.judge, self._seed, self._per_second)
        self.driver.pause()
        self._open.callback(self.driver.close)
        self._open.callback(self.retire)

    def close(self) -> None:
        """Ends everything and proves that no process, port, thread or mount is left."""
        self._open.close()
        assert threading.active_count() <= self._threads, threading.enumerate()
        assert str(self.directory) not in Path("/proc/mounts").read_text()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _scheduler_fields(self) -> dict[str, Any]:
        """The configuration of deploy/, with the paths of this world."""
        config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
        (extender,) = config["extenders"]
        extender["urlPrefix"] = f"https://127.0.0.1:{self.service.port}"
        extender["tlsConfig"] |= {
            "caFile": str(self.tls.client_ca), "certFile": str(self.caller[0]), "keyFile": str(self.caller[1]),
        }  # fmt: skip
        return {"profiles": config["profiles"], "extenders": config["extenders"]}

    # --- replicas -------------------------------------------------------------------------------------------

    def use(self, store: str, count: int, *flags: str) -> None:
        """From now on so many replicas on a new store, `sqlite` (in `place` if that is set) or `redis`."""
        self.retire()
        self._uses += 1
        home = self.directory / f"use{self._uses}"
        home.mkdir()
        if store == "redis":
            self.redis = RedisServer(home / "redis", "--appendonly yes --appendfsync always")
            self.store = f"{self.redis.address}?patience=3"
        else:
            self.store = f"sqlite:{(self.place or home) / 'ledger.db'}?patience=3"
        self.write_tenants(cast.tenant_files())
        given = (f"--lease-seconds={self.lease_s}", f"--reservation-seconds={self.reservation_s}", *flags)
        account = self.plane.kubeconfig(ACCOUNT)
        self.replicas = [
            Replica(home / f"replica{number}", account, self.tenants, self.store, self.tls, given)
            for number in range(count)
        ]
        if self.settable_clock:
            shutil.copy(self.directory / "clock.so", home)
        for replica in self.replicas:
            replica.start()
        for replica in self.replicas:
            replica.wait_ready()
        self.driver.resume()
        self.recovered(time.monotonic())

    def retire(self) -> None:
        """Ends the replicas and their store; proves that their processes and ports are gone."""
        self.driver.pause()
        replicas, self.replicas = self.replicas, []
        for replica in replicas:
            replica.send(signal.SIGCONT)
            replica.end(signal.SIGTERM)
        if self.redis is not None:
            self.redis.kill()
            self.redis = None
        assert not [one.port for one in replicas if is_open(one.port) or is_open(one.health)]

    def leader(self) -> Replica:
        """The replica that holds the lease."""

        def look() -> Replica | None:
            spec = self.api.get(LEASE).body.get("spec", {})
            pid = int(spec.get("holderIdentity", "").split("_")[-2:][0] or 0)
            return next((one for one in self.replicas if one.alive() and one.pid == pid), None)

        return wait_until("somebody leads", look, RECOVERY_S)

    def write_tenants(self, text: str) -> None:
        """The tenant files of all replicas."""
        (self.tenants / "tenants.yaml").write_text(text)

    # --- what has to hold -----------------------------------------------------------------------------------

    def recovered(self, since: float) -> float:
        """Seconds from `since` until a pod of the probing tenant that was created later is bound."""

        def look() -> float | None:
            self.hold()
            found = [
                self.judge.bound_at[one.uid]
                for one in self.judge.snapshot()
                if one.namespace == cast.PROBE and one.created >= since and one.uid in self.judge.bound_at
            ]
            return min(found) - since if found else None

        return wait_until("a new pod is bound", look, RECOVERY_S, pause=0.02)

    def hold(self) -> None:
        """No rule was broken so far."""
        assert not self.judge.violations, self.judge.violations[:10]

    def settle(self) -> float:
        """Seconds until, with nothing new coming, every pod has found its node and the ledger is the cluster."""
        began = time.monotonic()
        self.driver.pause()
        self.driver.trim()
        wait_until("every pod is bound", self._all_bound, SETTLED_S, pause=0.1)
        with contextlib.closing(open_store(self.store)) as store:

            def equal() -> bool | None:
                self.hold()
                entries = store.read(lambda ledger: dict(ledger.entries))
                found = {
                    uid: (str(entry.phase), dict(entry.charge.amounts)) for uid, entry in entries.items()
                }
                return not ledger_faults(self.judge.snapshot(), found) or None

            try:
                wait_until("the ledger is the cluster", equal, SETTLED_S, pause=0.2)
            except Exception:
                entries = store.read(lambda ledger: dict(ledger.entries))
                found = {
                    uid: (str(entry.phase), dict(entry.charge.amounts)) for uid, entry in entries.items()
                }
                faults = ledger_faults(self.judge.snapshot(), found)
                raise AssertionError(f"the ledger is not the cluster: {faults[:10]}") from None
        took = time.monotonic() - began
        self.driver.resume()
        return took

    def _all_bound(self) -> bool | None:
        self.hold()
        waiting = [one for one in self.judge.snapshot() if not one.node or one.leaving]
        return not waiting or None


def ledger_faults(pods: list[Standing], entries: Mapping[str, tuple[str, Mapping[str, int]]]) -> list[str]:
    """What distinguishes the ledger from the bound pods of tenants."""
    bound = {one.uid: one for one in pods if one.node and one.namespace in cast.TENANTS}
    faults = [f"{bound[uid].name} is not in the ledger" for uid in bound.keys() - entries.keys()]
    faults += [
        f"{uid} is {entries[uid][0]} in the ledger, and not bound" for uid in entries.keys() - bound.keys()
    ]
    for uid in bound.keys() & entries.keys():
        phase, amounts = entries[uid]
        pod = bound[uid]
        if phase != "held":
            faults.append(f"{pod.name} is bound, and {phase} in the ledger")
        if (amounts.get("cpu"), amounts.get("memory")) != (pod.cpu, pod.memory):
            faults.append(f"{pod.name} takes {pod.cpu}m {pod.memory} MiB, and is charged {dict(amounts)}")
    return faults


def furnish(api: Api) -> None:
    """Namespaces, priorities, the RuntimeClass, what serve may do, and nodes."""
    for name in (*cast.TENANTS, cast.OUTSIDER):
        assert api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).ok
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        assert api.create(account, name).ok
    for level in (1, 2):
        meta = {"name": f"level-{level}"}
        priority = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": meta,
            "value": level,
        }
        assert api.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", priority).ok
    overhead = {"podFixed": {"cpu": "100m", "memory": "128Mi"}}
    sandbox = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "bulkhead"}}
    assert api.create({**sandbox, "handler": "bulkhead", "overhead": overhead}).ok
    for manifest in yaml.safe_load_all((ROOT / "deploy/scheduler/rbac.yaml").read_text()):
        assert api.create(manifest).ok
    for number in range(cast.NODES):
        add_node(api, f"n{number:02}")


def add_node(api: Api, name: str) -> None:
    """A node that takes pods."""
    assert api.create(cast.node(name)).ok
    # Admission taints every new node as not ready; the node controller that takes it off does not run here.
    assert api.merge(f"/api/v1/nodes/{name}", {"spec": {"taints": None}}).ok
