"""What can break on the wire between host and guest.

ProtocolViolation     the guest sent what the protocol forbids: its channel is over, nothing else is
"""

from __future__ import annotations


class ProtocolViolation(Exception):
    """The other end broke the rules of the wire; `reason` is one word for metrics, the text has the numbers."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
