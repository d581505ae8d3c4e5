"""Whether this host can run guests on KVM. Opening /dev/kvm proves nothing: guest code has to run.

The pass side of the probe follows the architecture manuals; it has not been seen on real VMX or SVM by its authors yet.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.model import Accel, AccelKind
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm import kvm

LOOP_SECONDS = 0.001  # 3,000 instructions: hardware 2 us to 100 us, emulated ring 0 more than 4 ms
PROBE_SECONDS = 1
DEVICE = "/dev/kvm"
REMEDY = (
    "use a host with VT-x or AMD-V and the kvm_intel or kvm_amd module (in a VM: nested virtualization), "
    "or allow emulation for a test, which is no wall between tenants"
)


def judge(seen: kvm.Observation) -> Accel:
    """The verdict on what the guest code did."""
    if seen.loop_exit != kvm.EXIT_HLT:
        return _unusable(f"64-bit code at ring 0 ended with KVM exit {seen.loop_exit} instead of HLT")
    if seen.syscall_exit != kvm.EXIT_IO or seen.syscall_cs != kvm.RING0_CS:
        return _unusable(
            f"SYSCALL at ring 3 did not reach ring 0 (KVM exit {seen.syscall_exit}, CS {seen.syscall_cs:#x}): "
            "no process of a guest could call its kernel"
        )
    if seen.loop_seconds >= LOOP_SECONDS:
        return _unusable(
            f"{kvm.LOOP_INSTRUCTIONS} instructions at ring 0 took {seen.loop_seconds * 1000:.1f} ms: "
            "this KVM emulates the kernel half of a guest"
        )
    return Accel(AccelKind.KVM, True, "guest code runs as on hardware")


def probe() -> Accel:
    """Run the guest code now, in a child that may hang or die without harm; some 10 ms."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        missing = "is not there" if not Path(DEVICE).exists() else "may not be opened by this user"
        return _unusable(f"{DEVICE} {missing}")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _report(writer)
    os.close(writer)
    with open(reader, "rb") as answer:  # noqa: PTH123 - a descriptor
        said = answer.read(4096)
    _, status = os.waitpid(child, 0)
    if not said:
        return _unusable(f"guest code did not finish in {PROBE_SECONDS} s (wait status {status})")
    outcome = json.loads(said)
    return judge(kvm.Observation(*outcome)) if isinstance(outcome, list) else _unusable(str(outcome))


def probe_accel(paths: Paths) -> Accel:
    """The verdict, remembered until the next boot, another kernel or another KVM module."""
    place, key = paths.run / "accel.json", _key()
    try:
        kept = json.loads(place.read_bytes())
        if kept["key"] == key:
            return Accel(AccelKind(kept["kind"]), bool(kept["usable"]), str(kept["why"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    verdict = probe()
    _keep(place, json.dumps({"key": key, **verdict._asdict()}))
    return verdict


def require(accel: Accel, allow_emulation: bool) -> None:
    """Refuse to start what would have no wall around it."""
    if not accel.usable and not allow_emulation:
        raise HostUnfit("this host has no usable KVM", accel.why, REMEDY)


def _keep(place: Path, text: str) -> None:
    """A verdict that cannot be kept is asked for again."""
    fresh = place.with_suffix(f".{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text)
        fresh.replace(place)
    except OSError:
        with suppress(OSError):
            fresh.unlink()


def _report(writer: int) -> None:
    """The child: says what it saw, or why not, and ends without running anything of its parent."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PROBE_SECONDS)
        try:
            outcome: object = list(kvm.observe())
        except OSError as error:
            outcome = f"a KVM call was refused: {error.strerror}"
        os.write(writer, json.dumps(outcome).encode())
    finally:
        os._exit(0)


def _key() -> str:
    modules = sorted(path.name for path in Path("/sys/module").glob("kvm*"))
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "|".join(
        (boot, os.uname().release, os.uname().version, *modules, str(os.access(DEVICE, os.R_OK | os.W_OK)))
    )


def _unusable(why: str) -> Accel:
    return Accel(AccelKind.TCG, False, why)
