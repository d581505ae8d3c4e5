"""HTTP/2 at the extender's server: with a real client (curl over nghttp2), and frame by frame where no client would."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import shutil
import socket
import ssl
import tracemalloc
from pathlib import Path
from typing import cast

import hpack
import pytest

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from scheduler.extender.http import Limits
from scheduler.extender.http2 import Http2Connection
from scheduler.extender.server import TlsFiles
from scheduler.extender.wire import BindingArgs
from tests.support import frames
from tests.support.certificates import Authority, server_files
from tests.support.extender import NAMES, Running, against, body, recorded, until
from tests.support.frames import PREFACE, FrameReader, frame, number

pytestmark = pytest.mark.real

GET = bytes.fromhex("8287") + b"\x44\x08/healthz" + b"\x41\x01x"
NOWHERE = bytes.fromhex("8287") + b"\x44\x08/nowhere" + b"\x41\x01x"
BIND = bytes.fromhex("8387") + b"\x44\x05/bind" + b"\x41\x01x" + b"\x5f\x10application/json"
POST = bytes.fromhex("8387") + b"\x44\x07/filter" + b"\x41\x01x" + b"\x5f\x10application/json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, TlsFiles]:
    return server_files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def context(made: tuple[Authority, TlsFiles]) -> ssl.SSLContext:
    found = made[0].context(made[0].issue("kube-scheduler"))
    found.set_alpn_protocols(["h2"])
    return found


class Client:
    """Frames of our own over a connection that chose h2."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._frames = FrameReader()
        self._decoder = hpack.Decoder()
        self._got: list[frames.Frame] = []
        self._windows: list[frames.Frame] = []

    def windows(self, stream: int) -> list[frames.Frame]:
        """The WINDOW_UPDATEs of a stream that have come since the last call."""
        found, self._windows = [each for each in self._windows if each[2] == stream], []
        return found

    async def next(self, *kinds: int) -> frames.Frame | None:
        """The next frame of these kinds; None at the end."""
        while True:
            for place, found in enumerate(self._got):
                if found[0] in kinds:
                    del self._got[: place + 1]
                    return found
            data = await asyncio.wait_for(self._reader.read(65536), 20)
            if not data:
                return None
            came = list(self._frames.feed(data))
            self._got += came
            self._windows += [each for each in came if each[0] == frames.WINDOW]

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        head = await self.next(frames.HEADERS)
        assert head is not None
        found = dict(self._decoder.decode(head[3], raw=True))
        flags, content = head[1], b""
        while not flags & frames.END_STREAM:
            more = await self.next(frames.DATA)
            assert more is not None
            content, flags = content + more[3], more[1]
        return int(found[b":status"]), content


async def client(server: Running, context: ssl.SSLContext, *, greet: bool = True) -> Client:
    caller = await server.caller(context)
    assert caller.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    found = Client(caller.reader, caller.writer)
    if greet:
        found.writer.write(PREFACE + frames.settings({}))
    return found


