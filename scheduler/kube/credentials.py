"""Who we are to the API server, and how we know that it is the one: kubeconfig or service account.

The `kubernetes` package reads both (client certificates, tokens, exec plugins, rotating service account tokens); what
leaves this module is an address, a TLS context and one header. Nothing here prints or logs any of them.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import yaml
from kubernetes import config
from kubernetes.client import Configuration

from scheduler.kube.errors import CredentialsUnusable

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
UNUSABLE: Final = (config.ConfigException, OSError, ValueError, KeyError, TypeError)


class Credentials:
    """One way to one API server. `refresh` and `reload` may run a plugin for seconds: call them in a thread."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._files: tuple[object, ...] = ()
        self.address: SplitResult = urlsplit("")
        self.server_name = ""
        self.authorization = ""
        self.context: ssl.SSLContext | None = None
        self._configuration: Any = None
        self.reload()

    def __repr__(self) -> str:
        return f"Credentials({self.address.geturl()})"

    @property
    def host(self) -> str:
        """The name to connect to."""
        return self.address.hostname or ""

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self.address.port or (443 if self.address.scheme == "https" else 80)

    def reload(self) -> None:
        """Read everything again: after the server has refused us, or when certificates were renewed.

        Raises:
            CredentialsUnusable: what is there cannot be used.
        """
        try:
            found = self._load()
            self._take(found)
            self._configuration = found
        except yaml.YAMLError as error:  # its text may quote the file, and so a token
            raise CredentialsUnusable("no way to an API server: the kubeconfig is not YAML") from error
        except UNUSABLE as error:
            raise CredentialsUnusable(f"no way to an API server: {error}") from error

    def refresh(self) -> None:
        """Renew a token that is about to expire, and take in certificate files that have changed.

        Raises:
            CredentialsUnusable: what was usable before cannot be read any more.
        """
        try:
            self._take(self._configuration)
        except UNUSABLE as error:
            raise CredentialsUnusable(f"cannot renew the credentials: {error}") from error

    def _take(self, found: Any) -> None:
        setting = found.auth_settings().get("BearerToken")  # its hook renews an expired token
        self.authorization = _header_value(setting["value"]) if setting else ""
        self.address = urlsplit(found.host)
        self.server_name = found.tls_server_name or self.host
        files = tuple(_stamp(path) for path in (found.ssl_ca_cert, found.cert_file, found.key_file))
        if self.address.scheme == "https" and (self.context is None or files != self._files):
            self.context = _context(found)
        self._files = files


def find(kubeconfig: Path | None = None, context: str | None = None) -> Credentials:
    """By kubeconfig (this one, $KUBECONFIG, ~/.kube/config), else by the pod's service account.

    Raises:
        CredentialsUnusable: neither is there, or what is there cannot be used.
    """

    loaders: Any = config  # the package has no type information

    def load() -> Any:
        configuration = Configuration()
        named = kubeconfig or context or os.environ.get("KUBECONFIG")
        if not named and not (Path.home() / ".kube" / "config").exists() and SERVICE_ACCOUNT.exists():
            loaders.load_incluster_config(client_configuration=configuration)
        else:
            path = str(kubeconfig) if kubeconfig else None
            loaders.load_kube_config(path, context, configuration, persist_config=False)
        return configuration

    return Credentials(load)


def _header_value(text: str) -> str:
    """A token file ends with a newline, which must not end the header; an inner one would smuggle another header."""
    value = text.strip()
    if not value.isascii() or not value.isprintable():
        raise ValueError("the token holds characters that no header may")
    return value


def _stamp(path: str | None) -> tuple[str, int]:
    return (path, Path(path).stat().st_mtime_ns) if path else ("", 0)


def _context(found: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=found.ssl_ca_cert or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not found.verify_ssl:  # the user's kubeconfig says insecure-skip-tls-verify
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if found.cert_file:
        context.load_cert_chain(found.cert_file, found.key_file)
    return context
