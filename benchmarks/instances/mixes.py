"""The kinds of node and pod that instances are drawn from: openb's, and others that no policy was tuned on. Pure."""

from __future__ import annotations

import msgspec

from benchmarks.instances import openb


class NodeKind(msgspec.Struct, frozen=True):
    """A machine; `weight` is its share among the machines."""

    cpu_milli: int
    memory_mib: int
    gpus: int
    model: str
    weight: int


class PodKind(msgspec.Struct, frozen=True):
    """What a pod asks; `weight` is its share among the pods."""

    cpu_milli: int
    memory_mib: int
    num_gpu: int
    gpu_milli: int
    weight: int

    @property
    def qos_group(self) -> str:
        """The row of `openb.QOS` that its quality of service is drawn from."""
        if self.num_gpu == 0:
            return "none"
        if self.num_gpu > 1:
            return "several"
        return "one" if self.gpu_milli == 1000 else "shared"


class Mix(msgspec.Struct, frozen=True):
    """Kinds of node and pod."""

    nodes: tuple[NodeKind, ...]
    pods: tuple[PodKind, ...]


OPENB_NODES = tuple(NodeKind(*row) for row in openb.NODES)
OPENB_PODS = tuple(PodKind(*row) for row in openb.PODS)

MACHINES = (
    NodeKind(32000, 65536, 0, "", 3),
    NodeKind(32000, 131072, 0, "", 4),
    NodeKind(64000, 262144, 0, "", 4),
    NodeKind(64000, 524288, 0, "", 1),
    NodeKind(96000, 393216, 0, "", 2),
)
"""General-purpose machines with 2, 4 and 8 GiB per core."""

SERVICES = (
    PodKind(100, 128, 0, 0, 18),
    PodKind(250, 512, 0, 0, 22),
    PodKind(500, 1024, 0, 0, 20),
    PodKind(500, 4096, 0, 0, 10),
    PodKind(1000, 2048, 0, 0, 14),
    PodKind(2000, 4096, 0, 0, 9),
    PodKind(2000, 16384, 0, 0, 6),
    PodKind(4000, 8192, 0, 0, 6),
    PodKind(6000, 49152, 0, 0, 3),
    PodKind(8000, 32768, 0, 0, 4),
    PodKind(14000, 24576, 0, 0, 2),
    PodKind(24000, 98304, 0, 0, 1),
)
"""Web services, caches, batch workers: many small, few large, CPU- and memory-bound ones mixed."""

TRAINING = (
    PodKind(6000, 30720, 1, 1000, 40),
    PodKind(12000, 61440, 1, 1000, 20),
    PodKind(20000, 122880, 2, 1000, 16),
    PodKind(44000, 184320, 4, 1000, 12),
    PodKind(90000, 368640, 8, 1000, 8),
    PodKind(16000, 65536, 0, 0, 4),
)
"""Whole GPUs only, in powers of two."""

INFERENCE = (
    PodKind(1000, 4096, 1, 50, 20),
    PodKind(1500, 6144, 1, 90, 18),
    PodKind(2000, 8192, 1, 130, 20),
    PodKind(2500, 8192, 1, 210, 16),
    PodKind(3000, 12288, 1, 290, 12),
    PodKind(4000, 16384, 1, 340, 8),
    PodKind(6000, 24576, 1, 1000, 4),
    PodKind(4000, 8192, 0, 0, 2),
)
"""Many small fractions of GPUs, hardly any of which add up to a whole one."""


def hungrier(percent: int, cpu_pods: int) -> tuple[PodKind, ...]:
    """openb's pods with so much more CPU each, and so many times the pods without GPUs."""
    return tuple(
        msgspec.structs.replace(
            kind,
            cpu_milli=kind.cpu_milli * (100 + percent) // 100,
            weight=kind.weight * (1 if kind.num_gpu else cpu_pods),
        )
        for kind in OPENB_PODS
        if kind.cpu_milli <= 60000
    )


MIXES = {
    "openb": Mix(OPENB_NODES, OPENB_PODS),
    "no-gpus": Mix(MACHINES, SERVICES),
    "whole-gpus": Mix(OPENB_NODES, TRAINING),
    "small-fractions": Mix(OPENB_NODES, INFERENCE),
    "cpu-heavy": Mix(OPENB_NODES, hungrier(25, 1)),  # CPU and GPUs run out together
    "cpu-starved": Mix(OPENB_NODES, hungrier(60, 3)),  # CPU runs out when half the GPUs are idle
}
