"""One `bulkhead serve` process on TLS, with a health port; killed, paused, and its clock set, as often as wished."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scheduler.extender.server import TlsFiles
from tests.support.kubernetes import free_ports, wait_until
from tests.support.serving import ROOT

CLOCK = Path(__file__).with_name("clock.c")


class Replica:
    """A process that is started at the same ports again and again."""

    def __init__(
        self,
        directory: Path,
        kubeconfig: Path,
        tenants: Path,
        store: str,
        tls: TlsFiles,
        flags: Sequence[str],
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port, self.health = free_ports(2)
        self._offset = directory / "clock"
        self.set_clock(0)
        self._argv = [
            sys.executable, "-m", "scheduler", "serve", f"--kubeconfig={kubeconfig}", f"--tenants={tenants}",
            f"--store={store}", f"--listen=127.0.0.1:{self.port}", f"--health-listen=127.0.0.1:{self.health}",
            f"--tls-cert={tls.certificate}", f"--tls-key={tls.key}", f"--client-ca={tls.client_ca}", *flags,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = -1

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Starts it; `wait_ready` is another matter."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        preload = self.directory.parent / "clock.so"
        if preload.exists():
            environment |= {"LD_PRELOAD": str(preload), "CHAOS_CLOCK": str(self._offset)}
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self._argv, stdout=log, stderr=log, cwd=ROOT, env=environment)
        self.restarts += 1

    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process is not None and self.process.poll() is None

    def ready(self) -> bool:
        """What a readiness probe sees."""
        return self.get("/readyz") == 200

    def get(self, path: str, seconds: float = 1.0) -> int:
        """Status of a page of the health port; 0 where nobody answers in time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health, timeout=seconds)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def wait_ready(self, seconds: float = 90) -> None:
        """Until the readiness probe succeeds."""

        def look() -> bool | None:
            assert self.alive(), self.log()[-3000:]
            return self.ready() or None

        wait_until("bulkhead serve is ready", look, seconds)

    def send(self, number: int) -> None:
        """SIGKILL, SIGSTOP, SIGCONT…"""
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> int:
        """Ends it; its exit status."""
        if self.process is None:
            return 0
        if self.alive():
            self.send(number)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(30)

    def set_clock(self, seconds: int) -> None:
        """Its wall clock is the machine's and so many seconds."""
        with self._offset.open("r+b" if self._offset.exists() else "w+b") as file:
            file.write(struct.pack("q", seconds))

    def log(self) -> str:
        """What it has written so far."""
        return (self.directory / "log").read_text(errors="replace")


def build_clock(directory: Path) -> bool:
    """Compiles what sets one process's clock; False where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return False
    target = directory / "clock.so"
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", target, CLOCK], check=True, capture_output=True
    )
    return True


def warm_up() -> None:
    """Compiles what a first start would compile, so that a recovery is not measured with it."""
    argv = [sys.executable, "-c", "from scheduler.replay.warm_up import warm_up; warm_up()"]
    subprocess.run(argv, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
