"""What HTTP/2 callers may cost the extender's server: callers that break the protocol, stall, flood or never read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import cast

import pytest

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from scheduler.extender.http import Limits
from scheduler.extender.http2 import Http2Connection
from scheduler.extender.wire import BindingArgs
from tests.support import frames
from tests.support.extender import NAMES, body, until
from tests.support.frames import PREFACE, frame, number
from tests.support.http2 import BIND, GET, POST, Client, Secured, call, headers

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n" + bytes(20), id="no preface"),
        pytest.param(PREFACE + frame(frames.DATA, 0, 1, b"x"), id="data of no stream"),
        pytest.param(PREFACE + headers(2, GET), id="an even stream"),
        pytest.param(PREFACE + headers(3, GET) + headers(1, GET), id="a stream that is past"),
        pytest.param(PREFACE + headers(1, b"\xff\xff\xff\xff\xff\xff\xff"), id="a number that is too large"),
        pytest.param(PREFACE + headers(1, b"\xfe"), id="an index of nothing"),
        pytest.param(PREFACE + headers(1, b"\x80"), id="index 0"),
        pytest.param(PREFACE + frame(frames.CONTINUATION, 0, 1, b""), id="continuation of nothing"),
        pytest.param(
            PREFACE + frame(frames.HEADERS, 0, 1, GET) + frames.settings({}), id="interrupted headers"
        ),
        pytest.param(
            PREFACE + frame(frames.HEADERS, frames.PADDED, 1, b"\xff"), id="padding beyond the frame"
        ),
        pytest.param(PREFACE + frame(frames.PUSH, 0, 1, bytes(8)), id="a push"),
        pytest.param(PREFACE + frame(frames.PING, 0, 0, b"short"), id="a short ping"),
        pytest.param(PREFACE + frame(frames.SETTINGS, 0, 0, b"short"), id="short settings"),
        pytest.param(PREFACE + frames.settings({frames.INITIAL_WINDOW: 1 << 31}), id="a window without end"),
        pytest.param(PREFACE + frame(frames.WINDOW, 0, 0, number((1 << 31) - 1)), id="the same in two steps"),
        pytest.param(
            PREFACE + headers(1, POST, end=False) + frame(frames.DATA, 0, 1, bytes(frames.FRAME_BYTES + 1)),
            id="a frame that is too large",
        ),
        pytest.param(
            PREFACE + b"\xff\xff\xff\x00\x00" + number(1) + bytes(40_000), id="a frame that only grows"
        ),
        pytest.param(
            PREFACE + frame(frames.HEADERS, 0, 1, GET) + frame(frames.CONTINUATION, 0, 1, bytes(9000)) * 4,
            id="headers without an end",
        ),
        pytest.param(
            PREFACE + frame(frames.HEADERS, 0, 1, GET) + frame(frames.CONTINUATION, 0, 1) * 64,
            id="the same in pieces of nothing",
        ),
        pytest.param(
            PREFACE + headers(1, GET + b"\x40\x01a\x7f\xd1\x0e" + b"v" * 2000 + b"\xbe" * 10),
            id="headers that unfold beyond the limit",
        ),
        pytest.param(PREFACE + headers(1, GET + b"\x00\x01A\x01x"), id="a header in capitals"),
        pytest.param(PREFACE + headers(1, b"\x82\x87\x41\x01x"), id="headers without a path"),
        pytest.param(
            PREFACE + headers(1, POST + b"\x5c\x011", end=False) + frame(frames.DATA, 1, 1, b"ab"),
            id="a body longer than it says",
        ),
        pytest.param(
            PREFACE + b"".join(headers(stream, POST, end=False) for stream in range(1, 259, 2)),
            id="more streams than are offered",
        ),
    ],
)
def test_what_breaks_the_protocol_ends_that_connection_and_no_other(secured: Secured, junk: bytes) -> None:
    async def scenario(found: Client) -> None:
        other = await secured.client(found.running)
        found.send(junk)
        goodbye = await found.expect(frames.GOAWAY)
        assert int.from_bytes(goodbye[3][4:8], "big")
        assert await found.is_left()
        assert await other.is_served(1)

    secured.against(scenario, greet=False)


def test_a_body_that_is_too_large_is_refused_and_the_connection_goes_on(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        found.send(headers(1, POST, end=False) + frame(frames.DATA, 0, 1, bytes(1001)))
        status, answer = await found.answer()
        assert status == 413
        assert b"1000 bytes" in answer
        found.send(frame(frames.DATA, frames.END_STREAM, 1, bytes(500)))
        assert await found.is_served(3)

    secured.against(scenario, limits=Limits(body_bytes=1000))


def test_a_call_that_never_ends_is_told_so(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        found.send(headers(1, POST, end=False))
        assert (await found.answer())[0] == 408

    secured.against(scenario, limits=Limits(body_seconds=0.5))


@pytest.mark.parametrize("greet", [False, True])
def test_who_says_nothing_is_left(secured: Secured, *, greet: bool) -> None:
    async def scenario(found: Client) -> None:
        assert await found.is_left()
        assert not found.running.server.connections

    secured.against(scenario, limits=Limits(head_seconds=0.5, idle_seconds=0.5), greet=greet)


def test_who_takes_no_answer_is_cut_off(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        found.send(frames.settings({frames.INITIAL_WINDOW: 0}) + headers(1, GET))
        assert await found.is_left()

    secured.against(scenario, limits=Limits(answer_seconds=0.5))


class SlowCluster(EmbeddedCluster):
    """Binds once it is let; counts those that wait."""

    def __init__(self) -> None:
        super().__init__(plain_nodes(NAMES))
        self.begun, self.ended, self.gate = 0, 0, asyncio.Event()

    async def bind(self, binding: BindingArgs) -> str:
        self.begun += 1
        await self.gate.wait()
        self.ended += 1
        return ""


def test_calls_that_were_given_up_count_until_their_handlers_end(secured: Secured) -> None:
    cluster = SlowCluster()
    content = body(PodName="p", PodNamespace="n", PodUID="uid", Node=NAMES[0])

    async def scenario(found: Client) -> None:
        for stream in range(1, 2 * 128, 2):
            found.send(call(stream, BIND, content))
            found.send(frame(frames.PING, 0, 0, bytes(8)))
            assert (await found.next(frames.PING, frames.RESET) or b"")[0] == frames.PING
            found.send(frame(frames.RESET, 0, stream, number(8)))  # not before it has begun
        found.send(headers(257, BIND, end=False))
        refused = await found.expect(frames.RESET)
        assert refused[2:] == (257, number(7))
        assert cluster.begun == 128
        cluster.gate.set()
        await until(lambda: cluster.ended == 128)
        assert await found.is_served(1001)

    secured.against(scenario, cluster=cluster)


def test_who_says_goodbye_is_left_and_what_was_begun_runs_to_its_end(secured: Secured) -> None:
    cluster = SlowCluster()
    content = body(PodName="p", PodNamespace="n", PodUID="uid", Node=NAMES[0])

    async def scenario(found: Client) -> None:
        found.send(call(1, BIND, content))
        await until(lambda: cluster.begun == 1)
        found.send(frame(frames.GOAWAY, 0, 0, number(0) + number(0)))
        assert await found.is_left()
        assert not found.running.server.connections
        cluster.gate.set()
        await until(lambda: cluster.ended == 1)

    secured.against(scenario, cluster=cluster)


def test_unfinished_calls_hold_four_bodies_together(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        for stream in range(1, 2 * 17, 2):
            found.send(headers(stream, POST, end=False) + frame(frames.DATA, 0, stream, bytes(16_000)))
        goodbye = await found.expect(frames.GOAWAY)
        assert goodbye[3] == number(33) + number(3)

    secured.against(scenario, limits=Limits(body_bytes=frames.WINDOW_BYTES - 1))


def test_who_does_not_read_is_not_read_and_then_cut_off(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        await until(lambda: len(found.running.server.connections) == 1)
        (connection,) = found.running.server.connections
        transport = cast(Http2Connection, connection)._transport
        assert transport is not None
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        cast(asyncio.Transport, found.writer.transport).pause_reading()
        pings, is_read = frame(frames.PING, 0, 0, bytes(8)) * 512, True
        with contextlib.suppress(ConnectionError):
            while is_read and found.running.server.connections:
                found.send(pings)
                await asyncio.sleep(0)
                is_read = transport.is_reading()
        assert not is_read
        assert found.running.server.connections
        await until(lambda: not found.running.server.connections)

    secured.against(scenario, limits=Limits(answer_seconds=0.5))
