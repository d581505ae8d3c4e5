"""Makes a guest that has just come alive ready for its containers: identity, network, mounts, copies, creation."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from typing import Any

from sandbox_runtime import oci
from sandbox_runtime.channel import Channel
from sandbox_runtime.protocol import messages
from sandbox_runtime.protocol.errors import RequestFailed
from sandbox_runtime.rootfs.plan import GuestMount
from sandbox_runtime.supervisor import network
from sandbox_runtime.supervisor.order import Order
from sandbox_runtime.supervisor.plans import ContainerPlan, Plans
from sandbox_runtime.supervisor.processes import Process
from sandbox_runtime.volumes.copies import Snapshot

ENTROPY_BYTES = 256
SECONDS = 120.0  # for one request; emulation on a loaded host is slow
DEVICE_MS = 60_000
PASSWD_BYTES = 1 << 20


def configure(channel: Channel, order: Order) -> None:
    """Make it one of its own, and give it its network."""
    identity = messages.Configure(
        os.urandom(ENTROPY_BYTES),
        time.time_ns(),
        order.spec.hostname or order.spec.id[:63],
        os.urandom(16).hex(),
    )
    seconds = order.silence_seconds or SECONDS  # it has nothing to wait for
    channel.call("configure", identity, seconds)
    net = network.in_guest(order.spec.nic)
    if net is not None:
        channel.call("network", net, seconds)


def mount(channel: Channel, plans: Plans) -> None:
    """Mount roots and volumes, in order."""
    for each in plans.mounts():
        channel.call("mount", _message(each), SECONDS)


def put(channel: Channel, target: str, snapshot: Snapshot, then: Callable[[Any], None]) -> None:
    """Send the files of a copied volume; readers see all of the old ones or all of the new ones."""
    writer = channel.writer()
    pieces = snapshot.archive()
    rest = memoryview(b"")

    def move() -> None:
        nonlocal rest
        while not writer.broken:
            if not rest:
                piece = next(pieces, None)
                if piece is None:
                    writer.on_move = None
                    writer.end()
                    return
                rest = memoryview(piece)
            taken = writer.give(rest)
            rest = rest[taken:]
            if not taken and rest:
                return

    channel.request("put_files", messages.PutFiles(target, writer.number, True), then)
    writer.on_move = move
    move()


def put_and_wait(channel: Channel, target: str, snapshot: Snapshot) -> None:
    """`put`, until the guest has it."""
    answers: list[Any] = []
    put(channel, target, snapshot, answers.append)
    channel.run_until(lambda: bool(answers), SECONDS, "put_files")
    if isinstance(answers[0], RequestFailed):
        raise answers[0]


def create(channel: Channel, plan: ContainerPlan, process: Process) -> oci.User:
    """Create a container; it waits to be started. Returns who its processes are."""
    for bind in plan.binds:
        channel.call("mount", _message(bind.mount), SECONDS)
    user = _user(channel, plan)
    config = oci.config(plan.spec, plan.image, user, [bind.oci for bind in plan.binds])
    request = messages.Create(plan.spec.id, json.dumps(config), plan.root.target, process.stdio)
    channel.call("create", request, SECONDS)
    return user


def _message(mount: GuestMount) -> messages.Mount:
    wait = DEVICE_MS if mount.source.startswith("serial:") else 0
    return messages.Mount(
        mount.kind, mount.source, mount.sub_path, mount.target, mount.options, mount.fs_group, wait
    )


def _user(channel: Channel, plan: ContainerPlan) -> oci.User:
    text = plan.spec.user or plan.image.user
    found = oci.by_number(text)
    if found is not None:
        return found
    etc = f"{plan.root.target}/etc"
    return oci.look_up(text, _read(channel, f"{etc}/passwd"), _read(channel, f"{etc}/group"))


def _read(channel: Channel, path: str) -> str:
    """A small file of the guest; empty where it is not there. Whatever it says concerns that guest only."""
    import tarfile  # memory of every sandbox, for the few whose user has a name

    reader = channel.reader()
    answers: list[Any] = []
    channel.request("get_files", messages.GetFiles(path, reader.number), answers.append)
    archive = bytearray()
    while (part := reader.read(SECONDS)) and len(archive) < PASSWD_BYTES:
        archive += part
    reader.stop()
    channel.run_until(lambda: bool(answers), SECONDS, "get_files")
    try:
        with tarfile.open(fileobj=io.BytesIO(bytes(archive))) as tar:
            entry = tar.next()
            file = tar.extractfile(entry) if entry is not None and entry.isfile() else None
            return file.read(PASSWD_BYTES).decode(errors="replace") if file else ""
    except (tarfile.TarError, OSError):
        return ""
