"""What a pod manifest becomes: tenant, runtime, overhead, what it is charged, whether it is admitted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tenants.isolation import Refusal
from tenants.model import Tenant, TenantSet
from tenants.plan.admission import Denial, Standing, denials, standing
from tenants.plan.objects import Object
from tenants.plan.places import Places
from tenants.pods import effective_requests
from tenants.quantity import plus, render


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One pod; `tenant` is empty where nobody owns the namespace, and then nothing is asked of it."""

    pod: str
    namespace: str
    tenant: str
    owner_place: str
    trust_place: str
    class_place: str
    admitted: bool
    standing: Standing | None
    charged: Mapping[str, str]
    denials: tuple[Denial, ...]


def pod_of(manifest: Object) -> Object | None:
    """The pod itself, or the template of a workload as the pod that it makes; None if there is neither."""
    if manifest["kind"] == "Pod":
        return manifest
    spec = manifest.get("spec") or {}
    job = ((spec.get("jobTemplate") or {}).get("spec")) or spec
    template = job.get("template")
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return None
    meta = {**(template.get("metadata") or {}), "name": manifest["metadata"]["name"]}
    if "namespace" in manifest["metadata"]:
        meta["namespace"] = manifest["metadata"]["namespace"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}


def explain(tenants: TenantSet, pod: Object, namespace: str, places: Places) -> Explained:
    """The pod as it would be in `namespace`."""
    tenant = tenants.tenant_of(namespace)
    if tenant is None:
        return _nobodys(pod, namespace)
    broken = denials(tenant, pod, tenants)
    found = standing(tenant, pod.get("spec") or {}, tenants)
    stands = None if isinstance(found, Refusal) else found
    return Explained(
        pod=pod["metadata"]["name"],
        namespace=namespace,
        tenant=tenant.name,
        owner_place=places.of(tenant.name, *_owning(tenant, namespace)),
        trust_place=places.of(tenant.name, "trust"),
        class_place=places.of_class(stands.runtime_class) if stands else "",
        admitted=not broken,
        standing=stands,
        charged=_charged(pod.get("spec") or {}, stands),
        denials=tuple(broken),
    )


def text(found: Explained) -> str:
    """For people."""
    head = f"{'admitted' if found.admitted else 'refused'}: pod {found.namespace}/{found.pod}"
    if not found.tenant:
        return f"{head}\n  no tenant owns namespace {found.namespace}: tenant files say nothing about it\n"
    lines = [head, f"  tenant {found.tenant} owns namespace {found.namespace}{_at(found.owner_place)}"]
    stands = found.standing
    if stands:
        wall = "a kernel of its own" if stands.sandboxed else "the host's kernel"
        lines += [
            f"  trust {stands.trust}{_at(found.trust_place)}",
            f"  runtime {stands.runtime_class or '(none named)'}: handler {stands.handler}, {wall}, because "
            f"{stands.because}{_at(found.class_place)}",
            f"  overhead {render('cpu', stands.overhead_cpu_milli)} CPU, "
            f"{render('memory', stands.overhead_memory_mib)} memory",
        ]
    if found.charged:
        lines.append(f"  charged {', '.join(f'{value} {name}' for name, value in found.charged.items())}")
    lines += [f"  refused by {denial.rule}: {denial.why}" for denial in found.denials]
    return "\n".join(lines) + "\n"


def _at(place: str) -> str:
    return f" ({place})" if place else ""


def _owning(tenant: Tenant, namespace: str) -> tuple[str | int, ...]:
    """Which entry of `namespaces` it is; the default is at the name."""
    if namespace in tenant.namespaces:
        return (
            ("namespaces", tenant.namespaces.index(namespace))
            if tenant.namespaces != (tenant.name,)
            else ("name",)
        )
    return ("namespaces",)


def _charged(spec: Mapping[str, Any], stands: Standing | None) -> dict[str, str]:
    """Requests plus the overhead that admission will fill in."""
    amounts = dict(effective_requests(spec))
    if stands and not spec.get("overhead"):
        for resource, cost in (("cpu", stands.overhead_cpu_milli), ("memory", stands.overhead_memory_mib)):
            if cost:
                amounts[resource] = plus(amounts.get(resource, 0), cost)
    return {resource: render(resource, value) for resource, value in sorted(amounts.items())}


def _nobodys(pod: Object, namespace: str) -> Explained:
    return Explained(
        pod=pod["metadata"]["name"],
        namespace=namespace,
        tenant="",
        owner_place="",
        trust_place="",
        class_place="",
        admitted=True,
        standing=None,
        charged=_charged(pod.get("spec") or {}, None),
        denials=(),
    )
