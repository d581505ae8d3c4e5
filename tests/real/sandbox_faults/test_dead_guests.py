"""A guest that dies while it comes up: whoever waits for its agent learns of it at once, with its last words."""

from __future__ import annotations

import pytest

from sandbox_runtime.errors import SandboxError, VmmFailed
from sandbox_runtime.supervisor.greeting import Silent, greet
from tests.support.stands import unfit
from tests.support.vmm import guest_image, launcher, left_behind, request

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(unfit()), reason=unfit())]


def test_a_kernel_that_panics_makes_no_template_and_is_not_waited_for() -> None:
    guest = guest_image()
    doomed = guest._replace(cmdline=guest.cmdline.replace("rdinit=/init", "rdinit=/none") + " root=/dev/none")
    with launcher() as found:
        vm = found.start(request("doomed")._replace(guest=doomed))
        try:
            assert "the guest has ended by itself" in vm.started.why_cold
            assert "panic" in vm.started.why_cold
            with pytest.raises(VmmFailed, match="has ended by itself") as raised:
                greet(vm)
            assert not isinstance(raised.value, Silent)
        finally:
            vm.close()
        assert left_behind(found.paths) == []


def test_a_qemu_that_is_killed_is_not_waited_for() -> None:
    with launcher() as found:
        vm = found.start(request("killed", use_template=False))
        try:
            vm.kill()
            with pytest.raises((SandboxError, OSError)) as raised:
                greet(vm)
            assert not isinstance(raised.value, Silent)
        finally:
            vm.close()


def test_a_guest_that_says_nothing_is_silent_and_not_dead() -> None:
    with launcher() as found:
        vm = found.start(request("slow", use_template=False))
        try:
            with pytest.raises(Silent, match=r"no answer within .* running [RE]IP=[0-9a-f]+ .*HLT="):
                greet(vm, 0.01)
            greet(vm).close()
        finally:
            vm.close()
