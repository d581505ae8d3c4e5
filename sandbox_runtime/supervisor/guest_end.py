"""Whether a guest has ended by itself: it panicked, was reset or turned itself off, and QEMU stays, paused."""

from __future__ import annotations

from sandbox_runtime.errors import SandboxError
from sandbox_runtime.vmm.vm import Vm

ENDED = frozenset({"SHUTDOWN", "GUEST_PANICKED"})
CONSOLE_CHARACTERS = 300


def guest_ended(vm: Vm) -> str:
    """What is known of its end, in words; empty while it goes on. Takes all events of the monitor."""
    if not any(event.get("event") in ENDED for event in vm.qmp.take_events()):
        return ""
    return f"the guest has ended by itself; its console: {console(vm)}"


def console(vm: Vm) -> str:
    """The last that it printed, without anything that a terminal would act on."""
    try:
        said = vm.console()[-CONSOLE_CHARACTERS:]
    except SandboxError as error:
        return str(error)
    return "".join(letter if letter.isprintable() else " " for letter in said).strip() or "(nothing)"
