"""The verdict on KVM: what counts as usable, that it is remembered, and that it is asked of the real device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.model import Accel, AccelKind
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm import accel, kvm
from sandbox_runtime.vmm.kvm import Observation

HARDWARE = Observation(kvm.EXIT_HLT, 0.00002, kvm.EXIT_IO, kvm.RING0_CS)


def test_guest_code_that_runs_as_on_hardware_is_usable() -> None:
    assert accel.judge(HARDWARE) == Accel(AccelKind.KVM, True, "guest code runs as on hardware")


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (HARDWARE._replace(syscall_cs=0x33), "SYSCALL at ring 3"),
        (HARDWARE._replace(syscall_exit=8, syscall_cs=-1), "SYSCALL at ring 3"),
        (HARDWARE._replace(loop_seconds=0.0044), "emulates the kernel half"),
        (HARDWARE._replace(loop_exit=17), "KVM exit 17"),
    ],
)
def test_anything_else_is_not_and_says_what_was_seen(seen: Observation, why: str) -> None:
    verdict = accel.judge(seen)
    assert (verdict.kind, verdict.usable) == (AccelKind.TCG, False)
    assert why in verdict.why


def test_the_verdict_is_remembered_until_something_about_the_host_changes(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    first = accel.probe_accel(paths)
    kept = tmp_path / "accel.json"
    facts = json.loads(kept.read_text())
    kept.write_text(json.dumps(facts | {"why": "remembered"}))
    assert accel.probe_accel(paths).why == "remembered"
    kept.write_text(json.dumps(facts | {"why": "remembered", "key": "another boot"}))
    assert accel.probe_accel(paths) == first
    for junk in ("", "[]", '{"key": 1}', "\0"):
        kept.write_text(junk)
        assert accel.probe_accel(paths) == first


def test_a_host_that_cannot_keep_the_verdict_still_gets_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert accel.probe_accel(Paths(tmp_path / "file", tmp_path)).why


def test_without_kvm_only_a_caller_that_says_so_gets_emulation() -> None:
    verdict = Accel(AccelKind.TCG, False, "seen")
    accel.require(verdict, allow_emulation=True)
    with pytest.raises(HostUnfit) as caught:
        accel.require(verdict, allow_emulation=False)
    assert (caught.value.why, "nested" in caught.value.remedy) == ("seen", True)
    accel.require(Accel(AccelKind.KVM, True, ""), allow_emulation=False)


@pytest.mark.real
@pytest.mark.skipif(not Path(accel.DEVICE).exists(), reason="no /dev/kvm")
def test_the_probe_runs_guest_code_on_this_host() -> None:
    seen = kvm.observe()
    assert seen.loop_exit == kvm.EXIT_HLT
    assert seen.loop_seconds > 0
    assert accel.probe().usable == accel.judge(seen).usable
