"""The three schemes measured on one workload, and what sharing saves against a cluster per tenant. Pure values."""

from __future__ import annotations

import msgspec

from scheduler.capacity.usage import Usage
from scheduler.model import CPU, MEMORY
from scheduler.replay.run import percent
from scheduler.traces.workload import GPU

TITLES = {GPU: "GPU", CPU: "CPU", MEMORY: "memory"}


class Measured(msgspec.Struct, frozen=True):
    """One scheme and what its smallest clusters look like."""

    name: str
    wall: str
    usage: Usage


class Tenancies(msgspec.Struct, frozen=True):
    """How many pods of which tenant there are, and whether they are sandboxed on shared nodes."""

    name: str
    trust: str
    pods: int
    sandboxed: bool


class Comparison(msgspec.Struct, frozen=True):
    """The result of `bulkhead compare`."""

    schema: int
    policy: str
    pods: int
    tenants: list[Tenancies]
    schemes: list[Measured]

    @property
    def dedicated(self) -> Measured:
        """The scheme that savings are measured against."""
        return self.schemes[0]

    @property
    def shared(self) -> Measured:
        """The scheme that shares most."""
        return self.schemes[-1]

    def saved_pct(self, measured: Measured) -> float:
        """Nodes saved against a cluster per tenant, in percent; the sandboxes' overhead is paid already."""
        return percent(self.dedicated.usage.nodes - measured.usage.nodes, self.dedicated.usage.nodes)

    @property
    def verdict(self) -> str:
        """One sentence for the top of the page."""
        shared, dedicated = self.shared.usage, self.dedicated.usage
        return (
            f"{self.pods:,} pods of {len(self.tenants)} tenants need {shared.nodes:,} shared nodes instead of "
            f"{dedicated.nodes:,}: {self.saved_pct(self.shared):.1f} % fewer, sandbox overhead included."
        )


def resources(comparison: Comparison) -> list[str]:
    """The resources that the nodes of the comparison have."""
    return [name for name in TITLES if comparison.dedicated.usage.capacity.get(name)]
