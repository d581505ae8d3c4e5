"""RuntimeClasses with their measured overhead, and one PriorityClass per tenant at its ceiling. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tenants.manifests.objects import Manifest, make
from tenants.model import RuntimeClass, Tenant
from tenants.quantity import render


def runtime_class(declared: RuntimeClass) -> Manifest:
    """As the tenant files declare it: the overhead is charged to quota and node beside the requests."""
    content: Manifest = {"handler": declared.handler}
    costs = {"cpu": declared.overhead_cpu_milli, "memory": declared.overhead_memory_mib}
    fixed = {resource: render(resource, cost) for resource, cost in costs.items() if cost}
    if fixed:
        content["overhead"] = {"podFixed": fixed}
    where: Manifest = {}
    if declared.node_selector:
        where["nodeSelector"] = dict(sorted(declared.node_selector.items()))
    if declared.tolerations:
        where["tolerations"] = [_toleration(toleration) for toleration in declared.tolerations]
    if where:
        content["scheduling"] = where
    return make("node.k8s.io/v1", "RuntimeClass", declared.name, **content)


def priority_class_name(tenant: Tenant) -> str:
    """Of the class that carries the tenant's ceiling; at most 72 characters."""
    return f"bulkhead-{tenant.name}"


def priority_classes(tenant: Tenant) -> Iterator[Manifest]:
    """The highest class that the tenant's pods may name."""
    about = f"The highest priority of pods of tenant {tenant.name}."
    yield make(
        "scheduling.k8s.io/v1",
        "PriorityClass",
        priority_class_name(tenant),
        tenant=tenant,
        value=tenant.priority_ceiling,
        description=about,
    )


def _toleration(written: Mapping[str, str]) -> Manifest:
    """The model keeps every value as text; tolerationSeconds is the one number."""
    return {k: int(v) if k == "tolerationSeconds" else v for k, v in sorted(written.items())}
