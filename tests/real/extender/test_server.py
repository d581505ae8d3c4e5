"""The server on loopback: answers in order whatever way the bytes come, and limits on whoever does not play fair."""

from __future__ import annotations

import asyncio
import socket
import time

import msgspec
import pytest

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from scheduler.extender.http import Limits
from scheduler.extender.wire import BindingArgs
from tests.support.extender import NAMES, Running, against, asking, body, recorded, request, until

POST, JSON = b"POST /filter HTTP/1.1\r\nHost: x\r\n", b"Content-Type: application/json\r\n"
QUICK = Limits(head_seconds=0.5, body_seconds=0.5, answer_seconds=0.5, idle_seconds=0.5)
BIND = body(PodName="p", PodNamespace="n", PodUID="u", Node="node-00001")


def test_recorded_calls_are_answered_over_one_connection() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        for verb in ("filter", "prioritize", "preempt", "bind"):
            status, _ = await caller.call(verb, recorded(verb))
            assert status == 200
        assert await caller.call("readyz", method="GET") == (200, "ok")

    against(scenario)


def test_bytes_may_come_one_by_one() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        for byte in request("filter", asking(NAMES)):
            caller.writer.write(bytes([byte]))
            await caller.writer.drain()
            await asyncio.sleep(0)
        status, answer = await caller.answer()
        assert status == 200
        assert b"node-" in answer

    against(scenario)


class SlowBind(EmbeddedCluster):
    """Bind takes its time."""

    async def bind(self, binding: BindingArgs) -> str:
        await asyncio.sleep(0.3)
        return await super().bind(binding)


def test_pipelined_requests_are_answered_in_their_order() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        healthz = request("healthz", b"", method="GET")
        caller.writer.write(request("bind", BIND) + healthz + request("filter", asking(NAMES)) + healthz * 40)
        answers = [await caller.answer() for _ in range(43)]
        assert [status for status, _ in answers] == [200] * 43
        assert answers[0][1] == b'{"Error":""}'
        assert answers[1][1] == b"ok"
        assert b"NodeNames" in answers[2][1]

    against(scenario, cluster=SlowBind(plain_nodes(NAMES)))


def test_a_binding_under_way_holds_up_nobody_else() -> None:
    async def scenario(server: Running) -> None:
        slow, quick = await server.caller(), await server.caller()
        slow.writer.write(request("bind", BIND))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        assert (await quick.call("filter", asking(NAMES)))[0] == 200
        assert time.monotonic() - began < 0.25
        assert (await slow.answer())[0] == 200

    against(scenario, cluster=SlowBind(plain_nodes(NAMES)))


