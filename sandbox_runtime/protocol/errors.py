"""What can break between host and guest.

GuestFailed (of the runtime's tree)
├── ProtocolViolation   the guest sent what the protocol forbids: its channel is over, nothing else is
├── RequestFailed       the agent answered with a failure; `code` is one of `messages.FAILURES`, or newer
└── ChannelClosed       the connection ended, or the guest did not answer in time
"""

from __future__ import annotations

from sandbox_runtime.errors import GuestFailed

MESSAGE_CHARACTERS = 4000


class ProtocolViolation(GuestFailed):
    """The guest broke the rules of the wire; `reason` is one word for metrics, `detail` has the numbers."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__("protocol", f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RequestFailed(GuestFailed):
    """The agent could not do what was asked. The message is the guest's: short, and nothing that a terminal acts on."""

    def __init__(self, method: str, code: str, message: str) -> None:
        code, message = (_harmless(text) for text in (code, message))
        super().__init__(method, f"{code}: {message}")
        self.method, self.code, self.message = method, code, message


def _harmless(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:MESSAGE_CHARACTERS])


class ChannelClosed(GuestFailed):
    """Nothing comes from this guest any more, or not in the time that was allowed."""
