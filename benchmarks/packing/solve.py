"""Packs instances in worker processes and has every packing checked. Called by the command line of this package."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

import msgspec
import numpy as np

from benchmarks.packing.check import contradictions, violations
from benchmarks.packing.summary import Result
from benchmarks.packing.vbp import Known, Published
from scheduler.packing import Budget, Instance, pack, warm_up


class Task(msgspec.Struct, frozen=True):
    """One instance to pack, with the time for it and what is known of it."""

    instance: Published
    known: Known
    seconds: float
    seed: int


def solved(tasks: list[Task], jobs: int) -> Iterator[Result]:
    """Results as they come; workers are gone when the iteration ends, however it ends.

    An executor rather than a `multiprocessing.Pool`, which starts a worker that cannot start again and again.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), context, prepare) as pool:
        try:
            for done in as_completed([pool.submit(solve, task) for task in tasks]):
                yield done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def prepare() -> None:
    """Make a worker ready: an interruption is the parent's business, and compilation is not the packer's time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm_up()


def solve(task: Task) -> Result:
    """Pack one instance and have the packing checked."""
    published = task.instance
    instance = Instance(np.array(published.sizes, np.int64), np.array(published.capacity, np.int64))
    started = time.monotonic()
    packing = pack(instance, Budget(task.seconds, time.monotonic), task.seed)
    seconds = time.monotonic() - started
    problems = violations(published, packing.bins)
    problems += contradictions(task.known, len(packing.bins), packing.lower_bound)
    return Result(
        name=published.name,
        family=published.family,
        class_name=published.class_name,
        items=len(published.sizes),
        dimensions=len(published.capacity),
        bins=len(packing.bins),
        lower_bound=packing.lower_bound,
        known=task.known,
        seconds=round(seconds, 3),
        problems=problems,
    )
