"""The HTTP client against a server that does everything a server may do, and much that it may not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from scheduler.kube import framing
from scheduler.kube.errors import ApiUnavailable
from tests.support.scripted import CHUNKED, Conversation, Peer, Scripted, answer, chunk, serving


def run(client: Callable[[Scripted], Awaitable[None]], *conversations: Conversation, size: int = 4) -> None:
    async def both() -> None:
        async with serving(*conversations, size=size) as server, asyncio.timeout(20):
            await client(server)

    asyncio.run(both())


def replies(*pieces: bytes, pause_s: float = 0.0) -> Conversation:
    """Answer every request with these pieces."""

    async def talk(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces, pause_s=pause_s)

    return talk


def hangs_up(*pieces: bytes) -> Conversation:
    """Read one request, send these pieces, close."""

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        peer.close()

    return talk


async def silent(peer: Peer) -> None:
    await peer.request()
    await asyncio.sleep(30)


WHOLE = answer(b'{"a": 1}')
WAYS = [
    pytest.param([WHOLE], id="at once"),
    pytest.param([WHOLE[i : i + 1] for i in range(len(WHOLE))], id="byte by byte"),
    pytest.param([CHUNKED, chunk(b'{"a"'), chunk(b": 1}"), chunk(b"")], id="in chunks"),
    pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE], id="after a 100"),
]


@pytest.mark.parametrize("pieces", WAYS)
def test_an_answer_is_the_same_however_it_is_cut(pieces: list[bytes]) -> None:
    async def client(server: Scripted) -> None:
        for _ in range(3):
            found = await server.connection.request("GET", "/x")
            assert (found.status, found.body) == (200, b'{"a": 1}')
        assert server.connections == 1, "the connection is kept"

    run(client, replies(*pieces, pause_s=0.001))


BROKEN = [
    pytest.param([b"\x00\xff junk \r\n\r\n"], "no HTTP", id="junk"),
    pytest.param([WHOLE[:-3]], "lost", id="cut off in the body"),
    pytest.param([b"HTTP/1.1 2"], "lost", id="cut off in the head"),
    pytest.param([CHUNKED, b"zz\r\n"], "no HTTP", id="a chunk of no size"),
    pytest.param(
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
        "no HTTP",
        id="upgrade",
    ),
]


@pytest.mark.parametrize(("pieces", "why"), BROKEN)
def test_a_broken_answer_is_no_answer(pieces: list[bytes], why: str) -> None:
    async def client(server: Scripted) -> None:
        with pytest.raises(ApiUnavailable, match=why):
            await server.connection.request("POST", "/x", b"{}")
        assert server.connections == 1, "what may have been done is not sent again"

    run(client, hangs_up(*pieces))


def test_a_read_is_repeated_when_the_connection_was_lost_before_the_answer() -> None:
    async def client(server: Scripted) -> None:
        assert (await server.connection.request("GET", "/x")).status == 200
        assert server.connections == 2

    run(client, hangs_up(), replies(WHOLE))


def test_a_write_under_a_precondition_may_be_repeated_and_another_may_not() -> None:
    async def client(server: Scripted) -> None:
        with pytest.raises(ApiUnavailable):
            await server.connection.request("POST", "/x", b"{}")
        assert (await server.connection.request("POST", "/x", b"{}", repeatable=True)).status == 200

    run(client, hangs_up(), hangs_up(), replies(WHOLE))


def test_no_answer_within_the_deadline_ends_the_wait_and_the_connection() -> None:
    async def client(server: Scripted) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(ApiUnavailable, match="no answer within"):
            await server.connection.request("GET", "/x", deadline_s=0.2)
        assert asyncio.get_running_loop().time() - began < 2
        assert (await server.connection.request("GET", "/x")).body == b'{"a": 1}'
        assert server.connections == 2, "a late answer would be taken for the next one's"

    run(client, silent, replies(WHOLE))


def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    async def client(server: Scripted) -> None:
        asked = asyncio.ensure_future(server.connection.request("GET", "/x"))
        await asyncio.sleep(0.1)
        asked.cancel()
        await asyncio.wait([asked])
        assert (await server.connection.request("GET", "/x")).body == b'{"a": 1}'

    run(client, silent, replies(WHOLE), size=1)


def test_more_requests_than_connections_wait_for_their_turn() -> None:
    async def client(server: Scripted) -> None:
        found = await asyncio.gather(*(server.connection.request("GET", f"/{n}") for n in range(50)))
        assert [each.status for each in found] == [200] * 50
        assert server.connections <= 3

    run(client, replies(WHOLE, pause_s=0.001), size=3)


def test_who_waits_for_a_connection_in_vain_learns_it_and_the_place_is_not_lost() -> None:
    async def client(server: Scripted) -> None:
        first = asyncio.ensure_future(server.connection.request("GET", "/x", deadline_s=0.5))
        await asyncio.sleep(0.05)
        with pytest.raises(ApiUnavailable, match="no free connection"):
            await server.connection.request("GET", "/x", deadline_s=0.1)
        with pytest.raises(ApiUnavailable):
            await first
        assert (await server.connection.request("GET", "/x")).status == 200

    run(client, silent, replies(WHOLE), size=1)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_server_that_asks_for_patience_is_asked_again_later(status: str) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"busy", status, "Retry-After: 1"))
        await replies(WHOLE)(peer)

    async def client(server: Scripted) -> None:
        began = asyncio.get_running_loop().time()
        assert (await server.connection.request("GET", "/x")).status == 200
        assert asyncio.get_running_loop().time() - began >= 1.0

    run(client, talk)


def test_the_impatient_see_the_refusal_itself() -> None:
    async def client(server: Scripted) -> None:
        found = await server.connection.request("POST", "/x", b"{}", patient=False)
        assert (found.status, found.retry_after) == (429, 7.0)
        assert (await server.connection.request("GET", "/x", deadline_s=2)).status == 429, "no time for 7 s"

    run(client, replies(answer(b"", "429 Too Many Requests", "Retry-After: 7")))


def test_a_server_that_says_close_gets_a_new_connection() -> None:
    async def client(server: Scripted) -> None:
        for _ in range(3):
            assert (await server.connection.request("POST", "/x", b"{}")).status == 200
        assert server.connections == 3

    run(client, hangs_up(answer(b"", "200 OK", "Connection: close")))


def test_a_path_can_smuggle_no_second_request() -> None:
    async def client(server: Scripted) -> None:
        for path in ("/x y", "/x\r\nHost: evil", "x", "/\u2028"):
            with pytest.raises(ValueError, match="not a path"):
                await server.connection.request("GET", path)

    run(client, replies(WHOLE))


def test_nobody_listens() -> None:
    async def both() -> None:
        async with serving(replies(WHOLE)) as server:
            connection = server.connection
        server.connection.close()
        with pytest.raises(ApiUnavailable) as refused:
            await connection.request("GET", "/x", deadline_s=0.3)
        assert refused.value.unsent

    asyncio.run(both())


def test_a_watch_hands_over_whole_lines_however_they_are_cut() -> None:
    lines: list[bytes] = []
    big = b'{"big": "' + b"x" * 300_000 + b'"}'
    content = b'{"n": 1}\n{"n": 2}\n' + big + b'\n{"n": 3}\n{"cut'
    pieces = [content[i : i + 1000] for i in range(0, len(content), 1000)]

    async def client(server: Scripted) -> None:
        found = await server.connection.stream("/w", lines.append)
        assert (found.status, found.body) == (200, b"")
        assert lines == [b'{"n": 1}', b'{"n": 2}', big, b'{"n": 3}']

    run(client, replies(CHUNKED, *map(chunk, pieces), chunk(b"")))


def test_a_watch_that_goes_silent_is_dead() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, chunk(b"{}\n"))
        await asyncio.sleep(30)

    async def client(server: Scripted) -> None:
        with pytest.raises(ApiUnavailable, match="nothing was heard"):
            await server.connection.stream("/w", lambda _: None, silence_s=0.3)

    run(client, talk)


def test_a_refused_watch_keeps_the_refusal() -> None:
    async def client(server: Scripted) -> None:
        found = await server.connection.stream("/w", lambda _: pytest.fail("no event"))
        assert (found.status, found.body) == (410, b"too old\n")

    run(client, replies(answer(b"too old\n", "410 Gone")))


def test_what_the_reader_of_a_watch_raises_comes_out() -> None:
    async def client(server: Scripted) -> None:
        def refuse(_: bytes) -> None:
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await server.connection.stream("/w", refuse)

    run(client, replies(CHUNKED, chunk(b"{}\n{}\n"), chunk(b"")))


def test_a_line_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "LONGEST", 100_000)

    async def client(server: Scripted) -> None:
        with pytest.raises(ApiUnavailable, match="longer than"):
            await server.connection.stream("/w", lambda _: None)

    run(client, replies(CHUNKED, *[chunk(b"x" * 50_000)] * 4))
