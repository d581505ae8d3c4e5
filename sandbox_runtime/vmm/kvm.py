"""Runs a page of guest code through raw KVM calls: the only honest test of whether KVM can run a kernel.

Layouts and numbers: Linux include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h. The vCPU starts in 64-bit
mode on page tables of our own. First a loop at ring 0, timed: hardware needs microseconds, a back end that emulates
ring 0 needs milliseconds. Then SYSCALL at ring 3: hardware enters the handler at ring 0.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import time
from fcntl import ioctl
from typing import NamedTuple

CREATE_VM, GET_VCPU_MMAP_SIZE, CREATE_VCPU, RUN = 0xAE01, 0xAE04, 0xAE41, 0xAE80
SET_USER_MEMORY_REGION, SET_REGS, GET_SREGS, SET_SREGS = 0x4020AE46, 0x4090AE82, 0x8138AE83, 0x4138AE84
SET_MSRS, GET_SUPPORTED_CPUID, SET_CPUID2 = 0x4008AE89, 0xC008AE05, 0x4008AE90
EXIT_IO, EXIT_HLT = 2, 5
MEMORY = 2 << 20
PML4, PDPT, PD, LOOP, USER, HANDLER, STACK = 0x1000, 0x2000, 0x3000, 0x5000, 0x6000, 0x7000, 0x9000
LOOP_CODE = b"\xb9\xe8\x03\x00\x00" + b"\x90\xff\xc9\x75\xfb" + b"\xf4"  # mov ecx,1000; nop; dec; jnz -5; hlt
USER_CODE = b"\x0f\x05\xf4"  # syscall; hlt
HANDLER_CODE = b"\x8c\xc8\xe7\x10\xf4"  # mov eax,cs; out 0x10,eax; hlt
RING0_CS, CPUID_ENTRIES = 0x08, 256
MSR_STAR, MSR_LSTAR, MSR_FMASK = 0xC0000081, 0xC0000082, 0xC0000084
LOOP_INSTRUCTIONS = 3_000


class Observation(NamedTuple):
    """What the guest code did; `loop_seconds` for 3,000 instructions at ring 0, `syscall_cs` the handler's CS or -1."""

    loop_exit: int
    loop_seconds: float
    syscall_exit: int
    syscall_cs: int


def observe(device: str = "/dev/kvm") -> Observation:
    """Run both pieces of code in a VM of their own. OSError where a call is refused."""
    kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        vm = ioctl(kvm, CREATE_VM, 0)
        try:
            return _observe(kvm, vm)
        finally:
            os.close(vm)
    finally:
        os.close(kvm)


def _observe(kvm: int, vm: int) -> Observation:
    with mmap.mmap(-1, MEMORY) as memory:
        _fill(memory)
        view = ctypes.c_char.from_buffer(memory)
        try:
            ioctl(vm, SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, MEMORY, ctypes.addressof(view)))
            vcpu = ioctl(vm, CREATE_VCPU, 0)
            try:
                return _run_both(kvm, vcpu)
            finally:
                os.close(vcpu)
        finally:
            del view


def _fill(memory: mmap.mmap) -> None:
    present_writable_user, large = 0x07, 0x80
    for table, entry in ((PML4, PDPT), (PDPT, PD), (PD, large)):
        memory[table : table + 8] = struct.pack("<Q", entry | present_writable_user)
    for place, code in ((LOOP, LOOP_CODE), (USER, USER_CODE), (HANDLER, HANDLER_CODE)):
        memory[place : place + len(code)] = code


def _run_both(kvm: int, vcpu: int) -> Observation:
    cpuid = bytearray(struct.pack("<II", CPUID_ENTRIES, 0) + bytes(40 * CPUID_ENTRIES))
    ioctl(kvm, GET_SUPPORTED_CPUID, cpuid)
    ioctl(vcpu, SET_CPUID2, cpuid)
    msrs = ((MSR_STAR, RING0_CS << 32 | 0x1B << 48), (MSR_LSTAR, HANDLER), (MSR_FMASK, 0))
    entries = b"".join(struct.pack("<IIQ", index, 0, value) for index, value in msrs)
    ioctl(vcpu, SET_MSRS, struct.pack("<II", len(msrs), 0) + entries)
    with mmap.mmap(vcpu, ioctl(kvm, GET_VCPU_MMAP_SIZE, 0)) as shared:
        _place(vcpu, LOOP, ring=0)
        begin = time.perf_counter()
        loop_exit = _run(vcpu, shared)
        seconds = time.perf_counter() - begin
        _place(vcpu, USER, ring=3)
        syscall_exit = _run(vcpu, shared)
        data = struct.unpack_from("<Q", shared, 40)[0]  # kvm_run.io.data_offset
        landed = syscall_exit == EXIT_IO and data <= len(shared) - 4
        return Observation(
            loop_exit, seconds, syscall_exit, struct.unpack_from("<I", shared, data)[0] if landed else -1
        )


def _run(vcpu: int, shared: mmap.mmap) -> int:
    ioctl(vcpu, RUN, 0)
    return int(struct.unpack_from("<I", shared, 8)[0])  # kvm_run.exit_reason


def _place(vcpu: int, rip: int, ring: int) -> None:
    """64-bit mode at `ring`, interrupts off, about to execute `rip`."""
    sregs = bytearray(312)
    ioctl(vcpu, GET_SREGS, sregs)
    selector = RING0_CS if ring == 0 else 0x2B
    code = struct.pack("<QIH10B", 0, 0xFFFFFFFF, selector, 0xB, 1, ring, 0, 1, 1, 1, 0, 0, 0)
    data = struct.pack(
        "<QIH10B", 0, 0xFFFFFFFF, selector + 8 if ring == 0 else 0x23, 0x3, 1, ring, 1, 1, 0, 1, 0, 0, 0
    )
    sregs[0:24] = code
    for index in (1, 2, 3, 4, 5):  # ds es fs gs ss
        sregs[24 * index : 24 * index + 24] = data
    struct.pack_into("<Q", sregs, 224, 0x80050033)  # cr0: PG AM WP NE ET MP PE
    struct.pack_into("<QQ", sregs, 240, PML4, 0x20)  # cr3, cr4: PAE
    struct.pack_into("<Q", sregs, 264, 0x501)  # efer: LMA LME SCE
    ioctl(vcpu, SET_SREGS, bytes(sregs))
    registers = [0] * 18
    registers[6], registers[16], registers[17] = STACK, rip, 0x2  # rsp, rip, rflags
    ioctl(vcpu, SET_REGS, struct.pack("<18Q", *registers))
