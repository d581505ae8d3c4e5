"""The processes beside kube-scheduler: `bulkhead serve`, the empty extender, Redis, and the certificates between them."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from benchmarks.control_plane.plane import ControlPlane
from benchmarks.control_plane.ports import ControlPlaneBroken, free_ports, is_open, wait_until

ROOT: Final = Path(__file__).parents[2]
ACCOUNT: Final = "system:serviceaccount:kube-system:bulkhead-scheduler"
EMPTY: Final = ROOT / "tests" / "kubernetes" / "empty_extender" / "main.go"
NAMES: Final = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Process:
    """One process with its log; as a context it ends with the block."""

    def __init__(self, name: str, directory: Path, argv: Sequence[str]) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("wb") as log:
            self._popen = subprocess.Popen(
                argv, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._popen.terminate()
        try:
            self._popen.wait(30)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._popen.pid

    def check(self) -> None:
        """Raises ControlPlaneBroken with the end of its log once it has ended."""
        if self._popen.poll() is not None:
            raise ControlPlaneBroken(f"{self.name} ended: {self.log.read_text(errors='replace')[-2000:]}")


class Certificates:
    """An authority, a server's certificate and a caller's, made by openssl in a directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.authority = directory / "authority.crt"
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        _openssl(
            directory, "req", "-x509", *key, "-days", "2", "-subj", "/CN=benchmark", "-keyout", "authority.key",
            "-out", "authority.crt",
        )  # fmt: skip
        (directory / "extensions").write_text(NAMES)
        for name in ("server", "caller"):
            _openssl(
                directory, "req", "-new", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out",
                f"{name}.csr",
            )  # fmt: skip
            _openssl(
                directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "authority.crt", "-CAkey", "authority.key",
                "-CAcreateserial", "-extfile", "extensions", "-out", f"{name}.crt", "-days", "2",
            )  # fmt: skip

    def __getitem__(self, name: str) -> str:
        return str(self._directory / name)

    @property
    def server_flags(self) -> list[str]:
        """How a server is told of them; `bulkhead serve` and the empty extender have the same flags."""
        return [
            f"--tls-cert={self['server.crt']}",
            f"--tls-key={self['server.key']}",
            f"--client-ca={self['authority.crt']}",
        ]


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)


class Serve(Process):
    """`bulkhead serve`, over TLS as shipped, with plain HTTP for health on loopback."""

    def __init__(
        self, plane: ControlPlane, certificates: Certificates, tenants: Path, store: str, *flags: str
    ) -> None:
        self.port, self._health = free_ports(2)
        super().__init__(
            "serve",
            plane.directory,
            [sys.executable, "-m", "scheduler", "serve", f"--kubeconfig={plane.kubeconfig(ACCOUNT)}",
             f"--tenants={tenants}", f"--store={store}", f"--listen=127.0.0.1:{self.port}",
             f"--health-listen=127.0.0.1:{self._health}", *certificates.server_flags, *flags],
        )  # fmt: skip

    def wait_ready(self, seconds: float = 180) -> None:
        """Until everything is listed and the ledger compared."""
        wait_until("bulkhead serve is ready", self._is_ready, seconds)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of the pages of health."""
        connection = http.client.HTTPConnection("127.0.0.1", self._health, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def _is_ready(self) -> bool | None:
        self.check()
        try:
            return self.get("/readyz")[0] == 200 or None
        except OSError:
            return None


class EmptyExtender(Process):
    """The Go program; built where it is not, or not up to date."""

    def __init__(self, directory: Path, certificates: Certificates) -> None:
        (self.port,) = free_ports(1)
        binary = build_empty_extender(directory.parent)
        super().__init__(
            "empty", directory, [str(binary), f"-listen=127.0.0.1:{self.port}", *certificates.server_flags]
        )

    def wait_ready(self) -> None:
        """Until it listens."""
        wait_until("the empty extender listens", lambda: is_open(self.port) or None)


def build_empty_extender(directory: Path) -> Path:
    """`go build`, into the directory."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    binary = directory / "empty-extender"
    subprocess.run([go, "build", "-o", str(binary), str(EMPTY)], check=True, capture_output=True, cwd=EMPTY.parent,
                   env={**os.environ, "GO111MODULE": "off"})  # fmt: skip
    return binary


class Redis(Process):
    """A redis-server of its own, set as docs/store.md tells."""

    def __init__(self, directory: Path) -> None:
        (self.port,) = free_ports(1)
        data = directory / "redis"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        super().__init__(
            "redis", directory,
            [shutil.which("redis-server") or "redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
             "--dir", str(data), "--save", "", "--appendonly", "yes", "--appendfsync", "always",
             "--maxmemory-policy", "noeviction"],
        )  # fmt: skip

    @property
    def address(self) -> str:
        """As `--store` takes it."""
        return f"redis://127.0.0.1:{self.port}"

    def wait_ready(self) -> None:
        """Until it answers."""
        wait_until("redis-server answers", self._answers)

    def _answers(self) -> bool | None:
        self.check()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG") or None
        except OSError:
            return None
