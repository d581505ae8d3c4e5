"""A container that wants out: it reaches no file of the host, no other sandbox and no channel of ours."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.go_programs import program
from tests.support.stands import SLOW, Stand, stand, unfit

pytestmark = pytest.mark.real

TOKEN = "f3a9-what-the-host-keeps-for-itself"
ATTEMPTS = Path(__file__).parent / "attempts"
DONE = "ESCAPED"


class Prison(NamedTuple):
    """A sandbox with a shared directory and one beside it, both run by nobody we trust."""

    house: Stand
    name: str
    neighbour: str
    shared: Path

    def tries(self, script: str) -> str:
        """What a shell in the container says."""
        words = self.house.words("exec", self.name, "sh", "-c", script)
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=SLOW, check=False
        )
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def prison() -> Iterator[Prison]:
    if why := unfit():
        pytest.skip(why)
    with stand() as house:
        binary = program(ATTEMPTS)
        if binary is None:
            pytest.skip("no Go toolchain: apt-get install golang-go")
        shutil.copy(binary, house.image / "bin/attempts")
        shared = house.root / "shared"
        shared.mkdir(0o777)
        shared.chmod(0o777)
        config = house.root / "config"
        config.mkdir()
        (config / "key").write_text("value")
        (house.root / "secret").write_text(TOKEN)
        (shared / "absolute").symlink_to(house.root / "secret")
        (shared / "relative").symlink_to("../secret")
        neighbour = house.detached("sh", "-c", "sleep 3600", options=["-e", f"SECRET={TOKEN}"])
        volumes = ["-v", f"{shared}:/shared", "-v", f"config:{config}:/config", "-v", "disk:16M:/scratch"]
        name = house.detached("sleep", "3600", options=volumes)
        yield Prison(house, name, neighbour, shared)


# Each prints ESCAPED, or what the host keeps for itself, where it works.
SCRIPTS = {
    "read a file beside the share": "cat /shared/../secret /shared/../../secret",
    "read by an absolute link in the share": "cat /shared/absolute",
    "read by a relative link in the share": "cat /shared/relative",
    "read by a link that the guest makes": "ln -sf ../secret /shared/mine; cat /shared/mine",
    "read by a link to the share's own root": "ln -sf /shared/.. /shared/up; cat /shared/up/secret",
    "make a name with a slash": "touch '/shared/..\\/secret' ; cat '/shared/..\\/secret'",
    "link a file of the host into the share": "ln /shared/../secret /shared/hard && cat /shared/hard",
    "make a disk in the share": "mknod /shared/vda b 254 0 && echo ESCAPED",
    "make a character device in the share": "mknod /shared/mem c 1 1 && echo ESCAPED",
    "open the disk of the guest's image": "mknod /tmp/vda b 254 0; head -c 4096 /tmp/vda | grep -q . && echo ESCAPED",
    "open any SCSI disk": """
        for d in /sys/block/sd* /sys/block/vd*; do
            n=/tmp/${d##*/}; IFS=: read a b < $d/dev; mknod $n b $a $b; head -c 512 $n > /tmp/o && echo ESCAPED $d
        done""",
    "open SCSI generic": "for i in 0 1 2 3; do mknod /tmp/sg$i c 21 $i; head -c 1 /tmp/sg$i && echo ESCAPED; done",
    "open the channel to the host": """
        for p in /sys/class/virtio-ports/*; do
            n=/tmp/${p##*/}; IFS=: read a b < $p/dev; mknod $n c $a $b; echo x > $n && echo ESCAPED $p
        done; head -c 1 /dev/vport* 2>&1""",
    "find the channel in /dev": "ls /dev | grep -q vport && echo ESCAPED",
    "read the memory of the guest": "mknod /tmp/mem c 1 1; head -c 16 /tmp/mem | grep -q . && echo ESCAPED",
    "read kcore": "head -c 16 /proc/kcore | grep -q ELF && echo ESCAPED",
    "read the kernel's log": "mknod /tmp/kmsg c 1 11; head -c 16 /tmp/kmsg | grep -q . && echo ESCAPED",
    "write a setting of the kernel": "echo 1 > /proc/sys/kernel/panic && echo ESCAPED",
    "have cores piped to a program": "echo '|/tmp/x' > /proc/sys/kernel/core_pattern && echo ESCAPED",
    "have modules loaded by a program": "echo /tmp/x > /proc/sys/kernel/modprobe && echo ESCAPED",
    "press sysrq": "echo c > /proc/sysrq-trigger && echo ESCAPED",
    "write to /sys": "echo 0 > /sys/class/block/sda/device/delete && echo ESCAPED; "
    "for f in $(find /sys/block -name scheduler); do echo none > $f && echo ESCAPED; done",
    "unbind the channel's driver": """
        for d in /sys/bus/virtio/drivers/*/; do echo virtio0 > $d/unbind && echo ESCAPED; done""",
    "leave the control group": """
        echo 1 > /sys/fs/cgroup/cgroup.procs && echo ESCAPED; mkdir /sys/fs/cgroup/x && echo ESCAPED""",
    "raise its own limits": "for f in /sys/fs/cgroup/*.max; do echo max > $f && echo ESCAPED $f; done",
    "mount memory": "mount -t tmpfs none /tmp && echo ESCAPED",
    "mount the share a second time": "mount -t virtiofs vol0 /tmp && echo ESCAPED",
    "mount any share in a user namespace": "unshare -r -m sh -c 'mount -t virtiofs vol0 /tmp && echo ESCAPED'",
    "mount the image in a user namespace": """
        mknod /tmp/v b 254 0; unshare -r -m sh -c 'mount -t erofs /tmp/v /tmp && echo ESCAPED'""",
    "mount /sys writable": "mount -o remount,rw /sys && echo ESCAPED; mount -o remount,rw /proc/sys && echo ESCAPED",
    "read the guest by the first process": "ls /proc/1/root/run/bulkhead && echo ESCAPED",
    "see the agent": "grep -l agent /proc/[0-9]*/comm && echo ESCAPED",
    "find another sandbox": f"env | grep {TOKEN}; grep -r {TOKEN} /proc/*/environ /config /shared /scratch /tmp",
    "write a copied file": "echo x > /config/key && echo ESCAPED; rm /config/..data && echo ESCAPED",
    "reach the network": "ls /sys/class/net | grep -v '^lo$' && echo ESCAPED",
    "reach a cloud's metadata": "wget -T 2 -q -O - http://169.254.169.254/ && echo ESCAPED",
    "read firmware tables": "ls /sys/firmware | grep -q . && echo ESCAPED",
    "leave a program for root of the host": "cp /bin/busybox /shared/su; chmod 4755 /shared/su",
}
CALLS = [
    "abstract-socket",
    "bpf-program",
    "enter-init-ns",
    "fw-cfg-port",
    "host-name",
    "io-ports",
    "kernel-log",
    "kexec",
    "load-module",
    "mount",
    "new-mount-ns",
    "open-by-handle",
    "perf-kernel",
    "pivot-root",
    "reboot",
    "set-clock",
    "swap-on",
    "unload-module",
    "vsock-to-host",
]


