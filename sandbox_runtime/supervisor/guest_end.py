"""Whether a guest has ended by itself: it panicked, was reset or turned itself off, and QEMU stays, paused."""

from __future__ import annotations

from sandbox_runtime.errors import SandboxError
from sandbox_runtime.vmm.vm import Vm

ENDED = frozenset({"SHUTDOWN", "GUEST_PANICKED"})
CONSOLE_CHARACTERS = 300
PANIC = "Kernel panic"  # how kernel/panic.c begins; a trace of the stack follows


def guest_ended(vm: Vm) -> str:
    """What is known of its end, in words; empty while it goes on. Takes all events of the monitor."""
    if not any(event.get("event") in ENDED for event in vm.qmp.take_events()):
        return ""
    return f"the guest has ended by itself; its console: {console(vm)}"


def where(vm: Vm) -> str:
    """What a guest that says nothing is doing: the machine, and where its processor is, or that it waits (HLT=1)."""
    try:
        status = vm.qmp.command("query-status")["status"]
        registers = str(vm.qmp.command("human-monitor-command", command_line="info registers"))
    except (SandboxError, KeyError, TypeError) as error:
        return f"its monitor: {error}"
    found = [word for word in registers.split() if word.startswith(("RIP=", "EIP=", "HLT="))]
    return " ".join([str(status), *found])


def console(vm: Vm) -> str:
    """Why it panicked, else the last that it printed; without anything that a terminal would act on."""
    try:
        whole = vm.console()
    except SandboxError as error:
        return str(error)
    panic = whole.rfind(PANIC)
    said = whole[panic:][:CONSOLE_CHARACTERS] if panic >= 0 else whole[-CONSOLE_CHARACTERS:]
    return "".join(letter if letter.isprintable() else " " for letter in said).strip() or "(nothing)"
