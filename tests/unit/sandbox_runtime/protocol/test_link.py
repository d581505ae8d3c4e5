"""The host's half of a session against a guest that keeps to the rules, and one that does not."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from sandbox_runtime.protocol import codec, frames, messages
from sandbox_runtime.protocol.errors import ProtocolViolation, RequestFailed
from sandbox_runtime.protocol.frames import Frame
from sandbox_runtime.protocol.link import Answered, Greeted, Link, Moved, Ponged, Told

NONCE = bytes(range(16))
HELLO = messages.Hello(frames.VERSION, "1", "6.1", "", (), ())


def sent(link: Link) -> bytes:
    """Everything that the link has to send."""
    parts = []
    while head := link.outgoing:
        parts.append(head)
        link.sent(len(head))
    return b"".join(parts)


def greeted() -> Link:
    link = Link(NONCE)
    assert sent(link) == frames.mark(NONCE)
    hello = frames.encode(Frame(frames.HELLO, 0, json.dumps(codec.plain(HELLO)).encode()))
    assert link.feed(frames.mark(NONCE) + hello) == [Greeted(HELLO)]
    return link


def send(link: Link, kind: int, number: int, payload: bytes = b"") -> list[object]:
    return list(link.feed(frames.encode(Frame(kind, number, payload))))


def credit(amount: int) -> bytes:
    return frames.CREDIT_BYTES.pack(amount)


def test_an_answer_finds_its_request() -> None:
    link = greeted()
    first, second = link.request("list", messages.List()), link.request("quiesce", messages.Quiesce())
    assert send(link, frames.ANSWER, second, b"{}") == [Answered(second, messages.Nothing())]
    assert send(link, frames.ANSWER, first, b'{"processes":[]}') == [Answered(first, messages.Listed(()))]


def test_a_failure_is_a_value() -> None:
    link = greeted()
    number = link.request("start", messages.Name("a", ""))
    (answered,) = send(link, frames.FAILURE, number, b'{"code":"not-found","message":"no a"}')
    assert isinstance(answered, Answered)
    assert isinstance(answered.result, RequestFailed)
    assert (answered.result.method, answered.result.code) == ("start", "not-found")


def test_events_come_in_order() -> None:
    link = greeted()
    event = messages.OutOfMemory("a", 1)
    payload = json.dumps({"event": "oom", "params": codec.plain(event)}).encode()
    assert send(link, frames.EVENT, 1, payload) == [Told(event)]
    with pytest.raises(ProtocolViolation, match="out-of-order"):
        send(link, frames.EVENT, 1, payload)


def test_a_stream_stops_at_its_window_until_credit_comes() -> None:
    link = greeted()
    stream = link.open_out()
    assert link.give(stream, bytes(frames.WINDOW + 5)) == frames.WINDOW
    assert link.give(stream, b"x") == 0
    assert send(link, frames.CREDIT, stream.number, credit(3)) == [Moved(stream.number)]
    assert link.give(stream, b"xxxxx") == 3


def test_taking_gives_credit_in_quarters_of_the_window() -> None:
    link = greeted()
    stream = link.open_in()
    for _ in range(2):
        send(link, frames.DATA, stream.number, bytes(frames.WINDOW // 8))
    link.take(stream)
    assert sent(link) == b""
    link.take(stream)
    assert sent(link) == frames.encode(Frame(frames.CREDIT, stream.number, credit(frames.WINDOW // 4)))


def test_control_overtakes_data_but_never_cuts_a_frame() -> None:
    link = greeted()
    stream = link.open_out()
    link.give(stream, b"abcdef")
    head = link.outgoing
    link.sent(5)
    link.ping(b"12345678")
    rest = sent(link)
    assert rest.startswith(head[5:])
    assert rest[len(head) - 5 :] == frames.encode(Frame(frames.PING, 0, b"12345678"))
    assert send(link, frames.PONG, 0, b"12345678") == [Ponged()]


def test_the_guest_stops_reading_and_hears_the_end() -> None:
    link = greeted()
    stream = link.open_out()
    assert send(link, frames.STOP, stream.number) == [Moved(stream.number)]
    assert stream.broken
    assert link.give(stream, b"x") == 0
    assert sent(link) == frames.encode(Frame(frames.END, stream.number))
    assert send(link, frames.CREDIT, stream.number, credit(1)) == []


def test_a_stopped_stream_drops_what_is_under_way() -> None:
    link = greeted()
    stream = link.open_in()
    link.stop(stream)
    send(link, frames.DATA, stream.number, b"late")
    assert link.take(stream) == b""
    send(link, frames.END, stream.number)
    assert stream.ended


def overrun(link: Link) -> None:
    stream = link.open_in()
    for _ in range(frames.WINDOW // frames.MAX_DATA + 1):
        send(link, frames.DATA, stream.number, bytes(frames.MAX_DATA))


def data_after_the_end(link: Link) -> None:
    stream = link.open_in()
    send(link, frames.END, stream.number)
    send(link, frames.DATA, stream.number, b"x")


def too_much_credit(link: Link) -> None:
    send(link, frames.CREDIT, link.open_out().number, credit(1))


def answered_twice(link: Link) -> None:
    number = link.request("quiesce", messages.Quiesce())
    send(link, frames.ANSWER, number, b"{}")
    send(link, frames.ANSWER, number, b"{}")


ATTACKS: dict[str, Callable[[Link], object]] = {
    "no-credit": overrun,
    "no-such-stream: 1": lambda link: send(link, frames.DATA, 1, b"x"),
    "no-such-stream": data_after_the_end,
    "too-much-credit": too_much_credit,
    "no-such-stream: 2": lambda link: send(link, frames.CREDIT, 2, credit(1)),
    "no-such-stream: 3": lambda link: send(link, frames.STOP, 3),
    "empty-data": lambda link: send(link, frames.DATA, link.open_in().number),
    "no-such-request": answered_twice,
    "bad-kind": lambda link: send(link, frames.REQUEST, 1, b"{}"),
    "bad-pong": lambda link: send(link, frames.PONG, 0, bytes(8)),
    "out-of-order": lambda link: send(link, frames.HELLO, 0, b"{}"),
    "bad-message": lambda link: send(link, frames.ANSWER, link.request("list", messages.List()), b"{}"),
    "bad-header": lambda link: link.feed(bytes(12)),
}


@pytest.mark.parametrize("reason", ATTACKS)
def test_what_the_rules_forbid_is_a_violation(reason: str) -> None:
    with pytest.raises(ProtocolViolation, match=reason):
        ATTACKS[reason](greeted())


def test_nothing_comes_before_hello() -> None:
    link = Link(NONCE)
    with pytest.raises(ProtocolViolation, match="out-of-order"):
        link.feed(frames.mark(NONCE) + frames.encode(Frame(frames.EVENT, 1, b"{}")))


def test_another_version_is_refused_with_both_numbers() -> None:
    link = Link(NONCE)
    hello = json.dumps(codec.plain(HELLO._replace(version=9))).encode()
    with pytest.raises(ProtocolViolation, match="speaks 9, this host 1"):
        link.feed(frames.mark(NONCE) + frames.encode(Frame(frames.HELLO, 0, hello)))


def test_streams_and_requests_have_a_limit() -> None:
    link = greeted()
    for _ in range(frames.MAX_STREAMS):
        link.open_in()
    with pytest.raises(RequestFailed, match="busy"):
        link.open_out()


def test_a_host_that_takes_over_first_fills_up_any_frame() -> None:
    assert sent(Link(NONCE, take_over=True)) == frames.FILLER + frames.mark(NONCE)
