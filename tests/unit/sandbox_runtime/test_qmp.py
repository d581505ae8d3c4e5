"""The monitor's client against a peer that says what we like, and worse."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator

import pytest

from sandbox_runtime.errors import QmpFailed
from sandbox_runtime.vmm.qmp import EVENT_LIMIT, MESSAGE_LIMIT, Qmp

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


@pytest.fixture
def pair() -> Iterator[tuple[Qmp, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        client = Qmp(ours)
        theirs.sendall(GREETING)
        assert json.loads(theirs.recv(4096))["execute"] == "qmp_capabilities"
        yield client, theirs
        client.close()


def say(peer: socket.socket, *messages: object) -> None:
    peer.sendall(b"".join(json.dumps(message).encode() + b"\r\n" for message in messages))


def test_answers_are_matched_by_id_whatever_their_order(pair: tuple[Qmp, socket.socket]) -> None:
    client, peer = pair
    first, second = client.send("a"), client.send("b")
    say(peer, {"return": 2, "id": second}, {"event": "STOP"}, {"return": 1, "id": first})
    assert [client.answer(first, "a"), client.answer(second, "b")] == [1, 2]
    assert [event["event"] for event in client.take_events()] == ["STOP"]


def test_an_error_carries_the_command_and_what_qemu_said(pair: tuple[Qmp, socket.socket]) -> None:
    client, peer = pair
    number = client.send("device_add")
    say(peer, {"error": {"class": "GenericError", "desc": "no such bus"}, "id": number})
    with pytest.raises(QmpFailed, match="device_add: no such bus"):
        client.answer(number, "device_add")


def test_silence_ends(pair: tuple[Qmp, socket.socket]) -> None:
    with pytest.raises(QmpFailed, match=r"no answer in 0\.05 s"):
        pair[0].command("query-status", timeout=0.05)


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff\xfe\n",
        b"[]\n",
        b"[" * 100_000 + b"\n",
        b'{"error": {"desc": "broken"}}\n',
        b"x" * (MESSAGE_LIMIT + 2),
    ],
    ids=["not-json", "no-object", "deep", "no-id", "endless"],
)
def test_junk_closes_the_connection_and_says_so(pair: tuple[Qmp, socket.socket], junk: bytes) -> None:
    client, peer = pair
    number, peer_end = client.send("query-status"), os.fork()
    if peer_end == 0:
        try:
            peer.sendall(junk)
        finally:
            os._exit(0)
    with pytest.raises(QmpFailed, match="the monitor sent"):
        client.answer(number, "query-status")
    os.waitpid(peer_end, 0)
    with pytest.raises(QmpFailed, match="the monitor sent"):
        client.send("quit")


def test_a_flood_of_events_is_bounded(pair: tuple[Qmp, socket.socket]) -> None:
    client, peer = pair
    number = client.send("query-status")
    say(peer, *({"event": f"E{n}"} for n in range(1_000)), {"return": {}, "id": number})
    assert client.answer(number, "query-status") == {}
    assert len(client.events) == EVENT_LIMIT
    assert client.dropped_events == 1_000 - EVENT_LIMIT


def test_answers_nobody_asked_for_are_not_kept(pair: tuple[Qmp, socket.socket]) -> None:
    client, peer = pair
    say(peer, *({"return": n, "id": 1_000 + n} for n in range(50)), {"return": 0, "id": True}, {"return": 0})
    number = client.send("x")
    say(peer, {"return": "mine", "id": number})
    assert client.answer(number, "x") == "mine"


def test_a_dead_peer_is_an_error_and_not_a_hang(pair: tuple[Qmp, socket.socket]) -> None:
    client, peer = pair
    number = client.send("x")
    peer.close()
    with pytest.raises(QmpFailed, match=r"closed the connection|connection lost"):
        client.answer(number, "x")


def test_a_passed_descriptor_arrives_with_its_command(pair: tuple[Qmp, socket.socket]) -> None:
    client, peer = pair
    reader, writer = os.pipe()
    number = client.send_fd(writer, 7)
    data, fds, _, _ = socket.recv_fds(peer, 4096, 4)
    assert json.loads(data)["arguments"] == {"fdset-id": 7}
    os.write(fds[0], b"x")
    assert os.read(reader, 1) == b"x"
    say(peer, {"return": {}, "id": number})
    client.answer(number, "add-fd")
    for fd in (*fds, reader, writer):
        os.close(fd)


def test_an_event_is_waited_for(pair: tuple[Qmp, socket.socket]) -> None:
    client, peer = pair
    say(peer, {"event": "RESUME"}, {"event": "SHUTDOWN", "data": {}})
    assert client.wait_event(frozenset({"SHUTDOWN"}), 1)["event"] == "SHUTDOWN"
    with pytest.raises(QmpFailed, match="did not happen"):
        client.wait_event(frozenset({"SHUTDOWN"}), 0.01)
