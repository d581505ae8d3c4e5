"""System calls made in another process, which then goes on as if nothing had been."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from sandbox_runtime.errors import TraceRefused
from sandbox_runtime.vmm.tracing import traced

pytestmark = pytest.mark.real

SYS_CLOSE, SYS_GETPID = 3, 39
ROUNDS = 50


@pytest.fixture
def cat() -> Iterator[subprocess.Popen[bytes]]:
    """A child that stands in read(2)."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        time.sleep(0.05)
        yield child
        child.kill()


def echoes(child: subprocess.Popen[bytes], words: bytes) -> bool:
    assert child.stdin
    assert child.stdout
    os.write(child.stdin.fileno(), words)
    return os.read(child.stdout.fileno(), 100) == words


def test_a_call_is_made_in_the_other_process_which_goes_on(cat: subprocess.Popen[bytes]) -> None:
    for number in range(ROUNDS):
        with traced(cat.pid) as process:
            assert process.call(SYS_GETPID) == cat.pid
            assert process.call(SYS_GETPID) == cat.pid
        assert echoes(cat, b"round %d" % number)


def test_a_process_that_computes_is_led_aside_and_back() -> None:
    script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo $i"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE) as child:
        for _ in range(ROUNDS):
            with traced(child.pid) as process:
                assert process.call(SYS_GETPID) == child.pid
        assert child.communicate()[0] == b"300000\n"
    assert child.returncode == 0


def test_an_error_of_the_call_is_told(cat: subprocess.Popen[bytes]) -> None:
    with traced(cat.pid) as process, pytest.raises(OSError, match="system call 3") as failed:
        process.call(SYS_CLOSE, 999)
    assert failed.value.errno == errno.EBADF
    assert echoes(cat, b"still there")


def test_one_that_is_killed_while_it_stands_is_told_not_waited_for(cat: subprocess.Popen[bytes]) -> None:
    def kill_and_call() -> None:
        with traced(cat.pid) as process:
            cat.kill()
            process.call(SYS_GETPID)

    with pytest.raises(TraceRefused, match=r"has ended|cannot be traced"):
        kill_and_call()


def test_one_that_is_not_there_and_one_that_is_not_ours_are_refused(cat: subprocess.Popen[bytes]) -> None:
    cat.kill()
    cat.wait()
    with pytest.raises(TraceRefused), traced(cat.pid):
        pass
    with pytest.raises(TraceRefused), traced(os.getpid()):
        pass