def headers(stream: int, block: bytes, *, end: bool = True) -> bytes:
    return frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if end else 0), stream, block)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_real_client_is_answered(made: tuple[Authority, TlsFiles], tmp_path: Path) -> None:
    authority, files = made
    certificate, key = authority.issue("curl")
    (tmp_path / "body").write_bytes(recorded("filter"))

    async def scenario(server: Running) -> None:
        host, port = server.host, server.port
        curl = await asyncio.create_subprocess_exec(
            "curl", "-sS", "--http2", "--cacert", str(authority.certificate), "--cert", str(certificate),
            "--key", str(key), "-H", "Content-Type: application/json", "--data-binary", f"@{tmp_path}/body",
            "-w", "\n%{http_version} %{http_code} %{num_connects}\n", f"https://localhost:{port}/filter",
            "--connect-to", f"localhost:{port}:{host}:{port}", f"https://localhost:{port}/healthz",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await curl.communicate()
        assert curl.returncode == 0, err
        answer, line, health, again = out.decode().split("\n")[:4]
        assert json.loads(answer)["NodeNames"]
        assert line == "2 200 1"
        assert health.startswith("{")  # a POST to it is refused
        assert again == "2 405 0", "on the same connection"

    against(scenario, tls=files)


def test_calls_share_a_connection_and_may_overtake_each_other(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        content = recorded("filter")
        for stream in (1, 3, 5):
            found.writer.write(headers(stream, POST, end=False))
        for stream in (5, 3, 1):
            found.writer.write(frame(frames.DATA, frames.END_STREAM, stream, content))
        for _ in range(3):
            status, answer = await found.answer()
            assert status == 200
            assert json.loads(answer)["NodeNames"]
        assert len(server.server.connections) == 1

    against(scenario, tls=made[1])


def test_a_long_answer_waits_for_the_callers_windows(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        found.writer.write(frames.settings({frames.INITIAL_WINDOW: 4}))
        found.writer.write(headers(1, POST, end=False))
        found.writer.write(frame(frames.DATA, frames.END_STREAM, 1, recorded("filter")))
        first = await found.next(frames.DATA)
        assert first is not None
        assert len(first[3]) == 4
        found.writer.write(frame(frames.WINDOW, 0, 1, number(60_000)))
        last = await found.next(frames.DATA)
        assert last is not None
        assert last[1] & frames.END_STREAM
        assert json.loads(first[3] + last[3])["NodeNames"]

    against(scenario, tls=made[1])


def test_headers_may_come_in_pieces_padded_and_with_priority(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        flags = frames.END_STREAM | frames.PADDED | frames.HAS_PRIORITY
        found.writer.write(frame(frames.HEADERS, flags, 1, b"\x03" + bytes(5) + GET[:4] + bytes(3)))
        found.writer.write(frame(frames.CONTINUATION, frames.END_HEADERS, 1, GET[4:]))
        assert (await found.answer())[1] == b"ok"
        found.writer.write(frame(frames.PING, 0, 0, b"12345678"))
        pong = await found.next(frames.PING)
        assert pong is not None
        assert pong[1:] == (frames.ACK, 0, b"12345678")

    against(scenario, tls=made[1])


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
def test_what_breaks_the_protocol_ends_that_connection_and_no_other(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext, junk: bytes
) -> None:
    async def scenario(server: Running) -> None:
        other = await client(server, context)
        found = await client(server, context, greet=False)
        found.writer.write(junk)
        goodbye = await found.next(frames.GOAWAY)
        assert goodbye is not None
        assert int.from_bytes(goodbye[3][4:8], "big")
        assert await found.next(frames.DATA) is None
        other.writer.write(headers(1, GET))
        assert (await other.answer())[1] == b"ok"

    against(scenario, tls=made[1])


def test_a_body_that_is_too_large_is_refused_and_the_connection_goes_on(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        found.writer.write(headers(1, POST, end=False) + frame(frames.DATA, 0, 1, bytes(1001)))
        status, answer = await found.answer()
        assert status == 413
        assert b"1000 bytes" in answer
        found.writer.write(frame(frames.DATA, frames.END_STREAM, 1, bytes(500)))
        found.writer.write(headers(3, GET))
        assert (await found.answer())[1] == b"ok"

    against(scenario, tls=made[1], limits=Limits(body_bytes=1000))


def test_the_connections_window_opens_again_as_calls_end(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        content = recorded("filter")
        window, spent = frames.WINDOW_BYTES, 0
        for stream in range(1, 2 * (8 * window // len(content)), 2):
            found.writer.write(headers(stream, POST, end=False))
            found.writer.write(frame(frames.DATA, frames.END_STREAM, stream, content))
            spent += len(content)
            assert (await found.answer())[0] == 200
            window += sum(int.from_bytes(each[3], "big") for each in found.windows(0))
            assert spent <= window

    against(scenario, tls=made[1], limits=Limits(body_bytes=16_000))


def test_a_call_that_never_ends_is_told_so(made: tuple[Authority, TlsFiles], context: ssl.SSLContext) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        found.writer.write(headers(1, POST, end=False))
        assert (await found.answer())[0] == 408

    against(scenario, tls=made[1], limits=Limits(body_seconds=0.5))


@pytest.mark.parametrize("greet", [False, True])
def test_who_says_nothing_is_left(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext, *, greet: bool
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context, greet=greet)
        assert await found.next(frames.DATA) is None
        assert not server.server.connections

    against(scenario, tls=made[1], limits=Limits(head_seconds=0.5, idle_seconds=0.5))


def test_who_takes_no_answer_is_cut_off(made: tuple[Authority, TlsFiles], context: ssl.SSLContext) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        found.writer.write(frames.settings({frames.INITIAL_WINDOW: 0}) + headers(1, GET))
        assert await found.next(frames.DATA) is None

    against(scenario, tls=made[1], limits=Limits(answer_seconds=0.5))


def test_a_caller_that_gives_calls_up_keeps_its_connection(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        for stream in range(1, 1601, 4):
            found.writer.write(headers(stream, POST, end=False))
            found.writer.write(frame(frames.RESET, 0, stream, number(8)))
            found.writer.write(headers(stream + 2, NOWHERE) + frame(frames.RESET, 0, stream + 2, number(8)))
        found.writer.write(headers(1601, GET))
        assert (await found.answer())[1] == b"ok"

    against(scenario, tls=made[1])


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


def test_calls_that_were_given_up_count_until_their_handlers_end(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    cluster = SlowCluster()
    content = body(PodName="p", PodNamespace="n", PodUID="uid", Node=NAMES[0])

    async def scenario(server: Running) -> None:
        found = await client(server, context)
        for stream in range(1, 2 * 128, 2):
            found.writer.write(headers(stream, BIND, end=False))
            found.writer.write(frame(frames.DATA, frames.END_STREAM, stream, content))
            found.writer.write(frame(frames.PING, 0, 0, bytes(8)))
            assert (await found.next(frames.PING, frames.RESET) or b"")[0] == frames.PING
            found.writer.write(frame(frames.RESET, 0, stream, number(8)))  # not before it has begun
        found.writer.write(headers(257, BIND, end=False))
        refused = await found.next(frames.RESET)
        assert refused is not None
        assert refused[2:] == (257, number(7))
        assert cluster.begun == 128
        cluster.gate.set()
        await until(lambda: cluster.ended == 128)
        found.writer.write(headers(1001, GET))
        assert (await found.answer())[1] == b"ok"

    against(scenario, tls=made[1], cluster=cluster)


def test_who_says_goodbye_is_left_and_what_was_begun_runs_to_its_end(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    cluster = SlowCluster()
    content = body(PodName="p", PodNamespace="n", PodUID="uid", Node=NAMES[0])

    async def scenario(server: Running) -> None:
        found = await client(server, context)
        found.writer.write(headers(1, BIND, end=False) + frame(frames.DATA, frames.END_STREAM, 1, content))
        await until(lambda: cluster.begun == 1)
        found.writer.write(frame(frames.GOAWAY, 0, 0, number(0) + number(0)))
        assert await found.next(frames.DATA) is None
        assert not server.server.connections
        cluster.gate.set()
        await until(lambda: cluster.ended == 1)

    against(scenario, tls=made[1], cluster=cluster)


def test_unfinished_calls_hold_four_bodies_together(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        for stream in range(1, 2 * 17, 2):
            found.writer.write(
                headers(stream, POST, end=False) + frame(frames.DATA, 0, stream, bytes(16_000))
            )
        goodbye = await found.next(frames.GOAWAY)
        assert goodbye is not None
        assert goodbye[3] == number(33) + number(3)

    against(scenario, tls=made[1], limits=Limits(body_bytes=frames.WINDOW_BYTES - 1))


def test_who_does_not_read_is_not_read_and_then_cut_off(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        await until(lambda: len(server.server.connections) == 1)
        (connection,) = server.server.connections
        transport = cast(Http2Connection, connection)._transport
        assert transport is not None
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        cast(asyncio.Transport, found.writer.transport).pause_reading()
        pings, is_read = frame(frames.PING, 0, 0, bytes(8)) * 512, True
        with contextlib.suppress(ConnectionError):
            while is_read and server.server.connections:
                found.writer.write(pings)
                await asyncio.sleep(0)
                is_read = transport.is_reading()
        assert not is_read
        assert server.server.connections
        await until(lambda: not server.server.connections)

    against(scenario, tls=made[1], limits=Limits(answer_seconds=0.5))


def test_calls_leave_nothing_behind_on_their_connection(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)

        async def calls(first: int, count: int) -> int:
            for stream in range(first, first + 2 * count, 2):
                found.writer.write(headers(stream, GET))
                assert (await found.answer())[1] == b"ok"
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await calls(1, 1500)
            assert await calls(3001, 1500) - before < 32 << 10
        finally:
            tracemalloc.stop()

    against(scenario, tls=made[1])


def test_drain_tells_the_caller_and_ends_after_the_last_answer(
    made: tuple[Authority, TlsFiles], context: ssl.SSLContext
) -> None:
    async def scenario(server: Running) -> None:
        found = await client(server, context)
        found.writer.write(headers(1, POST, end=False))
        found.writer.write(frame(frames.PING, 0, 0, bytes(8)))
        await found.next(frames.PING)
        draining = asyncio.ensure_future(server.server.drain(10))
        goodbye = await found.next(frames.GOAWAY)
        assert goodbye is not None
        assert goodbye[3] == number(1) + number(0)
        found.writer.write(frame(frames.DATA, frames.END_STREAM, 1, recorded("filter")))
        assert json.loads((await found.answer())[1])["NodeNames"]
        assert await found.next(frames.DATA) is None
        await draining

    against(scenario, tls=made[1])
