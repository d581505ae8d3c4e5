"""What is done to the world, one function each; what it answers is how long the world took to bind new pods again.

A fault that is over at once counts from the blow; one that lasts (an outage, a paused process) from its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.chaos import cast
from tests.chaos.hostile import besiege
from tests.chaos.judge import Standing
from tests.chaos.replica import Replica
from tests.chaos.world import RECOVERY_S, World, add_node
from tests.support.kubernetes import wait_until

Fault = Callable[[World], float]
HOURS: Final = 5 * 3600


class Scenario(NamedTuple):
    """A fault and what it is done to."""

    fault: Fault
    store: str = "sqlite"
    replicas: int = 1
    disk_mib: int = 0  # the store lies on a file system of that size
    small: bool = False  # whether it is of the short form too


# --- kill -9 ------------------------------------------------------------------------------------------------


def kill_serve(world: World) -> float:
    """The only replica dies and is started again at once."""
    began = time.monotonic()
    world.replicas[0].end()
    world.replicas[0].start()
    return world.recovered(began)


def kill_leader(world: World) -> float:
    """The leading replica dies; the others take over before it comes back."""
    return _killed(world, world.leader())


def kill_follower(world: World) -> float:
    """A replica dies that does not lead; what kube-scheduler had asked it is asked again elsewhere."""
    leader = world.leader()
    return _killed(world, next(one for one in world.replicas if one is not leader))


def _killed(world: World, replica: Replica) -> float:
    began = time.monotonic()
    replica.end()
    took = world.recovered(began)
    replica.start()
    replica.wait_ready()
    return took


def kill_redis(world: World) -> float:
    """The store dies and is started again at once, with its log on disk."""
    assert world.redis is not None
    began = time.monotonic()
    world.redis.kill()
    world.redis.start()
    return world.recovered(began)


def kill_api_server(world: World) -> float:
    """kube-apiserver dies and is started again at once, on the same etcd."""
    return _started_again(world, "kube-apiserver")


def kill_etcd(world: World) -> float:
    """etcd dies and is started again at once, on its data."""
    return _started_again(world, "etcd")


def kill_scheduler(world: World) -> float:
    """kube-scheduler dies between a guided pod and its binding, and is started again at once."""
    return _started_again(world, "kube-scheduler")


def _started_again(world: World, component: str) -> float:
    began = time.monotonic()
    world.plane.kill(component)
    world.plane.start_again(component)
    return world.recovered(began)


# --- gone for a while ---------------------------------------------------------------------------------------


def redis_gone(world: World) -> float:
    """No store for a while: nothing is bound without it."""
    assert world.redis is not None
    world.redis.kill()
    time.sleep(1)
    before = world.judge.binds_of_tenants
    time.sleep(world.outage_s)
    assert world.judge.binds_of_tenants == before, "pods were bound without a store"
    world.redis.start()
    return world.recovered(time.monotonic())


def api_server_gone(world: World) -> float:
    """No API server for a while."""
    world.plane.kill("kube-apiserver")
    time.sleep(world.outage_s)
    began = time.monotonic()
    world.plane.start_again("kube-apiserver")
    return world.recovered(began)


def pause_leader(world: World) -> float:
    """The leader stands still for longer than its lease, and wakes up believing nothing has happened."""
    asleep = world.leader()
    began = time.monotonic()
    asleep.send(signal.SIGSTOP)
    try:
        took = world.recovered(began)
        time.sleep(max(0.0, began + 1.5 * world.lease_s - time.monotonic()))
    finally:
        asleep.send(signal.SIGCONT)
    assert world.leader() is not asleep
    world.recovered(time.monotonic())
    return took


def pause_for_longer_than_reservations(world: World) -> float:
    """A replica stands still until everything that it had reserved has been dropped by others."""
    asleep = world.leader()
    asleep.send(signal.SIGSTOP)
    try:
        time.sleep(1.5 * world.reservation_s)
    finally:
        began = time.monotonic()
        asleep.send(signal.SIGCONT)
    return world.recovered(began)


def disk_full(world: World) -> float:
    """The file system of the store has not a byte left."""
    assert world.place is not None
    ballast = world.place / "ballast"
    fill(ballast)
    time.sleep(world.outage_s)
    ballast.unlink()
    return world.recovered(time.monotonic())


def fill(path: Path) -> None:
    """Not a byte is left, at the first moment at least."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


