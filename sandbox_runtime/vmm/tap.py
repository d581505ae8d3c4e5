"""Taps: a network card's host end, opened here and passed to QEMU, which opens none itself.

Facts: Linux include/uapi/linux/if_tun.h. IFF_VNET_HDR carries checksum and segmentation offloads: a guest that was
saved without them never uses them again, so the tap under a template has them too.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

from sandbox_runtime.errors import BadInput, HostUnfit
from sandbox_runtime.vmm.confine import CLONE_NEWNET

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
NAME_BYTES = 15


def open_tap(name: str) -> int:
    """The tap `name` of the network namespace we are in, made where it is missing; it is gone with its descriptor."""
    if not name or len(name.encode()) > NAME_BYTES or "/" in name or not name.isprintable() or " " in name:
        raise BadInput(f"{name!r} is no name for a network interface")
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise HostUnfit(
            "/dev/net/tun cannot be opened", str(error), "load the tun module, run as root"
        ) from error
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    except OSError as error:
        os.close(fd)
        raise HostUnfit(f"tap {name} cannot be opened", str(error), "free the name, run as root") from error
    return fd


def nowhere() -> int:
    """A tap in a network namespace that nobody else is in, for a machine that is to become a template."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        _send_tap(theirs)
    theirs.close()
    with ours:
        why, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    os.waitpid(child, 0)
    if not fds:
        raise HostUnfit("no tap for a template", why.decode(errors="replace"), "run as root")
    os.set_inheritable(fds[0], False)
    return fds[0]


def _send_tap(theirs: socket.socket) -> None:
    """The child; never returns."""
    try:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "unshare")  # noqa: TRY301 - told to the parent below
        socket.send_fds(theirs, [b"tap"], [open_tap("tap0")])
    except BaseException as error:
        theirs.send(str(error).encode()[:4000] or b"failed")
    finally:
        os._exit(0)
