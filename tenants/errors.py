"""What can break in this package: one root, so that a caller can catch everything with one name.

TenantsError
├── QuantityError        a text that is no Kubernetes quantity (also a ValueError, as parsers expect)
├── LedgerError          the ledger was asked about a node, pod or dimension that it does not have
└── ClusterError         the API server could not be reached or answered with a failure
    └── KubeconfigError  no usable way to reach an API server

Expected refusals (a pod over quota, two tenants that may not share a node, a broken tenant file) are values,
never exceptions.
"""

from __future__ import annotations


class TenantsError(Exception):
    """Root of every exception that this package raises on purpose."""


class QuantityError(TenantsError, ValueError):
    """A text that is not the amount it should be; `suggestion` is what was probably meant, or empty."""

    def __init__(self, text: str, why: str, suggestion: str = "") -> None:
        self.text, self.why, self.suggestion = text, why, suggestion
        hint = f"; did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(f"{text!r} {why}{hint}")


class LedgerError(TenantsError):
    """The caller named a tenant, pod or dimension that this ledger does not hold."""


class ClusterError(TenantsError):
    """A request to the API server failed; `status` is the HTTP status, or 0 when no answer came."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class KubeconfigError(ClusterError):
    """Neither a kubeconfig nor a service account gives a way to reach an API server."""
