"""The exceptions of the runtime: a broken world, never a refusal (refusals are values, see `model.Refused`).

SandboxError
├── BadInput           an option, spec or file that the caller can mend; nothing was started
├── HostUnfit          this host lacks something; says what, why, and what to do about it
├── VmmFailed          the VMM did not start, broke its word or died; carries the phase and its last words
│   └── QmpFailed      the monitor answered with an error, with junk, or not in time
├── TraceRefused       a system call cannot be made in a process of ours: the kernel forbids it, or it is not as thought
├── TemplateUnusable   a stored template is missing, changed or made by another build; it is remade, not trusted
├── GuestFailed        the guest's agent answered with an error, broke the protocol, or not in time
├── StorageFailed      an image, disk or cache entry cannot be made, read or trusted
└── JournalCorrupt     what is written down about a sandbox cannot be read back
"""

from __future__ import annotations


class SandboxError(Exception):
    """Root of everything this package raises."""


class BadInput(SandboxError):
    """What was asked for cannot be; the caller can mend it."""


class HostUnfit(SandboxError):
    """The host cannot do this: `what` is missing, `why` it is needed or how it was found, `remedy` what helps."""

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(f"{what}: {why}; {remedy}")
        self.what, self.why, self.remedy = what, why, remedy


class VmmFailed(SandboxError):
    """The virtual machine monitor failed in `phase`; `last_words` is the end of what it wrote, as text of no trust."""

    def __init__(self, phase: str, why: str, last_words: str = "") -> None:
        super().__init__(f"{phase}: {why}" + (f"; it said: {last_words}" if last_words else ""))
        self.phase, self.why, self.last_words = phase, why, last_words


class QmpFailed(VmmFailed):
    """The monitor connection; `phase` is the command."""


class TraceRefused(SandboxError):
    """No system call can be made in another process."""


class TemplateUnusable(SandboxError):
    """A stored template must not be restored from."""


class GuestFailed(SandboxError):
    """The agent in the guest; `phase` is the request."""

    def __init__(self, phase: str, why: str) -> None:
        super().__init__(f"{phase}: {why}")
        self.phase, self.why = phase, why


class StorageFailed(SandboxError):
    """A disk image, a layer or a mount."""


class JournalCorrupt(SandboxError):
    """The journal of a sandbox cannot be read back."""
