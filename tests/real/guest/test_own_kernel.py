"""The guest's own kernel, built from source: it boots, has what containers need, and carries no modules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox_runtime.guest.build import build
from sandbox_runtime.guest.kernel import own_kernel
from sandbox_runtime.model import GuestImage
from sandbox_runtime.paths import Paths
from tests.support.agent_process import cache
from tests.support.guest_machine import missing
from tests.support.guest_sessions import GuestSession, booted

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
FILE_SYSTEMS = {
    "erofs",
    "ext4",
    "xfs",
    "overlay",
    "fuse",
    "virtiofs",
    "nfs",
    "nfs4",
    "tmpfs",
    "cgroup2",
    "mqueue",
}
CONTROLLERS = {"cpu", "cpuset", "io", "memory", "pids"}


@pytest.fixture(scope="module")
def own() -> GuestImage:
    if why := missing():
        pytest.skip(why)
    home = cache() / "own-kernel"
    if own_kernel(home / "guest") is None:
        pytest.skip("no kernel of our own has been built: make guest-kernel")
    return build(Paths(home / "run", home))


@pytest.fixture(scope="module")
def session(own: GuestImage) -> Iterator[GuestSession]:
    with booted(own) as session:
        session.lay_out_rootfs()
        yield session


def read(session: GuestSession, path: str) -> str:
    """A file as a container sees it."""
    return session.run(["cat", path]).stdout.decode().strip()


def test_it_boots_without_an_initramfs(own: GuestImage, session: GuestSession) -> None:
    assert own.initrd is None
    assert read(session, "/proc/sys/kernel/osrelease").endswith("-bulkhead")


def test_it_carries_no_modules_and_takes_none(session: GuestSession) -> None:
    assert read(session, "/proc/modules") == ""
    assert read(session, "/proc/sys/kernel/modules_disabled") == "1"


def test_no_network_card_is_there_unasked(session: GuestSession) -> None:
    cards = {
        line.split(":")[0].strip() for line in read(session, "/proc/net/dev").splitlines() if ":" in line
    }
    assert cards == {"lo"}


def test_every_file_system_of_a_volume_is_built_in(session: GuestSession) -> None:
    known = {line.split()[-1] for line in read(session, "/proc/filesystems").splitlines()}
    assert known >= FILE_SYSTEMS


def test_the_controllers_of_containers_are_there(session: GuestSession) -> None:
    lines = read(session, "/proc/cgroups").splitlines()
    assert {line.split()[0].replace("blkio", "io") for line in lines} >= CONTROLLERS


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_what_a_service_mesh_asks_of_the_packet_filter_is_built_in(
    session: GuestSession, family: str
) -> None:
    targets = set(read(session, f"/proc/net/{family}_tables_targets").split())
    matches = set(read(session, f"/proc/net/{family}_tables_matches").split())
    assert targets >= {"REJECT", "REDIRECT", "MASQUERADE", "DNAT", "SNAT", "MARK", "CONNMARK"}
    assert matches >= {
        "conntrack",
        "owner",
        "comment",
        "addrtype",
        "multiport",
        "mark",
        "connmark",
        "tcp",
        "udp",
    }
