"""What a good file means: defaults, units, inheritance of nothing, and the tree."""

from __future__ import annotations

import pytest

from tenants.files.load import load, parse
from tenants.model import (
    PRIORITY_LIMIT,
    Admin,
    Allowance,
    Cores,
    CoResidency,
    Dimension,
    Isolation,
    Network,
    NodeClass,
    Peer,
    Port,
    Runtime,
    RuntimeClass,
    Tenant,
    TenantSet,
    Trust,
)
from tenants.quantity import CEILING, UNLIMITED, Limit
from tests.support.tenant_files import FIXTURES, SAMPLES


def good(name: str) -> TenantSet:
    found = load(FIXTURES / "good" / name)
    assert isinstance(found, TenantSet), found
    return found


def share_of(text: str, resource: str = "cpu") -> Allowance:
    head = "apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: a\nweight: 5\n"
    found = parse({"a": f"{head}quota: {{default: {{cpu: 1, memory: 1Gi, {resource}: {text}}}}}\n".replace(
        "cpu: 1, ", "" if resource == "cpu" else "cpu: 1, ")})  # fmt: skip
    assert isinstance(found, TenantSet), found
    return found.tenants["a"].quota[Dimension("default", resource)]


def test_five_lines_are_a_complete_tenant_and_every_default_is_the_safe_one() -> None:
    assert len((FIXTURES / "good/five-lines.yaml").read_text().splitlines()) == 5
    assert good("five-lines.yaml").tenants["agents"] == Tenant(
        name="agents",
        trust=Trust.UNTRUSTED,
        isolation=Isolation(runtime=Runtime.AUTO, co_residency=CoResidency.SHARED, cores=Cores.NONE),
        namespaces=("agents",),
        quota={
            Dimension("default", "cpu"): Allowance(guaranteed=4000, max=4000),
            Dimension("default", "memory"): Allowance(guaranteed=16384, max=16384),
        },
        reclaim=True,
        priority_ceiling=0,
        network=Network(isolate=True, dns=True),
    )


def test_a_tenant_without_trust_is_untrusted_and_one_without_quota_lives_on_its_groups() -> None:
    found = good("quota-from-the-group.yaml")
    assert found.tenants["agents"].quota == {}
    assert found.groups["research"].quota[Dimension("default", "cpu")].guaranteed == 64_000
    text = "apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: a\nquota: {default: {cpu: 1, memory: 1}}\n"
    silent = parse({"a": text})
    assert isinstance(silent, TenantSet)
    assert silent.tenants["a"].trust is Trust.UNTRUSTED


def test_every_field_arrives_in_the_model() -> None:
    found = good("every-field.yaml")
    assert found.tenants["agents"] == Tenant(
        name="agents",
        parent="research",
        trust=Trust.UNTRUSTED,
        isolation=Isolation(
            runtime=Runtime.BULKHEAD, co_residency=CoResidency.TRUSTED_ONLY, cores=Cores.CORE,
            never_with=frozenset({"ledger-db"}), blast_radius=2,
        ),
        namespaces=("agents",),
        namespace_prefixes=("agents-",),
        quota={
            Dimension("default", "cpu"): Allowance(guaranteed=1500, max=16000, lend=1500, weight=3),
            Dimension("default", "memory"): Allowance(guaranteed=4096, weight=2),
            Dimension("default", "ephemeral-storage"): Allowance(max=102400, weight=2),
            Dimension("default", "pods"): Allowance(guaranteed=100, max=100, weight=2),
            Dimension("default", "sandboxes"): Allowance(guaranteed=10, max=50, weight=2),
            Dimension("default", "disk-bandwidth"): Allowance(guaranteed=10240, max=102400, weight=2),
            Dimension("default", "network-bandwidth"): Allowance(guaranteed=100_000, max=1_000_000, weight=2),
            Dimension("default", "example.com/fpga"): Allowance(guaranteed=2, max=2, weight=2),
            Dimension("gpu", "cpu"): Allowance(guaranteed=500, max=500, weight=2),
            Dimension("gpu", "memory"): Allowance(guaranteed=954, max=954, weight=2),
            Dimension("gpu", "nvidia.com/gpu"): Allowance(guaranteed=500, max=4000, weight=2),
            Dimension("default", "cpu", "bulkhead"): Allowance(max=12000, weight=2),
            Dimension("default", "sandboxes", "bulkhead"): Allowance(max=40, weight=2),
        },
        reclaim=False,
        fence=True,
        priority_ceiling=1000,
        network=Network(
            dns=False,
            allow_from=(
                Peer(tenant="ledger-db"),
                Peer(namespace="ingress", ports=(
                    Port(port=443), Port(port="http"), Port(port=8000, end_port=8000), Port(protocol="UDP"),
                )),
            ),
            allow_to=(
                Peer(cidr="0.0.0.0/0", exclude=("10.0.0.0/8", "192.168.0.0/16"), ports=(
                    Port(port=443), Port(protocol="UDP", port=53), Port(protocol="SCTP", port=3868),
                )),
                Peer(cidr="10.10.1.12/24"),
                Peer(cidr="2001:db8::/32", exclude=("2001:db8:1::/48",)),
            ),
        ),
        admins=(
            Admin(kind="User", name="alice@example.com"),
            Admin(kind="Group", name="oidc:research"),
            Admin(kind="ServiceAccount", name="deployer", namespace="ci"),
        ),
    )  # fmt: skip


