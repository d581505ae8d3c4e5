"""HTTP/2 of one connection without its socket: bytes in and events out, answers in and bytes out. Pure.

The library `h2` holds the protocol: frames, header compression, windows, the states of streams. Here are our settings,
the limits that it has not, and answers that are longer than the windows of their caller. Called by `http2`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from scheduler.extender.http import Limits, Response

STREAMS: Final = 128
BODIES: Final = 4
"""Whole bodies that all unfinished calls of a connection may hold together."""
FRAME_BYTES: Final = 16_384
WINDOW_BYTES: Final = 65_535
"""The protocol's own sizes. A caller may count on this window until it has seen our settings."""


class Library(H2Connection):
    """`h2`, remembering how streams ended for as long as a frame of theirs can still be under way."""

    MAX_CLOSED_STREAMS = 1024


class Frames:
    """What one connection says and hears.

    Attributes:
        owed: the rests of answers that no window is open for, by stream.
    """

    def __init__(self, limits: Limits) -> None:
        self.owed: dict[int, bytes] = {}
        self._most_silent = limits.head_bytes + FRAME_BYTES
        self._silent = 0
        self._drawn = b""
        self._h2 = Library(
            H2Configuration(client_side=False, header_encoding=None, validate_inbound_headers=True)
        )
        window = max(WINDOW_BYTES, limits.body_bytes + 1)  # one more shows that a body is too large
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
                SettingCodes.INITIAL_WINDOW_SIZE: window,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.head_bytes,
            },
        )
        # Else it holds only once the caller has confirmed it.
        self._h2.decoder.max_header_list_size = limits.head_bytes
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(BODIES * window - WINDOW_BYTES)

    def read(self, data: bytes) -> Iterator[Event]:
        """What these bytes mean.

        The library keeps a frame of any announced size, and 64 pieces of a header, before it looks at them. Such are
        bytes that neither mean nor draw anything, so those are counted.

        Raises:
            ProtocolError: they break the protocol, or are without an end.
        """
        for at in range(0, len(data), FRAME_BYTES):
            piece = data[at : at + FRAME_BYTES]
            found = self._h2.receive_data(piece)
            yield from found
            if not found:
                self._drawn += self._h2.data_to_send()
            self._silent = 0 if found or self._drawn else self._silent + len(piece)
            if self._silent > self._most_silent:
                raise DenialOfServiceError("a frame or a header without an end")

    def to_send(self) -> bytes:
        """What there is to say."""
        out, self._drawn = self._drawn + self._h2.data_to_send(), b""
        return out

    def give_back(self, size: int, stream: int) -> None:
        """Open the connection's window again, by what a call that has ended took of it."""
        if size:
            self._h2.acknowledge_received_data(size, stream)

    def answer(self, stream: int, response: Response, *, head_only: bool) -> None:
        """Answer, as far as windows are open; nothing where the caller has given up."""
        body = b"" if head_only else response.body
        with contextlib.suppress(ProtocolError):
            # Given up by frames that came with the call, the library knows it before its event tells us.
            self._h2.send_headers(stream, _headers(response), end_stream=not body)
            if body:
                self.owed[stream] = body
                self.pay()

    def pay(self) -> None:
        """Send of what is owed as much as the windows take."""
        for stream in [*self.owed]:
            rest = self._paid(stream, self.owed[stream])
            if rest:
                self.owed[stream] = rest
            else:
                del self.owed[stream]

    def _paid(self, stream: int, body: bytes) -> bytes:
        at = 0
        try:
            while at < len(body):
                window = self._h2.local_flow_control_window(stream)
                size = min(window, self._h2.max_outbound_frame_size, len(body) - at)
                if size <= 0:
                    break
                self._h2.send_data(stream, body[at : at + size], end_stream=at + size == len(body))
                at += size
        except ProtocolError:
            return b""  # given up
        return body[at:]

    def reset(self, stream: int, code: ErrorCodes) -> None:
        """End a stream early, unless its caller has."""
        self.owed.pop(stream, None)
        with contextlib.suppress(ProtocolError):
            self._h2.reset_stream(stream, code)

    def goodbye(self, code: int) -> bytes:
        """GOAWAY, past the library, which answers nothing more once it has said that."""
        last = self._h2.highest_inbound_stream_id
        return GoAwayFrame(0, last_stream_id=last, error_code=code).serialize()


def _headers(response: Response) -> list[tuple[bytes, bytes]]:
    """Without a length: the last frame says that it is the last."""
    found = [(b":status", b"%d" % response.status), (b"content-type", response.content_type)]
    for line in response.headers.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            found.append((name.lower(), value.strip()))
    return found
