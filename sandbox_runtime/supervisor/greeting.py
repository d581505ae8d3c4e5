"""Waits for the agent of a machine that starts, and notices at once when there is no guest any more to wait for."""

from __future__ import annotations

import socket

from sandbox_runtime.channel import Channel
from sandbox_runtime.errors import VmmFailed
from sandbox_runtime.model import AccelKind
from sandbox_runtime.protocol.errors import ChannelClosed
from sandbox_runtime.supervisor.guest_end import console, guest_ended, where
from sandbox_runtime.vmm.vm import Vm

HELLO_SECONDS = {AccelKind.KVM: 20.0, AccelKind.TCG: 60.0}  # twenty times the usual boot of each


class Silent(VmmFailed):
    """The guest lives and its agent has said nothing: the start may be tried once more."""


def greet(vm: Vm, seconds: float = 0.0) -> Channel:
    """A session with the agent of `vm`, begun; `seconds` to wait, 0 for the usual patience with its accelerator.

    VmmFailed as soon as QEMU dies or the guest ends, Silent when time is over, ProtocolViolation. The caller takes
    `beside` off the channel, or keeps it for as long as it waits for the agent.
    """
    port = socket.socket(socket.AF_UNIX)
    try:
        port.connect(str(vm.channel_socket))
    except OSError:
        port.close()
        raise
    channel = Channel(port)
    channel.beside = (vm.qmp.fileno(), lambda: _monitor_spoke(vm, channel))
    try:
        channel.greet(seconds or HELLO_SECONDS[vm.accel.kind])
    except BaseException as error:
        lost = channel.why_closed
        channel.close()
        if isinstance(error, ChannelClosed) and not lost:
            raise Silent("hello", f"{error}; {where(vm)}; the guest's console: {console(vm)}") from error
        raise
    return channel


def _monitor_spoke(vm: Vm, channel: Channel) -> None:
    """A guest that has ended answers no more."""
    if said := guest_ended(vm):
        raise VmmFailed("guest", said)
    if vm.qmp.closed:
        channel.beside = None
