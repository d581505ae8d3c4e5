"""Any bytes in any pieces on a connection: proper statuses or silence, never a fault, and the next caller is served."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from tests.support.extender import NAMES, asking, in_thread, recorded, request

EXAMPLES = int(os.environ.get("BULKHEAD_EXTENDER_EXAMPLES", "40"))
WHOLE = [
    request("filter", asking(NAMES)),
    request("bind", recorded("bind")),
    request("healthz", b"", method="GET"),
    request("nothing", b"{}"),
]
OTHERS = [
    b"",
    b"\r\n",
    b"\x00",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with in_thread(EmbeddedCluster(plain_nodes(NAMES))) as port:
        yield port


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Requests, some of them spoiled, cut into pieces."""
    whole = b"".join(draw(st.lists(st.sampled_from(WHOLE) | st.binary(max_size=60), min_size=1, max_size=4)))
    for _ in range(draw(st.integers(0, 3))):
        place, gone = draw(st.integers(0, len(whole))), draw(st.integers(0, 5))
        whole = whole[:place] + draw(st.sampled_from(OTHERS) | st.binary(max_size=4)) + whole[place + gone :]
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    return [whole[one:other] for one, other in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(streams())
def test_any_stream_of_bytes_is_survived(port: int, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = b""
        try:
            for piece in pieces:
                caller.sendall(piece)
            caller.shutdown(socket.SHUT_WR)
            while said := caller.recv(1 << 16):
                answer += said
        except ConnectionError:
            pass  # it was hung up on in mid-sentence
    statuses = [int(found) for found in re.findall(rb"HTTP/1.1 (\d+) ", answer)]
    assert all(status < 500 for status in statuses)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as caller:
        caller.sendall(WHOLE[2])
        assert caller.recv(1 << 16).startswith(b"HTTP/1.1 200")
