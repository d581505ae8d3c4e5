"""HTTP/2 at the extender's server: with a real client (curl over nghttp2), and frame by frame where no client would."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import tracemalloc
from pathlib import Path

import pytest

from scheduler.extender.http import Limits
from scheduler.extender.server import TlsFiles
from tests.support import frames
from tests.support.certificates import Authority
from tests.support.extender import Running, against, recorded
from tests.support.frames import frame, number
from tests.support.http2 import GET, NOWHERE, POST, Client, Secured, call, headers

pytestmark = pytest.mark.real


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


def test_calls_share_a_connection_and_may_overtake_each_other(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        content = recorded("filter")
        for stream in (1, 3, 5):
            found.send(headers(stream, POST, end=False))
        for stream in (5, 3, 1):
            found.send(frame(frames.DATA, frames.END_STREAM, stream, content))
        for _ in range(3):
            status, answer = await found.answer()
            assert status == 200
            assert json.loads(answer)["NodeNames"]
        assert len(found.running.server.connections) == 1

    secured.against(scenario)


def test_a_long_answer_waits_for_the_callers_windows(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        found.send(frames.settings({frames.INITIAL_WINDOW: 4}))
        found.send(call(1, POST, recorded("filter")))
        first = await found.expect(frames.DATA)
        assert len(first[3]) == 4
        found.send(frame(frames.WINDOW, 0, 1, number(60_000)))
        last = await found.expect(frames.DATA)
        assert last[1] & frames.END_STREAM
        assert json.loads(first[3] + last[3])["NodeNames"]

    secured.against(scenario)


def test_headers_may_come_in_pieces_padded_and_with_priority(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        flags = frames.END_STREAM | frames.PADDED | frames.HAS_PRIORITY
        found.send(frame(frames.HEADERS, flags, 1, b"\x03" + bytes(5) + GET[:4] + bytes(3)))
        found.send(frame(frames.CONTINUATION, frames.END_HEADERS, 1, GET[4:]))
        assert (await found.answer())[1] == b"ok"
        found.send(frame(frames.PING, 0, 0, b"12345678"))
        pong = await found.expect(frames.PING)
        assert pong[1:] == (frames.ACK, 0, b"12345678")

    secured.against(scenario)


def test_the_connections_window_opens_again_as_calls_end(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        content = recorded("filter")
        window, spent = frames.WINDOW_BYTES, 0
        for stream in range(1, 2 * (8 * window // len(content)), 2):
            found.send(call(stream, POST, content))
            spent += len(content)
            assert (await found.answer())[0] == 200
            window += sum(int.from_bytes(each[3], "big") for each in found.windows(0))
            assert spent <= window

    secured.against(scenario, limits=Limits(body_bytes=16_000))


def test_a_caller_that_gives_calls_up_keeps_its_connection(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        for stream in range(1, 1601, 4):
            found.send(headers(stream, POST, end=False))
            found.send(frame(frames.RESET, 0, stream, number(8)))
            found.send(headers(stream + 2, NOWHERE) + frame(frames.RESET, 0, stream + 2, number(8)))
        assert await found.is_served(1601)

    secured.against(scenario)


def test_calls_leave_nothing_behind_on_their_connection(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        async def calls(first: int, count: int) -> int:
            for stream in range(first, first + 2 * count, 2):
                assert await found.is_served(stream)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await calls(1, 1500)
            assert await calls(3001, 1500) - before < 32 << 10
        finally:
            tracemalloc.stop()

    secured.against(scenario)


def test_drain_tells_the_caller_and_ends_after_the_last_answer(secured: Secured) -> None:
    async def scenario(found: Client) -> None:
        found.send(headers(1, POST, end=False))
        found.send(frame(frames.PING, 0, 0, bytes(8)))
        await found.next(frames.PING)
        draining = asyncio.ensure_future(found.running.server.drain(10))
        goodbye = await found.expect(frames.GOAWAY)
        assert goodbye[3] == number(1) + number(0)
        found.send(frame(frames.DATA, frames.END_STREAM, 1, recorded("filter")))
        assert json.loads((await found.answer())[1])["NodeNames"]
        assert await found.is_left()
        await draining

    secured.against(scenario)
