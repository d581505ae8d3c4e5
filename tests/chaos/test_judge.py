"""The judge finds every kind of fault that it is there to find, and none where there is none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.chaos import cast
from tests.chaos.judge import Judge, mib, milli
from tests.chaos.world import ledger_faults


class Etcd:
    """Writes pods, and a judge reads along."""

    def __init__(self) -> None:
        self.judge = Judge(0)
        self._revision = 0

    def put(
        self, namespace: str, name: str, node: str = "n0", cpu: int = 500, *, gated: bool = False,
        **meta: Any,
    ) -> None:  # fmt: skip
        found = cast.pod(namespace, name, cpu, 64)
        found["metadata"] |= {"uid": f"{namespace}-{name}", **meta}
        found["spec"]["nodeName"] = node
        if not gated:
            found["spec"].pop("schedulingGates", None)
        self._write(f"/registry/pods/{namespace}/{name}", found)

    def remove(self, namespace: str, name: str) -> None:
        self._write(f"/registry/pods/{namespace}/{name}", None)

    def _write(self, key: str, value: dict[str, Any] | None) -> None:
        self._revision += 1
        kv = {"key": coded(key), "mod_revision": str(self._revision)}
        if value is None:
            self.judge.take({"type": "DELETE", "kv": kv})
        else:
            self.judge.take({"kv": {**kv, "value": coded(json.dumps(value))}})


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def etcd() -> Etcd:
    return Etcd()


def test_what_is_lawful_is_not_complained_of(etcd: Etcd) -> None:
    etcd.put("agents", "a", node="", gated=True)
    etcd.put("agents", "a")
    etcd.put("batch", "b")
    etcd.put("stranger", "s")
    etcd.put("vault", "v", "n1")
    etcd.judge.doomed.add("agents-a")
    etcd.remove("agents", "a")
    assert etcd.judge.violations == []
    assert etcd.judge.binds == 4


def test_more_than_the_limit(etcd: Etcd) -> None:
    for number in range(6):
        etcd.put("vault", f"v{number}", f"n{number}")
    assert "pods 6 of 5" in etcd.judge.violations[0]


def test_more_than_the_node(etcd: Etcd) -> None:
    etcd.put("batch", "a", cpu=2_500)
    etcd.put("platform", "b", cpu=1_600)
    assert "node n0 holds 4100m" in etcd.judge.violations[0]


@pytest.mark.parametrize(("one", "other"), [("vault", "batch"), ("vault", "vault"), ("scrapers", "platform")])
def test_forbidden_neighbours(etcd: Etcd, one: str, other: str) -> None:
    etcd.put(one, "one")
    etcd.put(other, "other")
    assert "beside" in etcd.judge.violations[0]


def test_who_was_lost(etcd: Etcd) -> None:
    etcd.put("batch", "b")
    etcd.remove("batch", "b")
    assert "lost" in etcd.judge.violations[0]


def test_who_went_through_a_closed_gate(etcd: Etcd) -> None:
    etcd.put("batch", "b", gated=True)
    assert "closed gate" in etcd.judge.violations[0]


def test_who_moved(etcd: Etcd) -> None:
    etcd.put("batch", "b", "n0")
    etcd.put("batch", "b", "n1")
    assert "moved" in etcd.judge.violations[0]


def test_a_ledger_that_is_not_the_cluster(etcd: Etcd) -> None:
    etcd.put("batch", "b", cpu=500)
    right = {"cpu": 500, "memory": 64}
    pods = etcd.judge.snapshot()
    assert ledger_faults(pods, {"batch-b": ("held", right)}) == []
    assert ledger_faults(pods, {})
    assert ledger_faults(pods, {"batch-b": ("reserved", right)})
    assert ledger_faults(pods, {"batch-b": ("held", {"cpu": 400, "memory": 64})})
    assert ledger_faults(pods, {"batch-b": ("held", right), "gone": ("reserved", right)})


def test_amounts() -> None:
    assert (milli("1500m"), milli("2"), mib("1Gi"), mib("128Mi"), mib("1048576")) == (
        1500,
        2000,
        1024,
        128,
        1,
    )
