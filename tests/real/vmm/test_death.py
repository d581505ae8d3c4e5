"""A VMM that dies, that cannot run, or whose starter is killed leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from sandbox_runtime.errors import VmmFailed
from sandbox_runtime.vmm import recover
from sandbox_runtime.vmm.launch import Launcher
from tests.support.vmm import dies, emulated, left_behind, request

pytestmark = emulated


def test_a_vmm_that_is_killed_is_seen_and_cleaned_up(shared: Launcher) -> None:
    vm = shared.start(request("victim"))
    os.kill(vm.pids[0], signal.SIGKILL)
    assert vm.wait(5)
    assert not vm.alive
    with pytest.raises(VmmFailed):
        vm.qmp.command("query-status")
    vm.close()
    assert left_behind(shared.paths) == []


def test_when_we_are_killed_the_vmm_dies_and_can_be_recovered(shared: Launcher) -> None:
    shared.start(request("first")).close()
    reader, writer = os.pipe()
    us = os.fork()
    if us == 0:
        try:
            shared.start(request("orphan"))
            os.write(writer, b"x")
            time.sleep(100)
        finally:
            os._exit(1)
    os.read(reader, 1)
    (found,) = recover.leftovers(shared.paths)
    assert found.running
    os.kill(us, signal.SIGKILL)
    os.waitpid(us, 0)
    assert dies(found)
    recover.end(shared.paths, found)
    assert left_behind(shared.paths) == []
    os.close(reader)
    os.close(writer)


def test_a_vmm_that_cannot_run_says_why_and_leaves_nothing(own: Launcher) -> None:
    own.host = own.host._replace(qemu=Path("/usr/bin/false"))
    with pytest.raises(VmmFailed, match="connect"):
        own.start(request("broken"))
    own.host = own.host._replace(qemu=Path("/usr/bin/no-such-program"))
    with pytest.raises(VmmFailed, match="No such file"):
        own.start(request("missing"))
    assert left_behind(own.paths) == []
