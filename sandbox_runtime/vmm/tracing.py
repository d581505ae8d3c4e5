"""System calls made in another process, by ptrace(2). x86-64.

Its first thread is stopped wherever it is, led over a `syscall` instruction of its vDSO with other registers, and let
go with those that it had. Nothing of its memory is written, no stack is used, and its other threads run on. Whoever
may do this is decided by the kernel: root, or the parent of the process where `kernel.yama.ptrace_scope` is at most 1.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox_runtime.errors import TraceRefused

PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_DETACH, PTRACE_SYSCALL = 12, 13, 17, 24
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
TRACESYSGOOD, EXITKILL = 1, 1 << 20  # stops at system calls are told apart; a tracer that dies leaves no half
AT_A_CALL = signal.SIGTRAP | 0x80
SYSCALL = b"\x0f\x05"
VDSO = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) r-xp .*\[vdso\]$", re.MULTILINE)
STOP_SECONDS = 5.0
SPIN_SECONDS = 0.002  # a stop takes some ten microseconds; a sleep, however short, several times that
POLL_SECONDS = 0.0005
FOREIGN_STOPS = 64  # signals for it meanwhile
# include/linux/errno.h: what a call that was interrupted stands at; the kernel would make it anew on its way out
RESTARTED, RESTART_BLOCK = (-512, -513, -514), -516
EINTR = -4

REGISTERS = """
    r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs
"""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class Registers(ctypes.Structure):
    """user_regs_struct of x86-64 (arch/x86/include/asm/user_64.h), all signed, for the results of calls."""

    _fields_ = tuple((name, ctypes.c_long) for name in REGISTERS.split())


class Traced:
    """A process whose first thread stands still; made by `traced` alone."""

    def __init__(self, pid: int, gate: int) -> None:
        self.pid, self._gate = pid, gate
        self._own = self._registers()
        self._now = Registers.from_buffer_copy(self._own)

    def call(self, number: int, *arguments: int) -> int:
        """What system call `number` returns in it. OSError where that is an error, TraceRefused where it ends."""
        now = self._now
        words = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
        now.rdi, now.rsi, now.rdx, now.r10, now.r8, now.r9 = words
        now.rip, now.rax, now.orig_rax = self._gate, number, -1  # -1: nothing to make anew
        self._set(now)
        for _ in ("it enters", "it returns"):
            self._to_a_call()
        result = int(self._registers().rax)
        if -4096 < result < 0:
            raise OSError(-result, f"system call {number} in process {self.pid}: {os.strerror(-result)}")
        return result

    def let_go(self) -> None:
        """Go on as if nothing had been; a call that was interrupted is made again."""
        own = self._own
        if own.orig_rax >= 0 and own.rax in RESTARTED:
            own.rax, own.rip = own.orig_rax, own.rip - len(SYSCALL)
        elif own.orig_rax >= 0 and own.rax == RESTART_BLOCK:
            own.rax = EINTR
        own.orig_rax = -1
        self._set(own)
        _ptrace(PTRACE_DETACH, self.pid)

    def _to_a_call(self) -> None:
        for_it = 0
        for _ in range(FOREIGN_STOPS):
            _ptrace(PTRACE_SYSCALL, self.pid, for_it)
            why = _stopped(self.pid)
            if why == AT_A_CALL:
                return
            for_it = 0 if why == signal.SIGTRAP else why
        raise TraceRefused(f"process {self.pid} is kept from its system call by signals")

    def _registers(self) -> Registers:
        found = Registers()
        _ptrace(PTRACE_GETREGS, self.pid, ctypes.addressof(found))
        return found

    def _set(self, registers: Registers) -> None:
        _ptrace(PTRACE_SETREGS, self.pid, ctypes.addressof(registers))


@contextmanager
def traced(pid: int) -> Iterator[Traced]:
    """Hold the first thread of our child `pid`. TraceRefused where we may not, or where it has no vDSO.

    Left by an exception it is not let go: whoever started it must end it.
    """
    gate = _gate(pid)
    _ptrace(PTRACE_SEIZE, pid, TRACESYSGOOD | EXITKILL)
    _ptrace(PTRACE_INTERRUPT, pid)
    _stopped(pid)
    process = Traced(pid, gate)
    yield process
    process.let_go()


def _gate(pid: int) -> int:
    """Where a `syscall` instruction stands in the vDSO: it has one for each clock that it cannot read by itself."""
    try:
        found = VDSO.search(Path(f"/proc/{pid}/maps").read_bytes())
        if found:
            start, end = int(found[1], 16), int(found[2], 16)
            with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
                memory.seek(start)
                at = memory.read(end - start).find(SYSCALL)
            if at >= 0:
                return start + at
    except OSError as error:
        raise TraceRefused(f"process {pid} cannot be looked into: {error.strerror}") from error
    raise TraceRefused(f"process {pid} has no vDSO with a system call in it")


def _stopped(pid: int) -> int:
    """The signal that `pid` stands at, when it does."""
    begin = time.monotonic()
    deadline, patient = begin + STOP_SECONDS, begin + SPIN_SECONDS
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found and os.WIFSTOPPED(status):
                return os.WSTOPSIG(status)
            if found:
                raise TraceRefused(f"process {pid} has ended")
        if time.monotonic() < patient:
            os.sched_yield()
        else:
            time.sleep(POLL_SECONDS)
    raise TraceRefused(f"process {pid} did not stop in {STOP_SECONDS:g} s")


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _libc.ptrace(request, pid, None, data) < 0:
        raise TraceRefused(f"process {pid} cannot be traced: {os.strerror(ctypes.get_errno())}")
