"""Pods of one template are worked out once, and no two that differ are taken for one."""

from __future__ import annotations

import pytest

from scheduler.kube.objects import Affinity, Container, PodSpec, Resources
from scheduler.mirror.template import Templates
from scheduler.model import Shape, Toleration

SMALL, LARGE = Container(Resources({"cpu": "1"})), Container(Resources({"cpu": "2"}))
TOLERATION = Toleration("a", "Exists", "", "")


def made(templates: Templates, spec: PodSpec, tenant: str = "agents") -> bool:
    """Whether this one had to be worked out."""
    asked = []

    def make() -> tuple[Shape, tuple[tuple[str, int], ...]]:
        asked.append(spec)
        return Shape(requests=(), tenant=tenant), ()

    templates.of(spec, tenant, make)
    return bool(asked)


def test_pods_of_the_same_parts_are_worked_out_once_wherever_they_stand() -> None:
    templates = Templates()
    assert made(templates, PodSpec(containers=(SMALL,), node_name="n1"))
    assert not made(templates, PodSpec(containers=(SMALL,), node_name="n2", priority=7))


@pytest.mark.parametrize(
    "spec",
    [
        PodSpec(containers=(LARGE,)),
        PodSpec(containers=(SMALL, SMALL)),
        PodSpec(containers=(), init_containers=(SMALL,)),
        PodSpec(containers=(SMALL,), tolerations=(TOLERATION,)),
        PodSpec(containers=(SMALL,), runtime_class_name="bulkhead"),
        PodSpec(containers=(SMALL,), node_selector={"zone": "a"}),
        PodSpec(containers=(SMALL,), overhead={"zone": "a"}),
    ],
)
def test_whatever_differs_makes_another_template(spec: PodSpec) -> None:
    templates = Templates()
    assert made(templates, PodSpec(containers=(SMALL,)))
    assert made(templates, spec)
    assert not made(templates, spec)


def test_other_tenants_have_templates_of_their_own() -> None:
    templates = Templates()
    assert made(templates, PodSpec(containers=(SMALL,)))
    assert made(templates, PodSpec(containers=(SMALL,)), tenant="platform")


def test_what_says_more_is_worked_out_each_time() -> None:
    templates, spec = Templates(), PodSpec(containers=(SMALL,), affinity=Affinity())
    assert made(templates, spec)
    assert made(templates, spec)
