"""A caller of the extender that speaks HTTP/2 frame by frame over TLS, to say also what no client would."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import hpack

from benchmarks.extender.embedded import EmbeddedCluster
from scheduler.extender.http import Limits
from scheduler.extender.server import TlsFiles
from tests.support import frames
from tests.support.certificates import Authority
from tests.support.extender import Running, against
from tests.support.frames import PREFACE, FrameReader, frame

GET = bytes.fromhex("8287") + b"\x44\x08/healthz" + b"\x41\x01x"
NOWHERE = bytes.fromhex("8287") + b"\x44\x08/nowhere" + b"\x41\x01x"
BIND = bytes.fromhex("8387") + b"\x44\x05/bind" + b"\x41\x01x" + b"\x5f\x10application/json"
POST = bytes.fromhex("8387") + b"\x44\x07/filter" + b"\x41\x01x" + b"\x5f\x10application/json"


def headers(stream: int, block: bytes, *, end: bool = True) -> bytes:
    """The HEADERS frame of a call, whole in one; `end` says that no body follows."""
    return frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if end else 0), stream, block)


def call(stream: int, block: bytes, content: bytes) -> bytes:
    """A call with its whole body."""
    return headers(stream, block, end=False) + frame(frames.DATA, frames.END_STREAM, stream, content)


class Client:
    """Frames of our own over a connection that chose h2."""

    def __init__(self, running: Running, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.running, self._reader, self.writer = running, reader, writer
        self._frames = FrameReader()
        self._decoder = hpack.Decoder()
        self._got: list[frames.Frame] = []
        self._windows: list[frames.Frame] = []

    def send(self, *sent: bytes) -> None:
        """Write frames, or what looks like some."""
        self.writer.write(b"".join(sent))

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

    async def expect(self, *kinds: int) -> frames.Frame:
        """The next frame of these kinds, which has to come."""
        found = await self.next(*kinds)
        assert found is not None, "the server hung up"
        return found

    async def is_left(self) -> bool:
        """Whether the server hangs up without another answer."""
        return await self.next(frames.DATA) is None

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        _, flags, _, block = await self.expect(frames.HEADERS)
        found = dict(self._decoder.decode(block, raw=True))
        content = b""
        while not flags & frames.END_STREAM:
            _, flags, _, more = await self.expect(frames.DATA)
            content += more
        return int(found[b":status"]), content

    async def is_served(self, stream: int) -> bool:
        """Whether a plain call on a new stream is answered as always."""
        self.send(headers(stream, GET))
        return (await self.answer())[1] == b"ok"


class Secured:
    """The files of a server that speaks TLS, and how a caller that it knows comes with HTTP/2."""

    def __init__(self, authority: Authority, files: TlsFiles) -> None:
        self.files = files
        self._context = authority.context(authority.issue("kube-scheduler"))
        self._context.set_alpn_protocols(["h2"])

    async def client(self, running: Running, *, greet: bool = True) -> Client:
        """A new connection, which has sent its preface and settings unless it is not to greet."""
        caller = await running.caller(self._context)
        chosen: ssl.SSLObject = caller.writer.get_extra_info("ssl_object")
        assert chosen.selected_alpn_protocol() == "h2"
        found = Client(running, caller.reader, caller.writer)
        if greet:
            found.send(PREFACE + frames.settings({}))
        return found

    def against(
        self,
        scenario: Callable[[Client], Awaitable[None]],
        limits: Limits | None = None,
        cluster: EmbeddedCluster | None = None,
        *,
        greet: bool = True,
    ) -> None:
        """Run a scenario with one client against a server of its own."""

        async def whole(running: Running) -> None:
            await scenario(await self.client(running, greet=greet))

        against(whole, limits, self.files, cluster)
