"""TLS with real certificates: whoever is not of the client authority gets nothing at all."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from scheduler.extender.errors import UnusableTls
from scheduler.extender.http import Limits
from scheduler.extender.server import TlsFiles, tls_context
from tests.support.certificates import Authority, server_files
from tests.support.extender import NAMES, Running, against, asking, recorded

pytestmark = pytest.mark.real

Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def known(made: tuple[Authority, TlsFiles]) -> Pair:
    return made[0].issue("kube-scheduler")


def test_a_caller_of_the_authority_is_answered(made: tuple[Authority, TlsFiles], known: Pair) -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller(made[0].context(known))
        status, _ = await caller.call("filter", recorded("filter"))
        assert status == 200
        socket_ = caller.writer.get_extra_info("ssl_object")
        assert socket_.version() == "TLSv1.3"
        assert socket_.selected_alpn_protocol() in (None, "http/1.1")

    against(scenario, tls=made[1])


async def is_turned_away(server: Running, context: ssl.SSLContext) -> bytes:
    """What a caller with this context gets to see, which is to be nothing; TLS 1.3 tells it only when it reads."""
    try:
        caller = await server.caller(context)
        caller.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        return await asyncio.wait_for(caller.reader.read(), 10)
    except (ssl.SSLError, ConnectionError):
        return b""


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("who", ["without a certificate", "of a foreign authority", "expired"])
def test_whoever_is_not_known_gets_nothing(
    made: tuple[Authority, TlsFiles], tmp_path: Path, who: str, newest: ssl.TLSVersion
) -> None:
    authority, files = made
    pair: Pair | None = None
    if who == "of a foreign authority":
        pair = Authority(tmp_path, "foreign").issue("kube-scheduler")
    if who == "expired":
        pair = authority.issue("late", "-days", "-1")
    context = authority.context(pair)
    context.maximum_version = newest

    async def scenario(server: Running) -> None:
        assert await is_turned_away(server, context) == b""
        assert not server.server.connections

    against(scenario, tls=files)


def test_old_tls_is_turned_away(made: tuple[Authority, TlsFiles], known: Pair) -> None:
    context = made[0].context(known)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")

    async def scenario(server: Running) -> None:
        assert await is_turned_away(server, context) == b""

    against(scenario, tls=made[1])


def test_plain_http_on_the_tls_port_gets_nothing(made: tuple[Authority, TlsFiles]) -> None:
    async def scenario(server: Running) -> None:
        caller = await server.caller()
        caller.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            answer = await asyncio.wait_for(caller.reader.read(), 10)
        except ConnectionError:
            answer = b""
        assert b"HTTP" not in answer  # a TLS alert at most

    against(scenario, tls=made[1])


def test_half_open_connections_keep_nobody_out(made: tuple[Authority, TlsFiles], known: Pair) -> None:
    limits = Limits(handshakes=8, handshake_seconds=30)

    async def scenario(server: Running) -> None:
        loop = asyncio.get_running_loop()
        silent = [socket.socket() for _ in range(100)]
        try:
            for one in silent:
                one.setblocking(False)
                await loop.sock_connect(one, (server.host, server.port))
            await asyncio.sleep(0.2)
            assert len(server.server.handshakes) <= 8
            caller = await server.caller(made[0].context(known))
            assert (await caller.call("filter", asking(NAMES)))[0] == 200
        finally:
            for one in silent:
                one.close()

    against(scenario, limits, made[1])


def test_a_handshake_that_stops_is_cut_off(made: tuple[Authority, TlsFiles]) -> None:
    limits = Limits(handshake_seconds=0.3)

    async def scenario(server: Running) -> None:
        caller = await server.caller()
        caller.writer.write(b"\x16\x03\x01\x02\x00\x01\x00")
        assert await caller.is_closed(10)
        await asyncio.sleep(0.1)
        assert not server.server.handshakes

    against(scenario, limits, made[1])


def test_renewed_certificates_hold_for_the_next_connection(tmp_path: Path) -> None:
    authority, files = server_files(tmp_path)
    pair = authority.issue("kube-scheduler")

    async def serial(server: Running) -> str:
        caller = await server.caller(authority.context(pair))
        assert (await caller.call("filter", asking(NAMES)))[0] == 200
        return str(caller.writer.get_extra_info("peercert")["serialNumber"])

    async def scenario(server: Running) -> None:
        first = await serial(server)
        authority.issue("server")
        assert await serial(server) == first
        server.server.renew_certificates()
        assert await serial(server) != first
        files.key.write_text("junk")
        with pytest.raises(UnusableTls):
            server.server.renew_certificates()
        assert await serial(server) != first

    against(scenario, tls=files)


def test_files_that_do_not_belong_together_are_unusable(
    made: tuple[Authority, TlsFiles], tmp_path: Path
) -> None:
    _, files = made
    for broken in (
        TlsFiles(files.certificate, made[0].key, files.client_ca),
        TlsFiles(tmp_path / "missing", files.key, files.client_ca),
        TlsFiles(files.certificate, files.key, files.key),
    ):
        with pytest.raises(UnusableTls):
            tls_context(broken)
