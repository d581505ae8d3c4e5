"""`bulkhead sandbox run`: a container in a sandbox of its own."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from sandbox_runtime.command import places, streams
from sandbox_runtime.command.client import connect
from sandbox_runtime.command.progress import showing
from sandbox_runtime.command.start import NotStarted, Running, start
from sandbox_runtime.errors import BadInput
from sandbox_runtime.lifecycle import recover
from sandbox_runtime.model import ContainerSpec, GuestImage, Limits, Mount, NetKind, Nic, SandboxSpec, Volume
from sandbox_runtime.paths import Paths
from sandbox_runtime.supervisor.order import Order
from sandbox_runtime.volumes.syntax import parse, parse_size

NO_GUEST = GuestImage(Path("/"), None, None, "", "")
STOP_AT = "BULKHEAD_DEBUG_STOP_AT"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("run", help="run a container in a sandbox of its own")
    places.add_options(parser)
    parser.add_argument(
        "image", help="OCI layout, docker or OCI archive, or a directory that is a root filesystem"
    )
    parser.add_argument(
        "argv", nargs=argparse.REMAINDER, metavar="COMMAND", help="what runs, instead of what the image says"
    )
    parser.add_argument("--name", help="id of the sandbox (default: drawn at random)")
    parser.add_argument("--hostname", default="", help="default: the name")
    parser.add_argument("-i", "--interactive", action="store_true", help="pass stdin on")
    parser.add_argument("-t", "--tty", action="store_true", help="give the container a terminal")
    parser.add_argument("-d", "--detach", action="store_true", help="print the id and return")
    parser.add_argument("--rm", action="store_true", help="leave nothing, not even logs, when it ends")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("-w", "--workdir", default="")
    parser.add_argument("-u", "--user", default="", help="user[:group], names of the image or numbers")
    parser.add_argument(
        "-v", "--volume", action="append", default=[], metavar="VOLUME", help="see docs/sandbox.md"
    )
    parser.add_argument("-m", "--memory", default="0", help="memory limit, such as 512M (default: 512M)")
    parser.add_argument("--cpus", type=float, default=0.0, help="CPU limit, such as 0.5 (default: one vCPU)")
    parser.add_argument("--disk", default="1G", help="size of the writable layer")
    parser.add_argument("--read-only", action="store_true", help="the root filesystem cannot be written")
    parser.add_argument("--net", choices=("none", "tap"), default="none")
    parser.add_argument(
        "--tap", default="", help="name of the tap on the host; made where it is missing (needs root)"
    )
    parser.add_argument("--address", default="", help="of the guest, such as 10.7.0.2/24")
    parser.add_argument("--gateway", default="", help="of the guest; the host's side of the tap gets it")
    parser.add_argument(
        "--cgroup", help="control group of the sandbox (default: bulkhead/ID as root, else none)"
    )
    parser.add_argument(
        "--root-shares", action="store_true", help="serve host directories as root, as hostPath does"
    )
    parser.add_argument(
        "--allow-emulation", action="store_true", help="without usable KVM, emulate: slow, and no wall"
    )
    parser.add_argument("--cold", action="store_true", help="boot, do not restore from a template")
    parser.add_argument(
        "--ping-every",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="ask a guest that says nothing for a sign of life (default: 10, 0: never)",
    )
    parser.add_argument(
        "--ping-timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="end a sandbox whose guest has said nothing for so long (default: 60, 0: never)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run it; returns the container's status."""
    paths = places.paths(arguments)
    order = order_of(arguments)
    if arguments.tty and not arguments.detach and not os.isatty(0):
        raise BadInput("--tty wants a terminal at stdin")
    try:
        with showing(arguments.quiet) as progress:
            running = start(paths, order, progress)
    except NotStarted as error:
        print(f"bulkhead sandbox: {error}", file=sys.stderr)
        return error.code
    if arguments.detach:
        print(running.id)
        return 0
    return _foreground(paths, running, arguments)


def _foreground(paths: Paths, running: Running, arguments: argparse.Namespace) -> int:
    with connect(paths, running.id) as client:
        client.send(op="attach", start=True)
        found = streams.Bridge(client, arguments.interactive, arguments.tty, detachable=True).run()
    if not found.get("detached"):
        with suppress(ChildProcessError):
            os.waitpid(running.pid, 0)
    if found.get("reason") == "supervisor-died":
        recover.recover(paths)
    return streams.status(found)


def order_of(arguments: argparse.Namespace) -> Order:
    """What the options ask for. Raises BadInput."""
    sandbox_id = arguments.name or f"s-{os.urandom(5).hex()}"
    volumes = [parse(text, number) for number, text in enumerate(arguments.volume)]
    limits = Limits(round(arguments.cpus * 1000), parse_size(arguments.memory))
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    container = ContainerSpec(
        id="main",
        argv=tuple(argv),
        env=tuple(_env(line) for line in arguments.env),
        cwd=arguments.workdir,
        user=arguments.user,
        image=str(Path(arguments.image).absolute()),
        tty=arguments.tty,
        stdin=arguments.interactive,
        read_only=arguments.read_only,
        limits=limits,
        rootfs_bytes=parse_size(arguments.disk),
        mounts=tuple(each.mount for each in volumes),
    )
    spec = _spec(arguments, sandbox_id, limits, container, tuple(each.volume for each in volumes))
    return Order(
        spec,
        NO_GUEST,
        created_ns=time.time_ns(),
        remove=arguments.rm,
        detached=arguments.detach,
        use_template=not arguments.cold,
        root_shares=arguments.root_shares,
        ping_seconds=max(0.0, arguments.ping_every),
        silence_seconds=max(0.0, arguments.ping_timeout),
        stop_at=os.environ.get(STOP_AT, ""),
    )


def _spec(
    arguments: argparse.Namespace,
    sandbox_id: str,
    limits: Limits,
    container: ContainerSpec,
    volumes: tuple[Volume, ...],
) -> SandboxSpec:
    cgroup = arguments.cgroup
    if cgroup is None:
        cgroup = places.paths(arguments).group(sandbox_id) if os.geteuid() == 0 else ""
    return SandboxSpec(
        id=sandbox_id,
        hostname=arguments.hostname,
        limits=limits,
        containers=(container,),
        volumes=volumes,
        nic=_nic(arguments, sandbox_id),
        cgroup=cgroup,
        allow_emulation=arguments.allow_emulation,
    )


def _nic(arguments: argparse.Namespace, sandbox_id: str) -> Nic:
    if arguments.net == "none":
        if arguments.tap or arguments.address or arguments.gateway:
            raise BadInput("--tap, --address and --gateway go with --net tap")
        return Nic()
    if not arguments.address or "/" not in arguments.address:
        raise BadInput("--net tap wants --address ADDRESS/PREFIX, such as 10.7.0.2/24")
    tap = arguments.tap or f"bh{sandbox_id[-12:]}"
    return Nic(NetKind.TAP, tap, addresses=(arguments.address,), gateway=arguments.gateway)


def _env(line: str) -> str:
    """`NAME=VALUE`, or `NAME` to pass our own value on, as docker."""
    return line if "=" in line else f"{line}={os.environ.get(line, '')}"


def mount_of(volume: Volume, mount: Mount) -> str:
    """For messages."""
    return f"{volume.kind} at {mount.path}"