# --- clocks -------------------------------------------------------------------------------------------------


def clock_jumps(world: World) -> float:
    """Every replica's clock goes hours forward, and a while later hours back."""
    return _jump(world, len(world.replicas))


def clocks_disagree(world: World) -> float:
    """One replica's clock goes hours forward and back again, the others' stay."""
    return _jump(world, 1)


def _jump(world: World, count: int) -> float:
    took = 0.0
    for seconds in (HOURS, 0):
        began = time.monotonic()
        for replica in world.replicas[:count]:
            replica.set_clock(seconds)
        took = max(took, world.recovered(began))
        time.sleep(6)  # what is overdue is dropped every five seconds
        world.recovered(time.monotonic())
    return took


# --- between the guide and the binding ----------------------------------------------------------------------


@contextlib.contextmanager
def scheduler_stopped(world: World, least: int = 4) -> Iterator[list[Standing]]:
    """kube-scheduler stands still until some pods are guided; within the block they are open, hinted and not bound."""
    pid = world.plane.pid("kube-scheduler")
    os.kill(pid, signal.SIGSTOP)
    try:

        def hinted() -> list[Standing] | None:
            found = [one for one in world.judge.snapshot() if one.hint and not one.node and not one.gated]
            return found if len(found) >= least else None

        wait_until("pods are guided", hinted, RECOVERY_S)
        time.sleep(
            1
        )  # bind calls that it had sent before are answered: what is bound now is all that will be
        yield hinted() or []
    finally:
        os.kill(pid, signal.SIGCONT)


def nodes_deleted(world: World) -> float:
    """The hinted nodes are deleted, and come back later."""
    with scheduler_stopped(world) as pods:
        nodes = sorted({one.hint for one in pods})[:5]
        _remove_nodes(world, nodes)
        began = time.monotonic()
    took = world.recovered(began)
    for name in nodes:
        add_node(world.api, name)
    return took


def _remove_nodes(world: World, nodes: list[str]) -> None:
    """With their pods, as the garbage collector of a cluster removes those of a node that is gone."""
    for name in nodes:
        assert world.api.delete(f"/api/v1/nodes/{name}").ok
    for one in world.judge.snapshot():
        if one.node in nodes:
            world.judge.doomed.add(one.uid)
            world.api.delete(f"/api/v1/namespaces/{one.namespace}/pods/{one.name}")


def nodes_tainted(world: World) -> float:
    """The hinted nodes are tainted; the pods go elsewhere."""
    taint = {"spec": {"taints": [{"key": "broken", "effect": "NoSchedule"}]}}
    with scheduler_stopped(world) as pods:
        nodes = sorted({one.hint for one in pods})[:5]
        for name in nodes:
            assert world.api.merge(f"/api/v1/nodes/{name}", taint).ok
        began = time.monotonic()
    took = world.recovered(began)
    for name in nodes:
        assert world.api.merge(f"/api/v1/nodes/{name}", {"spec": {"taints": None}}).ok
    return took


def nodes_filled(world: World) -> float:
    """Somebody else fills the hinted nodes first."""
    with scheduler_stopped(world) as pods:
        for number, name in enumerate(sorted({one.hint for one in pods})[:5]):
            _fill_node(world, name, number)
        began = time.monotonic()
    took = world.recovered(began)
    _remove_fillers(world)
    return took


def _fill_node(world: World, node: str, number: int) -> None:
    here = [one for one in world.judge.snapshot() if one.node == node]
    cpu = cast.NODE_CPU - sum(one.cpu for one in here)
    memory = cast.NODE_MIB - sum(one.memory for one in here)
    manifest = cast.pod(cast.OUTSIDER, f"filler-{number}", max(cpu, 1), max(memory, 1))
    manifest["spec"] |= {"schedulerName": "nobody", "nodeName": node}
    if cpu > 0 and memory > 0:
        assert world.api.create(manifest).ok


