"""Every message of the wire, as a typed value. The agent's Go types are written from this file.

Field types: str, int, bool, bytes (base64 in JSON), tuple[T, ...], dict[str, str], and other messages. Every field is
always present. Numbers of streams are those of `frames`; 0 means none. Units are in the names; `_ns` since the epoch.
"""

from typing import NamedTuple


class Phase(NamedTuple):
    """One step of the guest's start and the microseconds on the guest's clock since boot when it was done."""

    name: str
    at_us: int


class Process(NamedTuple):
    """A process that the agent answers for: a container's first (`exec_id` empty) or an exec.

    `status`: created, running, paused, stopped. `code` counts when stopped: 0-255, 128 + n for a death by signal n.
    """

    id: str
    exec_id: str
    pid: int
    status: str
    code: int
    exited_ns: int


class Hello(NamedTuple):
    """First word of a session: who speaks, and what is running from earlier sessions."""

    version: int
    agent: str
    kernel: str
    boot_id: str
    phases: tuple[Phase, ...]
    processes: tuple[Process, ...]


class Nothing(NamedTuple):
    """An answer that says only: done."""


class Interface(NamedTuple):
    """A network interface by its name in the guest; an empty `mac` or an `mtu` of 0 leaves what is there."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]


class Route(NamedTuple):
    """A route; empty `destination` is the default route, empty `gateway` a directly reachable one."""

    destination: str
    gateway: str
    device: str
    source: str


class Neighbour(NamedTuple):
    """A permanent neighbour entry."""

    address: str
    mac: str
    device: str


class Network(NamedTuple):
    """The whole network state of the pod: addresses and routes that are not named are removed."""

    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]
    neighbours: tuple[Neighbour, ...]


class Configure(NamedTuple):
    """Makes a restored guest one of its own, as the first request: fresh entropy (>= 32 bytes), clock, names."""

    entropy: bytes
    clock_ns: int
    hostname: str
    machine_id: str


class Configured(NamedTuple):
    """What the guest became: its boot id, and the correction made to its clock."""

    boot_id: str
    clock_step_ns: int


class SetClock(NamedTuple):
    """Sets the guest's clock, for a guest that was paused."""

    clock_ns: int


class Mount(NamedTuple):
    """One mount. `kind`: erofs, ext4, xfs, overlay, tmpfs, nfs, nfs4, virtiofs, 9p, bind.

    `source`: `scsi:LUN`, `serial:TEXT` or a /dev path for block devices (waited for, at most `wait_ms`); a directory
    for bind, where `subpath` is resolved below it without ever leaving it; a tag for virtiofs; `host:/path` for nfs.
    `options` as mount(8) has them. `fs_group`: group that owns the target afterwards with setgid, -1: leave alone.
    """

    kind: str
    source: str
    subpath: str
    target: str
    options: tuple[str, ...]
    fs_group: int
    wait_ms: int


class Unmount(NamedTuple):
    """Unmounts `target`, written out first."""

    target: str


class Detach(NamedTuple):
    """Lets go of a block device (`source` as in Mount) before the host takes it away."""

    source: str


class Stdio(NamedTuple):
    """Streams of a process (even: stdin; odd: stdout, stderr; 0: none) and its terminal, if it has one."""

    stdin: int
    stdout: int
    stderr: int
    terminal: bool
    rows: int
    columns: int


class Create(NamedTuple):
    """Makes a container from an OCI `config` (JSON text) on `rootfs`, a directory in the guest; it waits for Start."""

    id: str
    config: str
    rootfs: str
    stdio: Stdio


class Exec(NamedTuple):
    """Starts a process in a running container; `process` is the OCI process object (JSON text)."""

    id: str
    exec_id: str
    process: str
    stdio: Stdio


class Started(NamedTuple):
    """The process id in the guest."""

    pid: int


class Attach(NamedTuple):
    """Gives a process new streams, after the session that had the old ones ended; the terminal fields are ignored."""

    id: str
    exec_id: str
    stdio: Stdio


class Name(NamedTuple):
    """Names a process (start, wait, remove, pause, resume)."""

    id: str
    exec_id: str


class Signal(NamedTuple):
    """Sends a signal to one process, or with `everyone` to each of the container."""

    id: str
    exec_id: str
    signal: int
    everyone: bool


class Resize(NamedTuple):
    """Sets the size of a process's terminal."""

    id: str
    exec_id: str
    rows: int
    columns: int


class Update(NamedTuple):
    """Changes the limits of a container; `resources` is the OCI linux.resources object (JSON text)."""

    id: str
    resources: str


