"""What the agent mounts, attaches and configures, in a booted guest with disks and a network card."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_runtime.model import GuestImage
from sandbox_runtime.protocol import messages
from sandbox_runtime.protocol.errors import RequestFailed
from tests.support.guest_sessions import ROOTFS, GuestSession, archive, booted, config

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
BIND = {"type": "bind", "options": ["rbind", "rw"]}


@pytest.fixture(scope="module")
def session(guest: GuestImage) -> Iterator[GuestSession]:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is missing: apt-get install e2fsprogs")
    folder = Path(tempfile.mkdtemp(prefix="bh-disks-"))
    upper, layer, tree = folder / "upper.ext4", folder / "layer.erofs", folder / "tree"
    tree.mkdir()
    (tree / "file").write_text("layer")
    with upper.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(upper)], check=True)
    subprocess.run(["mkfs.erofs", "--quiet", str(layer), str(tree)], check=True)
    extra = [
        *("-device", "virtio-scsi-device,id=scsi"),
        *(
            "-drive",
            f"if=none,id=upper,file={upper},format=raw",
            "-device",
            "scsi-hd,drive=upper,lun=3,serial=UPPER",
        ),
        *(
            "-drive",
            f"if=none,id=layer,file={layer},format=raw,read-only=on",
            "-device",
            "scsi-hd,drive=layer,lun=4",
        ),
        *(
            "-netdev",
            "user,id=net,restrict=on",
            "-device",
            "virtio-net-device,netdev=net,mac=02:00:00:00:00:09",
        ),
        *("-device", "virtio-rng-device", "-device", "virtio-balloon-device,free-page-reporting=on"),
    ]
    try:
        with booted(guest, extra=extra) as session:
            session.lay_out_rootfs()
            yield session
    finally:
        shutil.rmtree(folder)


def mount(
    session: GuestSession,
    kind: str,
    source: str,
    target: str,
    *options: str,
    subpath: str = "",
    group: int = -1,
) -> None:
    session.channel.call("mount", messages.Mount(kind, source, subpath, target, options, group, 5000), 60)


def sh(session: GuestSession, script: str, *binds: tuple[str, str]) -> str:
    """Run a script in a container that sees these directories of the guest."""
    text = json.loads(config(["sh", "-c", script]))
    text["mounts"] += [{"source": source, "destination": target} | BIND for source, target in binds]
    name, out, err = session.name(), session.channel.reader(), session.channel.reader()
    stdio = messages.Stdio(0, out.number, err.number, False, 0, 0)
    session.channel.call("create", messages.Create(name, json.dumps(text), ROOTFS, stdio), 60)
    session.start(name)
    stdout, stderr = session.collect(out, err)
    assert session.wait(name) == 0, stderr
    session.remove(name)
    return stdout.decode()


def test_an_overlay_of_a_layer_and_a_disk_is_a_root(session: GuestSession) -> None:
    mount(session, "erofs", "scsi:4", "/run/layer", "ro")
    mount(session, "ext4", "serial:UPPER", "/run/upper")
    session.put("/run/upper", archive({"up/.keep": b"", "work/.keep": b""}))
    mount(
        session,
        "overlay",
        "overlay",
        "/run/merged",
        "lowerdir=/run/layer,upperdir=/run/upper/up,workdir=/run/upper/work",
    )
    assert (
        sh(session, "cat /m/file; echo new > /m/other; ls /m", ("/run/merged", "/m")) == "layerfile\nother\n"
    )
    stats = session.channel.call("volume_stats", messages.AskVolume("/run/upper"), 60)
    assert 0 < stats.available_bytes < stats.total_bytes <= 64 << 20
    for target in ("/run/merged", "/run/upper", "/run/layer", "/run/layer"):
        session.channel.call("unmount", messages.Unmount(target), 60)


def test_a_group_owns_its_volume(session: GuestSession) -> None:
    mount(session, "tmpfs", "tmpfs", "/run/group", "size=1m", group=1234)
    assert sh(session, "stat -c %g:%a /v", ("/run/group", "/v")).strip() == "1234:3777"


def test_a_part_of_a_volume_never_leads_out_of_it(session: GuestSession) -> None:
    session.put("/run/vol", archive({"sub/file": b"inside"}, {"sub/out": "/etc", "evil": "../../etc"}))
    mount(session, "bind", "/run/vol", "/run/part", "ro", subpath="sub")
    assert (
        sh(session, "cat /v/file; (echo x > /v/file) 2>/dev/null || echo read-only", ("/run/part", "/v"))
        == "insideread-only\n"
    )
    for subpath in ("evil", "sub/out", "../../etc"):
        with pytest.raises(RequestFailed) as failed:
            mount(session, "bind", "/run/vol", "/run/no", subpath=subpath)
        assert failed.value.code == "not-found"


def test_config_files_change_under_a_running_container_and_it_hears_of_it(session: GuestSession) -> None:
    session.put("/run/config", archive({"key": b"one"}), atomic=True)
    before = sh(session, "cat /c/key", ("/run/config", "/c"))
    session.put("/run/config", archive({"key": b"two"}), atomic=True)
    assert (before, sh(session, "cat /c/key", ("/run/config", "/c"))) == ("one", "two")


def test_a_disk_that_is_not_there_is_a_timeout(session: GuestSession) -> None:
    with pytest.raises(RequestFailed) as failed:
        session.channel.call("mount", messages.Mount("ext4", "scsi:77", "", "/run/x", (), -1, 100), 60)
    assert failed.value.code == "timeout"


def test_the_network_is_what_the_host_says(session: GuestSession) -> None:
    interface = messages.Interface("eth0", "02:00:00:00:00:42", 1400, ("10.0.2.77/24", "fd00::77/64"))
    routes = (messages.Route("", "10.0.2.2", "eth0", ""), messages.Route("10.9.0.0/16", "", "eth0", ""))
    neighbours = (messages.Neighbour("10.0.2.2", "52:55:0a:00:02:02", "eth0"),)
    for _ in range(2):  # asked again, it is the same
        session.channel.call("network", messages.Network((interface,), routes, neighbours), 60)
    shown = sh(session, "ip addr show eth0; ip route; ip neigh")
    for wanted in (
        "02:00:00:00:00:42",
        "mtu 1400",
        "10.0.2.77/24",
        "fd00::77/64",
        "default via 10.0.2.2",
        "PERMANENT",
    ):
        assert wanted in shown
    assert "127.0.0.1" in sh(session, "ip addr show lo")
    assert session.channel.call("stats", messages.AskStats(()), 60).interfaces[-1].name == "eth0"


def test_requests_of_any_kind_leave_the_agent_alive(session: GuestSession) -> None:
    """Everything that can be asked, with nonsense in it."""
    junk = ["", "a", "../..", "/", "\u0000", "x" * 5000, "serial:", "scsi:"]
    for text in junk:
        for method, params in (
            ("create", messages.Create(text, text, text, messages.Stdio(0, 0, 0, True, -1, 1 << 40))),
            ("exec", messages.Exec(text, text, text, messages.Stdio(0, 0, 0, False, 0, 0))),
            ("mount", messages.Mount("ext4", text, text, "/run/junk", (text,), -1, 0)),
            ("detach", messages.Detach(text)),
            ("signal", messages.Signal(text, text, -1, True)),
            ("configure", messages.Configure(b"x", -1, text, text)),
            ("network", messages.Network((messages.Interface(text, text, -1, (text,)),), (), ())),
            ("volume_stats", messages.AskVolume(text)),
            ("wait", messages.Name(text, text)),
            ("update", messages.Update(text, text)),
        ):
            with contextlib.suppress(RequestFailed):
                session.channel.call(method, params, 60)
    session.channel.ping(60)
