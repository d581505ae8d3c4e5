"""What has arrived, counted by kind: all that a policy may know of the workload. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from scheduler.model import CPU, MEMORY, Shape

LAST_MODEL = 49
NOBODY = LAST_MODEL + 1
"""Model masks have to stay exact as floats; models beyond fifty share a number in prices, not in what fits."""
CPU_MILLI, MEMORY_MIB, DEVICES, MILLI, MASK = range(5)
"""Columns where kinds of arrivals are rows of integers, a `model_mask` in place of the models."""


class Arrival(NamedTuple):
    """A kind of pod as policies tell them apart; `models` empty means any GPU model."""

    cpu_milli: int
    memory_mib: int
    gpus: int
    gpu_milli: int
    models: tuple[str, ...]


Arrivals = dict[Arrival, int]
"""Arrivals per kind, in order of first arrival."""


def arrival_of(shape: Shape) -> Arrival:
    """The kind of a shape, by what the pod itself asks."""
    asked, gpu = dict(shape.requests), shape.gpu
    cpu, memory = asked.get(CPU, 0), asked.get(MEMORY, 0)
    return Arrival(cpu, memory, gpu.count, gpu.milli, gpu.models) if gpu else Arrival(cpu, memory, 0, 0, ())


def model_mask(models: tuple[str, ...], model_numbers: Mapping[str, int]) -> int:
    """One bit per model asked for, 0 for any; a model that no node has keeps a bit that no node has."""
    mask = 0
    for model in models:
        mask |= 1 << model_numbers.get(model, NOBODY)
    return mask