class Exited(NamedTuple):
    """How a process ended, exactly: exit code 0-255, or 128 + n for a death by signal n."""

    id: str
    exec_id: str
    pid: int
    code: int
    exited_ns: int


class OutOfMemory(NamedTuple):
    """The kernel killed a process of this container for memory; `kills` counts them since its creation."""

    id: str
    kills: int


class List(NamedTuple):
    """Asks for every process."""


class Listed(NamedTuple):
    """Every process that was not removed."""

    processes: tuple[Process, ...]


class AskStats(NamedTuple):
    """Asks for figures of the guest and of these containers (none: all)."""

    ids: tuple[str, ...]


class ContainerStats(NamedTuple):
    """The cgroup's counters; a limit of 0 is none. `working_set` as kubelet has it: without inactive file pages."""

    id: str
    cpu_us: int
    cpu_user_us: int
    cpu_system_us: int
    throttled_us: int
    memory_bytes: int
    memory_peak_bytes: int
    memory_limit_bytes: int
    working_set_bytes: int
    anon_bytes: int
    file_bytes: int
    oom_kills: int
    page_faults: int
    major_page_faults: int
    read_bytes: int
    written_bytes: int
    reads: int
    writes: int
    pids: int
    pids_limit: int


class GuestStats(NamedTuple):
    """The guest's own view: /proc/meminfo, /proc/stat and what the agent itself takes."""

    memory_total_bytes: int
    memory_free_bytes: int
    memory_available_bytes: int
    page_cache_bytes: int
    slab_bytes: int
    cpu_us: int
    uptime_us: int
    agent_bytes: int


class InterfaceStats(NamedTuple):
    """Counters of one network interface, from the guest's side."""

    name: str
    received_bytes: int
    received_packets: int
    receive_errors: int
    receive_drops: int
    sent_bytes: int
    sent_packets: int
    send_errors: int
    send_drops: int


class Stats(NamedTuple):
    """Figures at one moment."""

    at_ns: int
    guest: GuestStats
    containers: tuple[ContainerStats, ...]
    interfaces: tuple[InterfaceStats, ...]


class AskVolume(NamedTuple):
    """Asks how full the filesystem at `target` is."""

    target: str


class VolumeStats(NamedTuple):
    """statfs(2) of a volume."""

    total_bytes: int
    free_bytes: int
    available_bytes: int
    inodes: int
    inodes_free: int


class PutFiles(NamedTuple):
    """Unpacks a tar archive that comes over `stream` into the directory `target`.

    `atomic`: as a ConfigMap volume: a new directory, then one rename of the link `..data`, so that a reader sees all
    of the old files or all of the new ones and inotify tells it.
    """

    target: str
    stream: int
    atomic: bool


class GetFiles(NamedTuple):
    """Sends `path` (a file or a directory) as a tar archive over `stream`."""

    path: str
    stream: int


class Quiesce(NamedTuple):
    """Makes the guest small and still before it becomes a template: written out, caches dropped."""


class Shutdown(NamedTuple):
    """Kills what runs, writes out, unmounts and powers off; answered before the power goes."""

    grace_ms: int


METHODS: dict[str, tuple[type, type]] = {
    "configure": (Configure, Configured),
    "set_clock": (SetClock, Configured),
    "network": (Network, Nothing),
    "mount": (Mount, Nothing),
    "unmount": (Unmount, Nothing),
    "detach": (Detach, Nothing),
    "create": (Create, Started),
    "start": (Name, Nothing),
    "exec": (Exec, Started),
    "attach": (Attach, Nothing),
    "signal": (Signal, Nothing),
    "resize": (Resize, Nothing),
    "wait": (Name, Exited),
    "remove": (Name, Nothing),
    "pause": (Name, Nothing),
    "resume": (Name, Nothing),
    "update": (Update, Nothing),
    "list": (List, Listed),
    "stats": (AskStats, Stats),
    "volume_stats": (AskVolume, VolumeStats),
    "put_files": (PutFiles, Nothing),
    "get_files": (GetFiles, Nothing),
    "quiesce": (Quiesce, Nothing),
    "shutdown": (Shutdown, Nothing),
}

EVENTS: dict[str, type] = {"exit": Exited, "oom": OutOfMemory}

FAILURES = {
    "bad-request": "the request cannot be understood",
    "not-found": "no such container, process, device or path",
    "exists": "the name is taken",
    "wrong-state": "the process is not in a state that allows this",
    "start-failed": "the process could not be started; the message is the runtime's",
    "timeout": "a device did not appear in time",
    "failed": "the guest's kernel refused; the message has the errno",
    "busy": "too many requests at once",
}
