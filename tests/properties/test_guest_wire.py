"""Laws of the wire between host and guest, for any bytes and any cutting of them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sandbox_runtime.protocol import codec, frames, messages
from sandbox_runtime.protocol.errors import ProtocolViolation
from sandbox_runtime.protocol.frames import Decoder, Frame
from sandbox_runtime.protocol.link import Link

NONCE = bytes(range(16))
MARK = frames.mark(NONCE)
HELLO = json.dumps(codec.plain(messages.Hello(frames.VERSION, "1", "6.1", "", (), ()))).encode()

small = st.integers(min_value=0, max_value=12)
honest = st.builds(
    Frame,
    st.sampled_from([frames.DATA, frames.ANSWER, frames.EVENT]),
    st.integers(min_value=0, max_value=2**32 - 1),
    st.binary(max_size=300),
)
hostile = st.builds(
    lambda kind, version, zero, number, length, rest: (
        frames.HEADER.pack(kind, version, zero, number, length) + rest
    ),
    st.integers(0, 14),
    st.sampled_from([1, 1, 1, 1, 0]),
    st.sampled_from([0, 0, 0, 0, 1]),
    small,
    small,
    st.binary(max_size=12),
)


@given(st.lists(honest, max_size=8), st.lists(st.integers(1, 64), min_size=1), st.binary(max_size=80))
def test_cutting_does_not_matter(sent: list[Frame], cuts: list[int], noise: bytes) -> None:
    data = noise.replace(MARK, b"") + MARK + b"".join(frames.encode(frame) for frame in sent)
    decoder, found, at, turn = Decoder(MARK), list[Frame](), 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert found == sent


def busy_link() -> Link:
    """A link in the middle of its work: open streams both ways, requests under way."""
    link = Link(NONCE)
    link.feed(MARK + frames.encode(Frame(frames.HELLO, 0, HELLO)))
    for _ in range(3):
        link.open_in()
        link.give(link.open_out(), b"some bytes")
        link.request("list", messages.List())
        link.ping(b"12345678")
    return link


@given(st.lists(st.one_of(hostile, st.binary(max_size=40), honest.map(frames.encode)), max_size=30))
def test_a_guest_can_say_anything_and_only_break_its_own_channel(said: list[bytes]) -> None:
    link = busy_link()
    with contextlib.suppress(ProtocolViolation):
        for part in said:
            link.feed(part)


@given(st.lists(st.integers(1, frames.MAX_DATA), max_size=20), st.lists(st.booleans(), max_size=60))
def test_what_a_guest_can_make_us_hold_is_one_window(sizes: list[int], takes: list[bool]) -> None:
    link = Link(NONCE)
    link.feed(MARK + frames.encode(Frame(frames.HELLO, 0, HELLO)))
    stream = link.open_in()
    held = 0
    with contextlib.suppress(ProtocolViolation):
        for size, take in zip(sizes * 3, takes, strict=False):
            link.feed(frames.encode(Frame(frames.DATA, stream.number, bytes(size))))
            held += size
            assert held <= frames.WINDOW
            if take:
                held -= len(link.take(stream))


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(messages.METHODS)), json_values)
def test_any_json_is_the_message_or_a_violation(method: str, value: Any) -> None:
    answer = messages.METHODS[method][1]
    try:
        built = codec.build(answer, value, method)
    except ProtocolViolation:
        return
    assert codec.plain(built) == value


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Messages of a type, with anything in their fields."""
    if hasattr(kind, "_fields"):
        return st.builds(kind, **{name: values(of) for name, of in kind.__annotations__.items()})
    plain = {
        str: st.text(max_size=8),
        int: st.integers(-(2**63), 2**63 - 1),
        bool: st.booleans(),
        bytes: st.binary(max_size=8),
    }
    return plain[kind] if kind in plain else st.lists(values(kind.__args__[0]), max_size=3).map(tuple)


@given(st.data())
def test_every_message_survives_its_json(data: st.DataObject) -> None:
    request, answer = data.draw(st.sampled_from(list(messages.METHODS.values())))
    for kind in (request, answer, messages.Exited, messages.OutOfMemory, messages.Hello):
        message = data.draw(values(kind))
        assert codec.decode(kind, json.dumps(codec.plain(message)).encode()) == message
