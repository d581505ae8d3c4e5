"""Certificates made by openssl for one test: an authority, a server, callers that are known, foreign or expired."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from scheduler.extender.server import TlsFiles

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Authority:
    """A certificate authority in a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        self.directory, self.name = directory, name
        self.certificate, self.key = directory / f"{name}.crt", directory / f"{name}.key"
        self._openssl(
            *(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", f"/CN={name}", "-keyout", str(self.key), "-out", str(self.certificate)),
        )

    def issue(self, name: str, *validity: str) -> tuple[Path, Path]:
        """A certificate and its key; `validity` are openssl's, one day unless given."""
        key, asked = self.directory / f"{name}.key", self.directory / f"{name}.csr"
        signed = self.directory / f"{name}-{self.name}.crt"
        extensions = self.directory / "extensions"
        extensions.write_text(NAMES)
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", str(key), "-out", str(asked)),
        )
        self._openssl(
            *("x509", "-req", "-in", str(asked), "-CA", str(self.certificate), "-CAkey", str(self.key)),
            *("-CAcreateserial", "-extfile", str(extensions), "-out", str(signed)),
            *(validity or ("-days", "1")),
        )
        return signed, key

    def context(self, pair: tuple[Path, Path] | None) -> ssl.SSLContext:
        """How a caller comes that trusts this authority and shows `pair`."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if pair:
            context.load_cert_chain(*pair)
        return context

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.directory)


def server_files(directory: Path) -> tuple[Authority, TlsFiles]:
    """An authority, and the files of a server whose callers it signs."""
    authority = Authority(directory, "authority")
    certificate, key = authority.issue("server")
    return authority, TlsFiles(certificate, key, authority.certificate)
