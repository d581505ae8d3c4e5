"""Kernel command lines. Pure.

`image` belongs to the image and is the same on every host; `emulation` adds what a guest needs whose clock is emulated.
Facts and counts behind each word: Documentation/admin-guide/kernel-parameters.txt and our own boots.
"""

from __future__ import annotations

_COMMON = " ".join(
    (
        "quiet loglevel=1",  # each printed line is an exit per byte on a serial console
        "panic=-1 reboot=t",  # a dead kernel ends the VMM at once, by triple fault, instead of hanging
        "random.trust_cpu=on",  # the agent reseeds from the host anyway
        "cryptomgr.notests",
        "initcall_blacklist=tracer_init_tracefs",  # a file system of ten thousand files for tracing this kernel: 10 MiB
    )
)


def image(with_initrd: bool) -> str:
    """Where process 1 is: in an initramfs that finds the image, or, with every driver built in, in the image itself.

    Built in, the dummy driver would make a network card that nobody has asked for.
    """
    whole = "root=/dev/vda rootfstype=erofs ro init=/sbin/agent dummy.numdummies=0"
    return f"{_COMMON} {'rdinit=/init' if with_initrd else whole}"


def emulation(tsc_khz: int) -> str:
    """What to append under emulation; `tsc_khz`: kHz that the guest is to take its time stamp counter for.

    Without `tsc_early_khz` the kernel measures the counter against an emulated timer, fails, and 6 to 7 boots in 50
    hang; with it, none did. `lpj` spares the loop calibration (it assumes 250 Hz), `tsc=reliable` the watchdog.
    """
    loops_per_jiffy = tsc_khz * 1000 // 250
    return f"no_timer_check mitigations=off tsc_early_khz={tsc_khz} tsc=reliable lpj={loops_per_jiffy}"
