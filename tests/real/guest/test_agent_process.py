"""The Go agent and the Python channel, end to end over a socket pair."""

from __future__ import annotations

import io
import random
import socket
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox_runtime.channel import Channel, Reader
from sandbox_runtime.protocol import frames, messages
from sandbox_runtime.protocol.errors import ChannelClosed, RequestFailed
from tests.support.agent_process import running_agent
from tests.support.guest_sessions import archive, feed

pytestmark = pytest.mark.real
MIB = 1 << 20


@pytest.fixture
def channel(agent: Path, tmp_path: Path) -> Iterator[Channel]:
    with running_agent(agent, tmp_path) as (connection, process):
        channel = Channel(connection)
        channel.greet(10)
        yield channel
        channel.close()
        assert process.wait(10) == 0, "the agent crashed"


def start_putting(channel: Channel, target: Path, content: bytes, atomic: bool = False) -> list[Any]:
    answers: list[Any] = []
    writer = channel.writer()
    channel.request("put_files", messages.PutFiles(str(target), writer.number, atomic), answers.append)
    feed(writer, content)
    return answers


def put(channel: Channel, target: Path, content: bytes, atomic: bool = False) -> None:
    answers = start_putting(channel, target, content, atomic)
    channel.run_until(lambda: bool(answers), 30)
    assert answers == [messages.Nothing()]


def start_getting(channel: Channel, path: Path) -> Reader:
    reader = channel.reader()
    channel.request("get_files", messages.GetFiles(str(path), reader.number), lambda _: None)
    return reader


def test_hello_says_who_speaks(channel: Channel) -> None:
    assert channel.hello is not None
    assert channel.hello.version == frames.VERSION
    assert channel.hello.processes == ()


def test_four_streams_of_20_mib_each_way_at_once_are_exact(channel: Channel, tmp_path: Path) -> None:
    contents = [random.Random(seed).randbytes(20 * MIB) for seed in range(4)]  # noqa: S311 - a pattern
    pending = [
        start_putting(channel, tmp_path / str(at), archive({"blob": content}))
        for at, content in enumerate(contents)
    ]
    channel.run_until(lambda: all(pending), 120)
    readers = [start_getting(channel, tmp_path / str(at)) for at in range(4)]
    parts = [bytearray() for _ in readers]
    while not all(reader.ended for reader in readers):
        channel.run_until(lambda: any(r.stream.waiting for r in readers) or all(r.ended for r in readers), 60)
        for received, reader in zip(parts, readers, strict=True):
            received.extend(reader.take())
    for content, part in zip(contents, parts, strict=True):
        with tarfile.open(fileobj=io.BytesIO(part)) as tar:
            blob = tar.extractfile("blob")
            assert blob is not None
            assert zlib.crc32(blob.read()) == zlib.crc32(content)


def test_a_stream_that_nobody_reads_holds_up_no_other(channel: Channel, tmp_path: Path) -> None:
    put(channel, tmp_path / "a", archive({"blob": bytes(4 * MIB)}))
    stuck = start_getting(channel, tmp_path / "a")
    for _ in range(3):
        assert len(start_getting(channel, tmp_path / "a").read_all(10)) > 4 * MIB
    assert channel.call("list", messages.List(), 10) == messages.Listed(())
    channel.ping(10)
    assert len(stuck.read_all(10)) > 4 * MIB


def test_a_reader_that_stops_early_ends_the_stream(channel: Channel, tmp_path: Path) -> None:
    put(channel, tmp_path / "a", archive({"blob": bytes(4 * MIB)}))
    reader = start_getting(channel, tmp_path / "a")
    reader.read(10)
    reader.stop()
    channel.run_until(lambda: reader.ended, 10)


def test_a_target_that_cannot_be_written_stops_the_writer(channel: Channel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answers = start_putting(channel, tmp_path / "file", archive({"blob": bytes(4 * MIB)}))
    channel.run_until(lambda: bool(answers), 10)
    assert isinstance(answers[0], RequestFailed)


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("start", messages.Name("nobody", ""), "not-found"),
        (
            "create",
            messages.Create("../../etc", "{}", "", messages.Stdio(0, 0, 0, False, 0, 0)),
            "bad-request",
        ),
        ("create", messages.Create("a", "[", "", messages.Stdio(0, 0, 0, False, 0, 0)), "bad-request"),
        ("mount", messages.Mount("cifs", "", "", "/mnt", (), -1, 0), "bad-request"),
        ("mount", messages.Mount("ext4", "scsi:99", "", "/mnt", (), -1, 1), "timeout"),
        ("configure", messages.Configure(b"short", 0, "", ""), "bad-request"),
        ("get_files", messages.GetFiles("/nonexistent", 1), "not-found"),
    ],
)
def test_what_cannot_be_done_is_refused_by_a_code(
    channel: Channel, method: str, params: Any, code: str
) -> None:
    if isinstance(params, messages.GetFiles):
        params = params._replace(stream=channel.reader().number)
    with pytest.raises(RequestFailed) as failed:
        channel.call(method, params, 10)
    assert failed.value.code == code


def test_config_files_change_all_at_once(channel: Channel, tmp_path: Path) -> None:
    target = tmp_path / "config"
    put(channel, target, archive({"a": b"1", "deep/b": b"1", "gone": b"1"}), atomic=True)
    before = (target / "..data").resolve()
    put(channel, target, archive({"a": b"2", "deep/b": b"2", "new": b"2"}), atomic=True)
    assert {path.name for path in target.iterdir() if not path.name.startswith("..")} == {"a", "deep", "new"}
    assert (target / "a").read_text() == (target / "deep/b").read_text() == "2"
    assert not before.exists()
    assert len([path for path in target.iterdir() if path.name.startswith("..v")]) == 1


def test_an_archive_leads_nowhere_else(channel: Channel, tmp_path: Path) -> None:
    target, victim = tmp_path / "target", tmp_path / "victim"
    target.mkdir()
    victim.mkdir()
    (target / "planted").symlink_to(victim)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("planted/x", "../victim/y", f"{victim}/z"):
            tar.addfile(tarfile.TarInfo(name))
    answers = start_putting(channel, target, buffer.getvalue())
    channel.run_until(lambda: bool(answers), 10)
    assert list(victim.iterdir()) == []


def test_a_new_host_finds_the_agent_in_whatever_state_the_last_one_left_it(
    agent: Path, tmp_path: Path
) -> None:
    noise = random.Random(1)  # noqa: S311
    with running_agent(agent, tmp_path) as (connection, process):
        for attempt in range(20):
            connection.sendall(frames.mark(bytes(16)) if attempt % 2 else b"")
            connection.sendall(noise.randbytes(noise.randrange(200_000)))
            connection.sendall(frames.HEADER.pack(frames.REQUEST, 1, 0, 5, 1000) + b'{"half')
            channel = Channel(socket.socket(fileno=socket.dup(connection.fileno())), take_over=True)
            channel.greet(10)
            assert channel.call("list", messages.List(), 10) == messages.Listed(())
            channel.close()
            connection.setblocking(True)
        connection.close()
        assert process.wait(10) == 0


def test_a_closed_connection_is_an_error_with_a_name(agent: Path, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    channel = Channel(ours)
    with pytest.raises(ChannelClosed):
        channel.greet(5)


def test_all_of_a_stream_may_come_before_anybody_reads_it(channel: Channel, tmp_path: Path) -> None:
    for attempt in range(200):
        put(channel, tmp_path / str(attempt), archive({"blob": b"x"}))
    assert all((tmp_path / str(attempt) / "blob").read_bytes() == b"x" for attempt in range(200))
