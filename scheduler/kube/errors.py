"""What can break between here and the API server; a refusal is an `Answer`, never an exception.

SchedulerError
└── KubeError               root of this package
    ├── ApiUnavailable      no answer came: not connected, cut off or too late
    └── CredentialsUnusable no way to an API server could be read
"""

from __future__ import annotations

from scheduler.errors import SchedulerError


class KubeError(SchedulerError):
    """Root of what this package raises."""


class ApiUnavailable(KubeError):
    """No answer came. `unsent` says that the server cannot have seen the request, so that repeating it is safe."""

    def __init__(self, why: str, *, unsent: bool = False) -> None:
        super().__init__(why)
        self.unsent = unsent


class CredentialsUnusable(KubeError):
    """Neither a kubeconfig nor a service account says how to reach an API server."""
