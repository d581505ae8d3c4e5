"""Bytes to frames, and the mark that begins a session."""

from __future__ import annotations

import pytest

from sandbox_runtime.protocol import frames
from sandbox_runtime.protocol.errors import ProtocolViolation
from sandbox_runtime.protocol.frames import Decoder, Frame

MARK = frames.mark(bytes(range(16)))


def decode(data: bytes) -> list[Frame]:
    decoder = Decoder(MARK)
    return decoder.feed(MARK + data)


def test_a_frame_comes_back_as_it_was() -> None:
    frame = Frame(frames.DATA, 7, b"abc")
    assert decode(frames.encode(frame)) == [frame]


def test_a_frame_may_come_byte_by_byte() -> None:
    decoder, frame = Decoder(MARK), Frame(frames.EVENT, 1, b"x" * 100)
    found = [each for byte in MARK + frames.encode(frame) for each in decoder.feed(bytes([byte]))]
    assert found == [frame]


def test_noise_before_the_mark_is_skipped() -> None:
    decoder = Decoder(MARK)
    assert decoder.feed(b"\x01\x01" + MARK[:20] + b"junk" + MARK + frames.encode(Frame(frames.END, 1))) == [
        Frame(frames.END, 1)
    ]


def test_a_mark_with_another_nonce_is_noise() -> None:
    decoder = Decoder(MARK)
    assert decoder.feed(frames.mark(bytes(16)) + frames.encode(Frame(frames.END, 1))) == []


def test_endless_noise_is_a_violation_and_is_not_kept() -> None:
    decoder = Decoder(MARK)
    for _ in range(frames.MAX_NOISE // 65536):
        assert decoder.feed(bytes(65536)) == []
    with pytest.raises(ProtocolViolation, match="no-mark"):
        decoder.feed(bytes(65536))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ((0, 1, 0, 0, 0), "bad-header"),
        ((99, 1, 0, 0, 0), "bad-header"),
        ((frames.DATA, 2, 0, 0, 0), "bad-header"),
        ((frames.DATA, 1, 1, 0, 0), "bad-header"),
        ((frames.DATA, 1, 0, 1, frames.MAX_DATA + 1), "too-long"),
        ((frames.EVENT, 1, 0, 1, 0xFFFFFFFF), "too-long"),
        ((frames.END, 1, 0, 1, 1), "too-long"),
    ],
)
def test_a_bad_header_is_known_before_its_payload_comes(header: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ProtocolViolation, match=reason):
        decode(frames.HEADER.pack(*header))


def test_an_oversized_payload_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="at most"):
        frames.encode(Frame(frames.DATA, 1, bytes(frames.MAX_DATA + 1)))


def test_the_mark_is_no_beginning_of_a_frame() -> None:
    """A host that takes over is noticed by an agent that waits for a frame."""
    kind = frames.MAGIC[0]
    assert kind == 0
    assert not any(frames.FILLER)
    assert len(frames.FILLER) >= frames.MAX_CONTROL + frames.HEADER.size