def test_the_other_kinds_arrive_in_the_model() -> None:
    found = good("every-field.yaml")
    assert found.tenants["ledger-db"].priority_ceiling == PRIORITY_LIMIT
    assert found.groups["research"].fence
    assert found.pools["gpu"].allocatable == {"cpu": 128_000, "memory": 1 << 20, "nvidia.com/gpu": 8000}
    assert found.node_classes["database"] == NodeClass(
        name="database", node_labels={"role": "database"}, handlers=frozenset({"runc"}), blast_radius=1
    )
    assert found.blast_radius == 8
    assert found.runtime_classes["bulkhead"] == RuntimeClass(
        name="bulkhead", handler="bulkhead", overhead_cpu_milli=100, overhead_memory_mib=128,
        node_selector={"bulkhead.dev/sandbox": "ready"},
        tolerations=(
            {"key": "sandbox", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "soon", "operator": "Equal", "value": "x", "effect": "NoExecute", "tolerationSeconds": "60"},
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "want_guaranteed", "want_max", "want_lend", "want_weight"),
    [
        pytest.param("4", 4000, 4000, UNLIMITED, 5, id="a bare amount is guarantee and limit"),
        pytest.param("{guaranteed: 4}", 4000, UNLIMITED, UNLIMITED, 5, id="only a guarantee borrows freely"),
        pytest.param("{max: 4}", 0, 4000, UNLIMITED, 5, id="only a limit guarantees nothing"),
        pytest.param("{guaranteed: 4, max: unlimited, lend: 0}", 4000, UNLIMITED, 0, 5, id="words and zero"),
        pytest.param("{weight: 9}", 0, UNLIMITED, UNLIMITED, 9, id="its own weight wins over the document's"),
        pytest.param("'500m'", 500, 500, UNLIMITED, 5, id="a quoted quantity"),
        pytest.param("0.1", 100, 100, UNLIMITED, 5, id="a decimal fraction is exact"),
        pytest.param("100E", CEILING, CEILING, UNLIMITED, 5, id="what no integer holds saturates"),
    ],
)
def test_a_share_means(
    text: str, want_guaranteed: int, want_max: Limit, want_lend: Limit, want_weight: int
) -> None:
    want = Allowance(guaranteed=want_guaranteed, max=want_max, lend=want_lend, weight=want_weight)
    assert share_of(text) == want


def test_gpus_are_counted_in_thousandths_whatever_they_are_called() -> None:
    assert share_of("2", "nvidia.com/gpu").guaranteed == 2000


def test_a_tree_may_be_deep() -> None:
    assert len(good("deep-tree.yaml").groups) == 60


def test_a_quoted_word_stays_a_word() -> None:
    tenant = good("quoted-and-json.yaml").tenants["no"]
    assert tenant.namespaces == ("yes", "010")


def test_the_samples_are_good() -> None:
    found = load(SAMPLES)
    assert isinstance(found, TenantSet)
    assert {"agents", "ledger-db", "platform"} <= set(found.tenants)
