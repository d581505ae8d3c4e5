"""One stream of bytes between host and guest, either way, with its credit. Pure: bytes in, frames out.

Credit keeps a slow reader from holding up the others and bounds memory: what was sent and not yet consumed never
exceeds WINDOW, and a guest that sends more has broken the protocol.
"""

from __future__ import annotations

from collections import deque

from sandbox_runtime.protocol.errors import ProtocolViolation
from sandbox_runtime.protocol.frames import CREDIT, CREDIT_BYTES, DATA, END, MAX_DATA, STOP, WINDOW, Frame

_GRANT_AT = WINDOW // 4


class Incoming:
    """From guest to host. Holds at most WINDOW bytes; `ended` once the guest said so and everything was taken."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False  # the guest sent END
        self.stopped = False
        self._chunks: deque[bytes] = deque()
        self._uncredited = 0
        self._owed = 0

    @property
    def waiting(self) -> bool:
        """Whether there are bytes to take."""
        return bool(self._chunks)

    @property
    def ended(self) -> bool:
        """Whether nothing is there and nothing will come."""
        return self.closed and not self._chunks

    def arrive(self, payload: bytes) -> None:
        """Take the payload of a DATA frame. Raises ProtocolViolation where the guest had no credit for it."""
        self._uncredited += len(payload)
        if self._uncredited > WINDOW:
            raise ProtocolViolation(
                "no-credit", f"stream {self.number}: {self._uncredited} bytes, window {WINDOW}"
            )
        if not payload:
            raise ProtocolViolation("empty-data", f"stream {self.number}")
        if not self.stopped:
            self._chunks.append(payload)

    def take(self) -> tuple[bytes, list[Frame]]:
        """The next bytes (empty: none now), and the credit to send for them."""
        if not self._chunks:
            return b"", []
        chunk = self._chunks.popleft()
        self._owed += len(chunk)
        if self._owed < _GRANT_AT or self.closed or self.stopped:
            return chunk, []
        grant, self._owed = self._owed, 0
        self._uncredited -= grant
        return chunk, [Frame(CREDIT, self.number, CREDIT_BYTES.pack(grant))]

    def stop(self) -> list[Frame]:
        """Want no more; what is under way is dropped until the guest's END."""
        if self.stopped or self.closed:
            return []
        self.stopped = True
        self._chunks.clear()
        return [Frame(STOP, self.number)]


class Outgoing:
    """From host to guest. `room` bytes may be sent now; `broken` once nobody in the guest reads."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.room = WINDOW
        self.broken = False
        self.closed = False  # we sent END

    def give(self, data: bytes | memoryview) -> tuple[int, list[Frame]]:
        """Frames for as much of `data` as there is room for, and how much that is; 0 after the end."""
        if self.closed or self.broken:
            return 0, []
        accepted = min(len(data), self.room)
        self.room -= accepted
        cuts = range(0, accepted, MAX_DATA)
        return accepted, [
            Frame(DATA, self.number, bytes(data[at : min(at + MAX_DATA, accepted)])) for at in cuts
        ]

    def credit(self, amount: int) -> None:
        """The guest consumed so much. Raises ProtocolViolation where it consumed more than it was sent."""
        if self.room + amount > WINDOW:
            raise ProtocolViolation(
                "too-much-credit", f"stream {self.number}: {self.room} + {amount}, window {WINDOW}"
            )
        self.room += amount

    def end(self) -> list[Frame]:
        """No more will be sent."""
        if self.closed:
            return []
        self.closed = True
        return [Frame(END, self.number)]
