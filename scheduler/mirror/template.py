"""What pods made from one template have in common, worked out once. Pure; called by `reading`.

The parts of a spec that were decoded from equal bytes are one object, so a template is known by which objects its
pods are made of; each entry holds them, or another could be found under the same identity later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from scheduler.kube.objects import PodSpec
from scheduler.model import Amounts, Shape

MOST: Final = 1 << 15
Key = tuple[object, ...]


class Template(NamedTuple):
    """`shape` for placement, `amounts` of the charge; `parts` are the objects that the key stands for."""

    shape: Shape
    amounts: Amounts
    parts: tuple[object, ...]


class Templates:
    """The known ones of one tenant file set; `make` works out what `Template` holds of one more."""

    def __init__(self) -> None:
        self._known: dict[Key, Template] = {}

    def of(self, spec: PodSpec, tenant: str, make: Callable[[], tuple[Shape, Amounts]]) -> Template:
        """The template of a pod; one whose spec says more than templates usually do is worked out each time."""
        if spec.resources is not None or spec.affinity is not None or spec.topology_spread_constraints:
            return Template(*make(), ())
        parts = (*spec.containers, None, *spec.init_containers, None, *spec.tolerations)
        words = (tenant, spec.runtime_class_name, *spec.node_selector.items(), None, *spec.overhead.items())
        key = (*map(id, parts), *words)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MOST:
                self._known.clear()
            found = self._known[key] = Template(*make(), parts)
        return found
