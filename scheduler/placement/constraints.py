"""Whether a pod's shape and a node's standing facts agree: taints, affinity, GPU model, sandbox.

These facts do not change while pods come and go, so each is checked once per (node profile, shape). Semantics are
those of kube-scheduler's TaintToleration and NodeAffinity plugins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from scheduler.model import Reason, Requirement, Shape, Taint, Toleration


class Profile(msgspec.Struct, frozen=True):
    """The standing facts of a node that decide for some shape; nodes of one profile differ only in what is free.

    `labels` holds only keys that some shape looks at, so that unique labels do not make every node a class.
    """

    capacity: tuple[int, ...]
    gpus: int
    gpu_model: str
    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    unschedulable: bool
    sandboxes: bool


def profile_reason(profile: Profile, shape: Shape, sandboxed: bool) -> Reason:
    """Return the first standing fact of the node that rules the shape out, or FITS."""
    if profile.unschedulable:
        return Reason.UNSCHEDULABLE
    if any(not tolerated(taint, shape.tolerations) for taint in profile.taints):
        return Reason.TAINT
    return selection_reason(profile, shape, sandboxed)


def selection_reason(profile: Profile, shape: Shape, sandboxed: bool) -> Reason:
    """The same for the facts by which the pod chooses its nodes, not those by which a node keeps pods away."""
    if not affinity_matches(dict(profile.labels), shape):
        return Reason.NODE_AFFINITY
    if shape.gpu and shape.gpu.models and profile.gpu_model not in shape.gpu.models:
        return Reason.GPU_MODEL
    if sandboxed and not profile.sandboxes:
        return Reason.NO_SANDBOX
    return Reason.FITS


def tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    """Tell whether a taint keeps no pod with these tolerations away; PreferNoSchedule never does."""
    if taint.effect == "PreferNoSchedule":
        return True
    return any(tolerates(toleration, taint) for toleration in tolerations)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Match one toleration with one taint, as core/v1 ToleratesTaint does."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def affinity_matches(labels: Mapping[str, str], shape: Shape) -> bool:
    """All of nodeSelector, and at least one required affinity term where there is any."""
    if any(labels.get(key) != value for key, value in shape.node_selector):
        return False
    return not shape.affinity or any(
        term and all(requirement_holds(labels, requirement) for requirement in term)
        for term in shape.affinity
    )


def requirement_holds(labels: Mapping[str, str], requirement: Requirement) -> bool:
    """Evaluate one expression; NotIn and DoesNotExist also hold where the label is missing."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return value is not None and _compares(value, requirement)
        case _:
            return False


def _compares(value: str, requirement: Requirement) -> bool:
    """Gt and Lt compare integers; anything that is no integer never matches."""
    try:
        have, bound = int(value), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if requirement.operator == "Gt" else have < bound