def _remove_fillers(world: World) -> None:
    for one in world.judge.snapshot():
        if one.name.startswith("filler-"):
            world.judge.doomed.add(one.uid)
            world.api.delete(f"/api/v1/namespaces/{one.namespace}/pods/{one.name}")


def hints_wrong(world: World) -> float:
    """Somebody writes other hints: nodes that do not exist, and nodes of whoever must be alone."""
    with scheduler_stopped(world) as pods:
        taken = [one.node for one in world.judge.snapshot() if one.node and one.namespace == "vault"]
        for number, one in enumerate(pods):
            hint = taken[number % len(taken)] if taken and number % 2 else "no-such-node"
            path = f"/api/v1/namespaces/{one.namespace}/pods/{one.name}/status"
            world.api.merge(path, {"status": {"nominatedNodeName": hint}})
        began = time.monotonic()
    return world.recovered(began)


def mass_deletion(world: World) -> float:
    """Every pod of every tenant is deleted at once while pods are being guided."""
    with scheduler_stopped(world):
        for namespace in cast.TENANTS:
            world.judge.doomed |= {one.uid for one in world.judge.snapshot() if one.namespace == namespace}
            for one in [one for one in world.judge.snapshot() if one.namespace == namespace]:
                world.judge.doomed.add(one.uid)
                path = f"/api/v1/namespaces/{namespace}/pods/{one.name}"
                world.api.call("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": one.uid}})
        began = time.monotonic()
    return world.recovered(began)


# --- what comes in ------------------------------------------------------------------------------------------


def hostile_callers(world: World) -> float:
    """Slow and half-open connections, 2 MB of junk and deep JSON, from strangers and from who has a certificate."""
    began = time.monotonic()
    with besiege(world):
        took = max(world.recovered(began + number) for number in range(0, int(world.outage_s), 2))
    for replica in world.replicas:
        assert replica.alive()
    return took


def tenant_files_broken(world: World) -> float:
    """The tenant files are nonsense for a while: the last good ones stay in force."""
    for nonsense in ("nonsense: [", "", "\0\1\2", cast.tenant_files().replace("max:", "most:")):
        began = time.monotonic()
        world.write_tenants(nonsense)
        time.sleep(3.5)
        world.recovered(began)
    began = time.monotonic()
    world.write_tenants(cast.tenant_files())
    return world.recovered(began)


SCENARIOS: Final[dict[str, Scenario]] = {
    "kill serve, sqlite": Scenario(kill_serve, small=True),
    "kill kube-apiserver": Scenario(kill_api_server),
    "kill etcd": Scenario(kill_etcd),
    "kill kube-scheduler": Scenario(kill_scheduler, small=True),
    "kube-apiserver gone": Scenario(api_server_gone),
    "hinted nodes deleted": Scenario(nodes_deleted, small=True),
    "hinted nodes tainted": Scenario(nodes_tainted, small=True),
    "hinted nodes filled": Scenario(nodes_filled),
    "hints wrong": Scenario(hints_wrong),
    "mass deletion": Scenario(mass_deletion),
    "hostile callers": Scenario(hostile_callers, small=True),
    "tenant files broken": Scenario(tenant_files_broken),
    "clock jumps": Scenario(clock_jumps),
    "disk full": Scenario(disk_full, disk_mib=4),
    "kill leader of 2, sqlite": Scenario(kill_leader, replicas=2),
    "kill serve, redis": Scenario(kill_serve, "redis"),
    "kill redis": Scenario(kill_redis, "redis", 2, small=True),
    "redis gone": Scenario(redis_gone, "redis", 2),
    "kill leader of 2": Scenario(kill_leader, "redis", 2, small=True),
    "kill follower of 2": Scenario(kill_follower, "redis", 2),
    "pause leader of 2": Scenario(pause_leader, "redis", 2),
    "pause past reservations": Scenario(pause_for_longer_than_reservations, "redis", 2),
    "clocks disagree": Scenario(clocks_disagree, "redis", 2),
    "kill leader of 4": Scenario(kill_leader, "redis", 4),
}
