"""Header compression: the examples of RFC 7541, appendix C, and what is no header block."""

from __future__ import annotations

import pytest

from scheduler.extender.errors import BadHeaders
from scheduler.extender.hpack import STATIC, TABLE_BYTES, Decoder, status_block, unpacked

FIRST = [
    (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com"),
]  # fmt: skip


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param(
            ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
             "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"], id="plain (C.3)"),
        pytest.param(
            ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
             "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"], id="packed (C.4)"),
    ],
)  # fmt: skip
def test_blocks_refer_to_what_came_before(blocks: list[str]) -> None:
    decoder = Decoder(16384)
    found = [decoder.read(bytes.fromhex(block)) for block in blocks]
    assert found[0] == FIRST
    assert found[1] == [*FIRST, (b"cache-control", b"no-cache")]
    assert found[2] == [
        (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"),
        (b":authority", b"www.example.com"), (b"custom-key", b"custom-value"),
    ]  # fmt: skip


def test_the_oldest_entries_make_room() -> None:
    decoder = Decoder(1 << 20)
    large = b"\x40\x01a\x7f\xd1\x0e" + b"v" * 2000
    assert decoder.read(large)[0] == (b"a", b"v" * 2000)
    decoder.read(b"\x40\x01b\x7f\xd1\x0e" + b"w" * 2000)
    decoder.read(b"\x40\x01c\x01x")
    assert decoder.read(b"\xbe\xbf") == [(b"c", b"x"), (b"b", b"w" * 2000)]
    with pytest.raises(BadHeaders):
        decoder.read(b"\xc0")


def test_a_caller_may_do_without_a_table() -> None:
    decoder = Decoder(16384)
    decoder.read(b"\x40\x01c\x01x")
    decoder.read(b"\x20")
    with pytest.raises(BadHeaders):
        decoder.read(b"\xbe")


@pytest.mark.parametrize(
    "block",
    [b"\x80", b"\xfe", b"\x40\x01", b"\x40\x05a", b"\x0f", b"\x3f\xe2\x1f", b"\xff" * 9, b"\x00\x81\x00\x00"],
    ids=["0", "beyond", "cut", "beyond the block", "half a number", "a larger table", "too large", "padding"],
)
def test_what_is_no_header_block_is_refused(block: bytes) -> None:
    with pytest.raises(BadHeaders):
        Decoder(16384).read(block)


def test_headers_that_unfold_beyond_the_limit_are_refused() -> None:
    decoder = Decoder(8192)
    decoder.read(b"\x40\x01a\x7f\xd1\x0e" + b"v" * 2000)
    with pytest.raises(BadHeaders):
        decoder.read(b"\xbe" * 100)


def test_every_byte_has_a_code() -> None:
    assert unpacked(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")) == b"www.example.com"
    assert (len(STATIC), TABLE_BYTES) == (61, 4096)


def test_what_is_written_can_be_read() -> None:
    block = status_block(405, b"application/json", 1 << 20, b"Allow: GET\r\nX: %s\r\n" % (b"y" * 300))
    assert Decoder(16384).read(block) == [
        (b":status", b"405"), (b"content-type", b"application/json"), (b"content-length", b"1048576"),
        (b"allow", b"GET"), (b"x", b"y" * 300),
    ]  # fmt: skip
