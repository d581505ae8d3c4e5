"""One API server: finding it, speaking JSON with it, and its refusals as values. Used by `cluster`.

The `kubernetes` package reads kubeconfigs (exec plugins, client certificates, tokens) and service accounts;
the requests are plain ones on its connection pool, because server-side apply of any kind needs no typed model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import urllib3
from kubernetes import config as credentials
from kubernetes.client import ApiClient, Configuration

from tenants.errors import ClusterError, KubeconfigError

TIMEOUT: Final = urllib3.Timeout(connect=5, read=60)
# Apply is idempotent, so a PATCH may be repeated as freely as a GET.
RETRY: Final = urllib3.Retry(
    total=6, connect=2, read=2, backoff_factor=0.2, status_forcelist=(429, 502, 503, 504),
    allowed_methods=None, raise_on_status=False, respect_retry_after_header=True,
)  # fmt: skip
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML
_SHOWN_CHARS: Final = 1000  # the server repeats whole CEL expressions
Query = Mapping[str, str]


class Answer(msgspec.Struct, frozen=True):
    """HTTP status and decoded body; a refusal's body is a v1 Status."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the server did what was asked."""
        return self.status < 300

    @property
    def message(self) -> str:
        """The server's own sentence."""
        said = str(self.body.get("message") or f"HTTP status {self.status}")
        return said if len(said) <= _SHOWN_CHARS else f"{said[:_SHOWN_CHARS]}…"


class Connection:
    """Requests to one API server with one set of credentials. Thread-safe, as its pool is."""

    def __init__(self, configuration: Any) -> None:
        self.host: str = configuration.host
        self._configuration = configuration
        if not configuration.verify_ssl:  # the user's kubeconfig says so; one warning a request says no more
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._pool: Any = ApiClient(configuration).rest_client.pool_manager

    def ask(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Answer:
        """One request; raises ClusterError only when no answer came."""
        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": "bulkhead-tenants"}
        headers["Content-Type"] = APPLY if method == "PATCH" else "application/json"
        for setting in self._configuration.auth_settings().values():
            headers[setting["key"]] = setting["value"]
        content = None if body is None else msgspec.json.encode(body)
        try:
            answer = self._pool.request(
                method, url, body=content, headers=headers, timeout=TIMEOUT, retries=RETRY
            )
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"{self.host} does not answer: {_cause(error)}") from error
        return Answer(answer.status, _decoded(answer.data))

    def demand(
        self, method: str, path: str, query: Query | None = None, body: Any = None, *, purpose: str
    ) -> dict[str, Any]:
        """The body of a successful answer.

        Raises:
            ClusterError: the server refused; the message says for what `purpose`, why and what to do.
        """
        answer = self.ask(method, path, query, body)
        if not answer.ok:
            raise refused(answer, purpose)
        return answer.body


def refused(answer: Answer, purpose: str) -> ClusterError:
    """The error for a request that the server refused."""
    advice = {
        401: "; the credentials are not (or no longer) valid",
        403: "; ask a cluster administrator for a role that allows it",
    }.get(answer.status, "")
    if "being terminated" in answer.message:
        advice = "; wait until it is gone, then apply again"
    return ClusterError(f"cannot {purpose}: {answer.message}{advice}", answer.status)


def connect(kubeconfig: Path | None = None, context: str | None = None) -> Connection:
    """By kubeconfig (this one, $KUBECONFIG, ~/.kube/config), else by the pod's service account.

    Raises:
        KubeconfigError: neither is there, or what is there can't be used.
    """
    configuration = Configuration()
    loaders: Any = credentials  # the package has no type information
    named = kubeconfig or context or os.environ.get("KUBECONFIG")
    home = Path.home() / ".kube" / "config"
    try:
        if not named and not home.exists() and SERVICE_ACCOUNT.exists():
            loaders.load_incluster_config(client_configuration=configuration)
        else:
            loaders.load_kube_config(
                str(kubeconfig) if kubeconfig else None, context, configuration, persist_config=False
            )
    except (credentials.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        where = kubeconfig or os.environ.get("KUBECONFIG") or home
        raise KubeconfigError(
            f"no way to an API server: {error} (looked at {where}); name one by --kubeconfig and --context, "
            "or a directory by --to"
        ) from error
    return Connection(configuration)


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(content) if content else {}
    except msgspec.DecodeError:
        body = {"message": content[:200].decode(errors="replace").strip()}
    return body if isinstance(body, dict) else {"message": str(body)}


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason)
