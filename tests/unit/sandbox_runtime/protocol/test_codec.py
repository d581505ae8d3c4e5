"""Messages to JSON and back; nothing half-right passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox_runtime.protocol import codec, messages
from sandbox_runtime.protocol.errors import ProtocolViolation

EXITED = {"id": "a", "exec_id": "", "pid": 7, "code": 0, "exited_ns": 1}


def test_a_request_is_named_and_complete() -> None:
    payload = codec.encode_request("configure", messages.Configure(b"\x00\xff", 5, "host", "id"))
    assert json.loads(payload) == {
        "method": "configure",
        "params": {"entropy": "AP8=", "clock_ns": 5, "hostname": "host", "machine_id": "id"},
    }


def test_a_request_of_the_wrong_type_is_the_callers_fault() -> None:
    with pytest.raises(TypeError, match="takes Configure"):
        codec.encode_request("configure", messages.Nothing())


def test_nested_messages_come_back() -> None:
    interface = messages.Interface("eth0", "02:00:00:00:00:01", 1500, ("10.0.0.2/24",))
    network = messages.Network((interface,), (messages.Route("", "10.0.0.1", "eth0", ""),), ())
    assert codec.build(messages.Network, json.loads(json.dumps(codec.plain(network))), "network") == network


def test_an_event_is_decoded() -> None:
    payload = json.dumps({"event": "exit", "params": EXITED}).encode()
    assert codec.decode_event(payload) == messages.Exited("a", "", 7, 0, 1)


@pytest.mark.parametrize(
    "damage",
    [
        {"code": "0"},
        {"code": True},
        {"code": 0.0},
        {"code": None},
        {"code": 1 << 64},
        {"id": 3},
        {"id": "\ud800"},
        {"id": ["a"]},
        {"extra": 1},
    ],
)
def test_a_field_of_the_wrong_kind_is_a_violation(damage: dict[str, Any]) -> None:
    payload = json.dumps({"event": "exit", "params": EXITED | damage}).encode()
    with pytest.raises(ProtocolViolation, match="bad-message"):
        codec.decode_event(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"null",
        b"{}",
        b'{"event":"exit"}',
        b'{"event":["exit"],"params":{}}',
        b'{"event":"boom","params":{}}',
        b'{"event":"exit","params":{}}',
        b"1" * 5000,
    ],
)
def test_junk_is_a_violation(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        codec.decode_event(payload)


def test_a_failure_is_cut_to_a_bearable_length() -> None:
    code, message = codec.decode_failure(json.dumps({"code": "x" * 99, "message": "y" * 9999}).encode())
    assert (len(code), len(message)) == (64, 4096)


def test_every_method_has_messages_of_known_types() -> None:
    for request, answer in messages.METHODS.values():
        for message in (request, answer):
            assert hasattr(message, "_fields")
            assert message.__doc__
