"""What becomes of other systems' objects: the tenants, and every doubt. The result always passes `check`."""

from __future__ import annotations

import msgspec
import pytest

from tenants.adopt import documents
from tenants.adopt.adopt import Adopted, adopt
from tenants.files import load
from tenants.manifests import render
from tenants.model import (
    Admin,
    Allowance,
    Dimension,
    Isolation,
    Network,
    Peer,
    Pool,
    Port,
    Runtime,
    Tenant,
    TenantSet,
    Trust,
)
from tenants.quantity import UNLIMITED
from tests.support.manifests import AGENTS, CAUTIOUS, PLATFORM, TENANTS
from tests.unit.tenants.adopt.samples import CAPSULE, KUEUE, PLAIN, objects

GIB = 1024


def imported(text: str) -> Adopted:
    found = adopt(objects(text))
    assert load.parse(documents.by_file(found.tenants)) == found.tenants, "what is imported passes check"
    return found


def doubts(found: Adopted) -> list[str]:
    return [str(doubt) for doubt in found.doubts]


def quota(tenant: Tenant, pool: str = "default") -> dict[str, Allowance]:
    return {dimension.resource: share for dimension, share in tenant.quota.items() if dimension.pool == pool}


@pytest.mark.parametrize("text", [KUEUE, CAPSULE, PLAIN, KUEUE + "---" + CAPSULE + "---" + PLAIN])
def test_every_sample_passes_check(text: str) -> None:
    imported(text)


def test_kueue_quota_is_taken_over_exactly() -> None:
    found = imported(KUEUE).tenants
    assert sorted(found.tenants) == ["alone", "team-a", "team-b"]
    team = found.tenants["team-a"]
    assert (team.parent, team.namespaces, team.reclaim) == ("research", ("team-a-train",), True)
    assert quota(team, "on-demand") == {
        "cpu": Allowance(guaranteed=64_000, max=96_000, lend=48_000, weight=2),
        "memory": Allowance(guaranteed=256 * GIB, weight=2),
        "nvidia.com/gpu": Allowance(guaranteed=8000, max=8000, weight=2),
    }
    assert quota(team, "spot")["nvidia.com/gpu"].guaranteed == 4000
    assert quota(found.tenants["alone"], "on-demand")["cpu"] == Allowance(guaranteed=5000, max=5000)
    assert found.tenants["team-b"].reclaim is False, "Kueue's default never reclaims"
    assert found.pools["spot"] == Pool(name="spot", node_labels={"lifecycle": "spot"})


def test_a_cohort_becomes_a_group_that_includes_its_members() -> None:
    groups = imported(KUEUE).tenants.groups
    cpu = Dimension("on-demand", "cpu")
    assert groups["research"].parent == "org"
    assert groups["research"].quota[cpu].guaranteed == 80_000
    assert groups["research"].quota[cpu].max is UNLIMITED, "it borrows from org"
    assert groups["org"].quota[cpu] == Allowance(guaranteed=90_000, max=90_000), (
        "10 of its own, and nobody above"
    )


def test_what_kueue_says_and_tenant_files_cannot_is_doubted() -> None:
    found = doubts(imported(KUEUE))
    for want in (
        "ResourceFlavor spot: spec.nodeTaints has no counterpart in tenant files",
        "ClusterQueue Team.B: is named team-b here: names are DNS labels",
        "ClusterQueue Team.B: spec.queueingStrategy has no counterpart in tenant files",
        "ClusterQueue Team.B: spec.admissionChecksStrategy has no counterpart in tenant files",
        "ClusterQueue team-a: spec.preemption.withinClusterQueue has no counterpart in tenant files",
        "ClusterQueue alone: quota of licences has no counterpart in tenant files",
        "ClusterQueue alone: no LocalQueue points to it: the tenant has no namespace yet",
        "LocalQueue team-a-train/second: a namespace is one tenant's, and LocalQueue team-a-train/main comes first",
        "ClusterQueue team-a: nothing says whether its code is trusted: untrusted",
    ):
        assert want in found, found


def test_fractional_weights_keep_their_ratio_and_cohorts_in_a_circle_are_put_at_the_root() -> None:
    text = KUEUE.replace('weight: "2"', 'weight: "0.5"').replace(
        "name: org}\nspec:", "name: org}\nspec:\n  parentName: research"
    )
    found = imported(text)
    weights = {
        name: quota(tenant, "on-demand")["cpu"].weight for name, tenant in found.tenants.tenants.items()
    }
    assert weights["team-b"] == 2 * weights["team-a"]
    assert {group.parent for group in found.tenants.groups.values()} == {""}
    assert any("is its own ancestor" in doubt for doubt in doubts(found))