def test_a_body_may_come_in_chunks() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        content = asking(NAMES)
        head = b"POST /filter HTTP/1.1\r\nHost: x\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
        parts = b"".join(
            b"%x\r\n%s\r\n" % (len(content[i : i + 100]), content[i : i + 100])
            for i in range(0, len(content), 100)
        )
        caller.writer.write(head + parts + b"0\r\n\r\n")
        assert (await caller.answer())[0] == 200

    against(scenario)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (POST + JSON + b"\r\n", 411),
        (POST + JSON + b"Content-Length: 99999999\r\n\r\n", 413),
        (POST + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415),
        (POST + b"Content-Length: 2\r\n\r\n{}", 415),
        (POST + JSON + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 415),
        (POST + b"X: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"POST /filter HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", 431),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /filter HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"PUT /filter HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 405),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 404),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /filter/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 404),
        (POST + JSON + b"Content-Length: 2\r\n\r\n{}", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 404),
        (POST + JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (POST + JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_its_status(raw: bytes, status: int) -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        caller.writer.write(raw)
        assert (await caller.answer())[0] == status

    against(scenario)


def test_two_megabytes_of_junk_get_an_answer_and_not_a_reset() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        caller.writer.write(request("filter", b"\x00" * (2 << 20)))
        assert (await caller.answer())[0] == 400
        caller.writer.write(request("filter", b"x" * (5 << 20)))
        assert (await caller.answer())[0] == 413
        assert (await (await server.caller()).call("filter", asking(NAMES)))[0] == 200

    against(scenario)


def test_deep_json_is_a_bad_request() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        for content in (b"[" * 1_000_000, b'{"Pod":' * 300_000, b'{"Pod":{"x":' + b"[" * 1_000_000):
            status, answer = await caller.call("filter", content)
            assert status == 400
            assert answer["Error"]

    against(scenario)


@pytest.mark.parametrize("sent", [b"", b"POST /fil", request("filter", asking(NAMES))[:-20]])
def test_a_slow_caller_is_told_and_cut_off(sent: bytes) -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        caller.writer.write(sent)
        if sent:
            assert (await caller.answer())[0] == 408
        assert await caller.is_closed(10)

    against(scenario, QUICK)


def test_a_trickle_of_header_bytes_is_not_enough_to_stay() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        caller.writer.write(b"GET /healthz HTTP/1.1\r\n")
        await until(lambda: bool(server.server.connections))
        for number in range(200):
            caller.writer.write(b"X-%d: y\r\n" % number)
            await asyncio.sleep(0.05)
            if not server.server.connections:
                return
        pytest.fail("still there after ten seconds of trickling")

    against(scenario, QUICK)


def test_an_idle_connection_is_closed() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        assert (await caller.call("healthz", method="GET"))[0] == 200
        assert await caller.is_closed(10)

    against(scenario, QUICK)


def test_a_caller_that_does_not_read_is_cut_off() -> None:
    async def scenario(server: Running) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, (server.host, server.port))
            ask = request("filter", asking(["x" * 1000] * 300))
            sending = asyncio.create_task(loop.sock_sendall(deaf, ask * 200))
            await until(lambda: bool(server.server.connections))
            await until(lambda: not server.server.connections)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    against(scenario, QUICK)


def test_a_flood_of_connections_is_bounded_and_leaves_room_for_those_who_are_in() -> None:
    limits = Limits(connections=20)

    async def scenario(server: Running) -> None:
        inside = await server.caller()
        assert (await inside.call("healthz", method="GET"))[0] == 200
        flood = await asyncio.gather(*(server.caller() for _ in range(300)))
        await asyncio.sleep(0.2)
        assert len(server.server.connections) <= 20
        assert (await inside.call("filter", asking(NAMES)))[0] == 200
        for caller in flood:
            caller.close()
        await asyncio.sleep(0.2)
        assert (await (await server.caller()).call("filter", asking(NAMES)))[0] == 200

    against(scenario, limits)


def test_callers_may_vanish_at_any_byte() -> None:
    async def scenario(server: Running) -> None:
        whole = request("bind", BIND)
        for cut in range(0, len(whole) + 1, 7):
            caller = await server.caller()
            caller.writer.write(whole[:cut])
            await caller.writer.drain()
            caller.close()
        await asyncio.sleep(0.1)
        assert not server.server.connections
        assert (await (await server.caller()).call("filter", asking(NAMES)))[0] == 200

    against(scenario)


def test_a_drain_finishes_what_is_under_way_and_takes_nothing_new() -> None:
    async def scenario(server: Running) -> None:
        busy, idle = await server.caller(), await server.caller()
        assert (await idle.call("healthz", method="GET"))[0] == 200
        busy.writer.write(request("bind", BIND))
        await asyncio.sleep(0.05)
        draining = asyncio.create_task(server.server.drain(5))
        assert await idle.is_closed()
        assert await busy.answer() == (200, b'{"Error":""}')
        assert await busy.is_closed()
        await draining
        with pytest.raises(OSError, match="refused"):
            await server.caller()

    against(scenario, cluster=SlowBind(plain_nodes(NAMES)))


class Broken(EmbeddedCluster):
    """A fault of ours."""

    async def bind(self, binding: BindingArgs) -> str:
        raise RuntimeError("secret of the inside")


def test_a_fault_of_ours_is_a_500_that_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        assert await caller.call("bind", BIND) == (500, {"Error": "internal error, see the log"})
        assert (await caller.call("filter", asking(NAMES)))[0] == 200

    against(scenario, cluster=Broken(plain_nodes(NAMES)))
    assert "extender.handler_failed" in capsys.readouterr().out


def test_head_answers_as_get_without_the_body() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        caller.writer.write(request("healthz", b"", method="HEAD") + request("healthz", b"", method="GET"))
        head = await caller.reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
        assert b"Content-Length: 2" in head
        assert await caller.answer() == (200, b"ok")

    against(scenario)


def test_a_caller_that_waits_for_100_continue_is_told_to_go_on() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        content = asking(NAMES)
        whole = request("filter", content, "Expect: 100-continue")
        caller.writer.write(whole[: -len(content)])
        assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        caller.writer.write(content)
        assert (await caller.answer())[0] == 200

    against(scenario)


def test_http_1_0_is_answered_once() -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        caller.writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert await caller.answer() == (200, b"ok")
        assert await caller.is_closed()

    against(scenario)


def test_every_status_says_why_in_json() -> None:
    async def scenario(server: Running) -> None:
        status, answer = await (await server.caller()).call("filter", b"{}")
        assert (status, answer) == (400, {"Error": "Pod is missing"})
        assert msgspec.json.encode(answer)

    against(scenario)
