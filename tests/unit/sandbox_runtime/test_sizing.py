"""Limits in, a machine out; and when it must not start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runtime.model import MIB, Limits
from sandbox_runtime.vmm.sizing import HEADROOM, class_of, headroom, refusal, size_of


@pytest.mark.parametrize(("cpu", "vcpus"), [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (3_500, 4)])
def test_processors_are_limits_rounded_up_and_never_one_more(cpu: int, vcpus: int) -> None:
    assert size_of(Limits(cpu, 0)).vcpus == vcpus


@pytest.mark.parametrize(
    ("asked", "found"), [(1, 128), (128, 128), (129, 192), (200, 256), (512, 512), (600, 768), (2048, 2048)]
)
def test_memory_is_the_next_class(asked: int, found: int) -> None:
    assert class_of(asked * MIB) == found * MIB


@given(st.integers(1, 1 << 42))
def test_a_class_holds_what_is_asked_and_at_most_half_more(asked: int) -> None:
    found = class_of(asked)
    assert asked <= found
    assert found <= max(128 * MIB, asked * 3 // 2 + 1)


@given(st.integers(1, 1 << 42))
def test_containers_get_what_they_asked_for_after_guest_and_balloon(asked: int) -> None:
    size = size_of(Limits(0, asked))
    assert asked <= size.usable_bytes - headroom(class_of(asked)) < asked + MIB
    assert 0 <= size.balloon_bytes < size.memory_bytes


def test_the_guests_own_need_grows_with_its_page_structures() -> None:
    assert headroom(128 * MIB) == HEADROOM + 2 * MIB
    assert headroom(2048 * MIB) == HEADROOM + 32 * MIB


def test_a_machine_that_its_cgroup_cannot_hold_is_refused_with_the_numbers() -> None:
    size = size_of(Limits(1_000, 512 * MIB))
    answer = refusal(size, cgroup_limit=512 * MIB, vmm_bytes=40 * MIB)
    assert answer is not None
    assert answer.reason == "memory-exceeds-cgroup"
    assert dict(answer.numbers) == {
        "guest_bytes": size.usable_bytes,
        "vmm_bytes": 40 * MIB,
        "cgroup_bytes": 512 * MIB,
    }
    assert "96 MiB more" in answer.why
    assert refusal(size, cgroup_limit=size.usable_bytes + 40 * MIB, vmm_bytes=40 * MIB) is None
    assert refusal(size, cgroup_limit=0, vmm_bytes=40 * MIB) is None
