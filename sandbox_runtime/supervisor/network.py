"""The host end of a sandbox's network card: a tap with an address, and what the guest is told."""

from __future__ import annotations

import os

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.model import NetKind, Nic
from sandbox_runtime.protocol import messages
from sandbox_runtime.vmm.tap import open_tap

NO_MAC = "02:"


def open_up(nic: Nic) -> int:
    """Open the tap, give the host's side the gateway's address, turn it on. The tap is gone with the descriptor."""
    fd = open_tap(nic.tap)
    try:
        if nic.gateway:
            prefix = nic.addresses[0].partition("/")[2] if nic.addresses else "32"
            _ip("address", "replace", f"{nic.gateway}/{prefix}", "dev", nic.tap)
        _ip("link", "set", nic.tap, "mtu", str(nic.mtu), "up")
    except BaseException:
        os.close(fd)
        raise
    return fd


def in_guest(nic: Nic) -> messages.Network | None:
    """What the guest makes of its card; None without one."""
    if nic.kind is not NetKind.TAP:
        return None
    card = messages.Interface("eth0", nic.mac or random_mac(), nic.mtu, nic.addresses)
    routes = (messages.Route("", nic.gateway, "eth0", ""),) if nic.gateway else ()
    return messages.Network((card,), routes, ())


def random_mac() -> str:
    """Locally administered (IEEE 802), so that no two sandboxes share the template's."""
    return NO_MAC + os.urandom(5).hex(":")


def _ip(*words: str) -> None:
    import subprocess  # memory of every sandbox, for those that come here

    try:
        done = subprocess.run(["ip", *words], capture_output=True, check=False)
    except FileNotFoundError:
        raise HostUnfit("ip is not there", "it gives a tap its address", "install iproute2") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise HostUnfit(f"ip {' '.join(words)}", said, "run as root, and check name and address")
