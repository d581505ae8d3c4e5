"""A command's end of the control socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from sandbox_runtime.errors import BadInput, SandboxError
from sandbox_runtime.lifecycle import journal
from sandbox_runtime.paths import Paths
from sandbox_runtime.supervisor import frames
from sandbox_runtime.supervisor.frames import Kind


class Gone(SandboxError):
    """The supervisor does not answer: it has ended, or it was killed."""


class Client:
    """One connection; the caller closes it (`with`)."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._decoder = frames.Decoder()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def fileno(self) -> int:
        """For a selector."""
        return self.link.fileno()

    def send(self, **fields: Any) -> None:
        """One JSON frame."""
        self.give(frames.words(**fields))

    def give(self, data: bytes) -> None:
        """Bytes of frames. Raises Gone."""
        try:
            self.link.sendall(data)
        except OSError as error:
            raise Gone(f"the supervisor is gone: {error.strerror}") from error

    def take(self) -> Iterator[tuple[Kind, bytes]]:
        """Wait once, and give the frames that are complete. Raises Gone at the end of the connection."""
        try:
            data = self.link.recv(1 << 18)
        except OSError as error:
            raise Gone(f"the supervisor is gone: {error.strerror}") from error
        if not data:
            raise Gone("the supervisor is gone")
        yield from self._decoder.feed(data)

    def answer(self) -> dict[str, Any]:
        """Wait for one JSON frame."""
        while True:
            for kind, payload in self.take():
                if kind is Kind.JSON:
                    return frames.parse(payload)


def connect(paths: Paths, sandbox_id: str) -> Client:
    """A connection to a running sandbox. BadInput where there is none of that id, Gone where it has ended."""
    directory = paths.sandbox(sandbox_id)
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(str(directory / journal.CONTROL))
    except OSError:
        link.close()
        if not directory.is_dir():
            raise BadInput(f"there is no sandbox {sandbox_id}") from None
        raise Gone(f"sandbox {sandbox_id} does not run") from None
    return Client(link)


def ask(paths: Paths, sandbox_id: str, **fields: Any) -> dict[str, Any]:
    """One question, one answer."""
    with connect(paths, sandbox_id) as client:
        client.send(**fields)
        return client.answer()