@pytest.mark.parametrize("attempt", SCRIPTS)
def test_a_container_cannot(prison: Prison, attempt: str) -> None:
    said = prison.tries(SCRIPTS[attempt])
    assert DONE not in said
    assert TOKEN not in said


@pytest.mark.parametrize("name", CALLS)
def test_a_container_is_refused_the_call(prison: Prison, name: str) -> None:
    said = prison.tries(f"/bin/attempts {name} {prison.house.root.name}")
    assert "refused" in said, said


def test_a_container_cannot_reach_what_listens_on_the_loopback_of_the_host(prison: Prison) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        port = server.getsockname()[1]
        said = prison.tries(f"echo x | nc -w 2 127.0.0.1 {port} && echo ESCAPED; echo over")
        assert "over\n" in said
        assert DONE not in said
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_socket_of_the_host_in_a_share_leads_nowhere(prison: Prison) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(prison.shared / "host.sock"))
        (prison.shared / "host.sock").chmod(0o777)
        server.listen()
        server.settimeout(0.5)
        prison.tries("nc local:/shared/host.sock < /dev/null; echo over")
        with pytest.raises(TimeoutError):
            server.accept()


def test_what_a_container_makes_in_a_share_belongs_to_nobody_on_the_host(prison: Prison) -> None:
    prison.tries("echo x > /shared/made; chown 0:0 /shared/made; chmod 4777 /shared/made")
    made = (prison.shared / "made").stat()
    assert made.st_uid != 0
    assert made.st_gid != 0
    assert all(not path.is_block_device() and not path.is_char_device() for path in prison.shared.iterdir())


def test_a_container_cannot_fill_more_than_its_own_disk(prison: Prison) -> None:
    said = prison.tries("dd if=/dev/zero of=/scratch/x bs=1M count=64 2>&1; rm /scratch/x; echo over")
    assert "No space left" in said
    assert said.endswith("over\n")


def test_afterwards_host_and_neighbours_are_as_before(prison: Prison) -> None:
    assert (prison.house.root / "secret").read_text() == TOKEN
    words = prison.house.words("exec", prison.neighbour, "sh", "-c", "echo $SECRET")
    said = subprocess.run(words, capture_output=True, text=True, timeout=SLOW, check=False)
    assert said.stdout == f"{TOKEN}\n"
    assert prison.tries("echo here") == "here\n"