def test_a_capsule_tenant() -> None:
    found = imported(CAPSULE)
    oil, gas = found.tenants.tenants["oil"], found.tenants.tenants["gas"]
    assert (oil.namespaces, oil.namespace_prefixes) == ((), ("oil-",))
    assert oil.admins == (
        Admin(kind="User", name="alice"),
        Admin(kind="ServiceAccount", name="deployer", namespace="ci"),
        Admin(kind="Group", name="oil-team"),
    )
    assert quota(oil) == {
        "cpu": Allowance(max=8000),
        "memory": Allowance(max=16 * GIB),
        "pods": Allowance(max=10),
    }
    assert quota(gas)["cpu"] == Allowance(max=8000), "4 in each of two namespaces"
    assert oil.network == Network(
        dns=False,
        allow_from=(Peer(cidr="192.168.0.0/12"),),
        allow_to=(Peer(cidr="0.0.0.0/0", exclude=("192.168.0.0/12",)),),
    )
    for want in (
        "Tenant oil: spec.runtimeClasses has no counterpart in tenant files",
        "Tenant oil: spec.nodeSelector has no counterpart in tenant files",
        "Tenant oil: spec.owners[oil-team].clusterRoles has no counterpart in tenant files",
        "Tenant oil: the limit on limits.cpu has no counterpart in tenant files",
        "Tenant gas: its quota is per namespace: 2 of them are added up",
    ):
        assert want in doubts(found), doubts(found)


def test_plain_namespaces_become_tenants_of_their_own() -> None:
    found = imported(PLAIN)
    tenants = found.tenants.tenants
    assert sorted(tenants) == ["ledger", "open", "shop"], "not kube-system, not default"
    assert quota(tenants["shop"]) == {
        "cpu": Allowance(max=6000),
        "memory": Allowance(max=16 * GIB),
        "nvidia.com/gpu": Allowance(max=2000),
    }
    assert tenants["open"].network == Network(isolate=False)
    assert tenants["ledger"].network == Network(
        allow_from=(
            Peer(tenant="shop", ports=(Port(port=5432),)),
            Peer(tenant="shop", ports=(Port(port=9090),)),
        ),
        allow_to=(
            Peer(cidr="203.0.113.0/24", exclude=("203.0.113.8/32",), ports=(Port(port=8000, end_port=8100),)),
        ),
    )
    for want in (
        "ResourceQuota shop/q: the limit on count/jobs.batch has no counterpart in tenant files",
        "ResourceQuota shop/best-effort: counts some pods only: left out",
        "NetworkPolicy ledger/some: selects some pods of its namespace; tenant files speak of all of them",
        "NetworkPolicy ledger/allow: a peer is some pods only (app=probe): left out, it stays closed",
        "NetworkPolicy ledger/allow: selects namespaces by tier=front: followed as of now, shop",
        "tenant shop: one direction was open: allowTo says 0.0.0.0/0, ::/0; name tenants beside it",
    ):
        assert want in doubts(found), doubts(found)


def test_the_trust_of_strangers_is_what_the_caller_says() -> None:
    assert {t.trust for t in adopt(objects(PLAIN), Trust.TRUSTED).tenants.tenants.values()} == {Trust.TRUSTED}
    assert {t.trust for t in adopt(objects(PLAIN)).tenants.tenants.values()} == {Trust.UNTRUSTED}


def test_what_we_rendered_comes_back_where_objects_can_say_it() -> None:
    """Guarantees, groups and class quotas are in no object; all else is, as the loader's defaults have it."""
    found = adopt(render(TENANTS)).tenants
    for tenant in (AGENTS, PLATFORM, CAUTIOUS):
        back = found.tenants[tenant.name]
        for field in ("trust", "namespaces", "namespace_prefixes", "priority_ceiling", "network", "admins"):
            assert getattr(back, field) == getattr(tenant, field), (tenant.name, field)
    assert found.tenants["cautious"].isolation == Isolation(runtime=Runtime.BULKHEAD)
    assert found.tenants["platform"].quota == PLATFORM.quota
    assert found.runtime_classes == TENANTS.runtime_classes


EXPRESSIBLE = TenantSet(
    tenants={
        "a": Tenant(
            name="a",
            trust=Trust.TRUSTED,
            isolation=Isolation(runtime=Runtime.RUNC),
            namespaces=("a", "a2"),
            priority_ceiling=7,
            quota={
                Dimension("default", "cpu"): Allowance(max=4000),
                Dimension("default", "memory"): Allowance(),
            },
            network=Network(dns=False, allow_from=(Peer(tenant="b"), Peer(namespace="ingress"))),
        ),
        "b": Tenant(
            name="b",
            namespaces=("b",),
            quota={
                Dimension("default", "cpu"): Allowance(),
                Dimension("default", "memory"): Allowance(max=64),
            },
            network=Network(allow_to=(Peer(tenant="a", ports=(Port(port="http"), Port(protocol="UDP"))),)),
        ),
    },
    runtime_classes=TENANTS.runtime_classes,
)


def test_a_model_that_objects_can_express_comes_back_whole() -> None:
    assert adopt(render(EXPRESSIBLE)).tenants == EXPRESSIBLE
    again = adopt(render(msgspec.structs.replace(EXPRESSIBLE)))
    assert all("are in no object" in doubt.why for doubt in again.doubts)


def test_a_name_that_two_systems_use_is_one_tenant() -> None:
    text = KUEUE + "---" + CAPSULE.replace("name: oil}", "name: team-a}", 1)
    found = imported(text)
    assert found.tenants.tenants["team-a"].admins[0].name == "alice"
    assert quota(found.tenants.tenants["team-a"], "on-demand")["cpu"].guaranteed == 64_000
    assert "ClusterQueue team-a: is taken to be the same tenant as Tenant team-a" in doubts(found)
