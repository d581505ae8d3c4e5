"""etcd, kube-apiserver and, when asked, kube-controller-manager and kube-scheduler.

Everything it needs it makes itself, in a directory of its own: ports that were free a moment ago, a serving
certificate, a signing key for service accounts, and a token for each user. `stop` ends what `start` began and
proves that no process and no port is left.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from benchmarks.control_plane.api import Api
from benchmarks.control_plane.ports import ControlPlaneBroken, free_ports, is_open, wait_until

ADMIN: Final = "platform-admin"
CONTROLLERS: Final = "system:kube-controller-manager"
SCHEDULER: Final = "system:kube-scheduler"
START_SECONDS: Final = 120


class ControlPlane:
    """Users are (name, groups); everybody gets a token. `server_flags` are more flags of kube-apiserver."""

    def __init__(
        self,
        tools: Path,
        directory: Path,
        users: Mapping[str, tuple[str, ...]],
        server_flags: Sequence[str] = (),
    ) -> None:
        self._tools, self.directory = tools, directory
        self._server_flags = server_flags
        self._users = {ADMIN: ("system:masters",), CONTROLLERS: (), SCHEDULER: (), **users}
        self._tokens = {name: secrets.token_hex(16) for name in self._users}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._argv: dict[str, list[str]] = {}
        self._apis: list[Api] = []
        self._etcd_port, self._peer_port, self.port = free_ports(3)

    def __enter__(self) -> ControlPlane:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def authority(self) -> Path:
        """The certificate that the API server signed for itself."""
        return self.directory / "certificates" / "apiserver.crt"

    @property
    def pids(self) -> list[int]:
        """Of every process that was started."""
        return [process.pid for process in self._processes.values()]

    def pid(self, binary: str) -> int:
        """Of one process that runs."""
        return self._processes[binary].pid

    @property
    def ports(self) -> list[int]:
        """Where etcd and kube-apiserver listen."""
        return [self._etcd_port, self._peer_port, self.port]

    def api(self, user: str = ADMIN) -> Api:
        """A connection of a user; closed with the control plane."""
        api = Api(self.port, self.authority, self._tokens[user])
        self._apis.append(api)
        return api

    def token(self, user: str = ADMIN) -> str:
        """What a user shows."""
        return self._tokens[user]

    def api_with_token(self, token: str) -> Api:
        """A connection of whoever the token is of."""
        api = Api(self.port, self.authority, token)
        self._apis.append(api)
        return api

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """A kubeconfig file of a user."""
        path = self.directory / f"{user.replace(':', '-')}.kubeconfig"
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(config))
        return path

    def start_controllers(self, *only: str) -> None:
        """The named controllers of kube-controller-manager, each with its own service account."""
        (port,) = free_ports(1)
        self.start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig(CONTROLLERS)}",
            f"--service-account-private-key-file={self.directory}/accounts.key",
            f"--root-ca-file={self.authority}",
            f"--cert-dir={self.directory}/controller-certificates",
            f"--controllers={','.join(only)}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
        )

    def stop(self) -> None:
        """Ends every process that was started, latest first, and proves that nothing is left."""
        for api in self._apis:
            api.close()
        left = [binary for binary in reversed(self._processes) if self.end(binary) is None]
        shutil.rmtree(self.directory)
        left += [str(port) for port in self.ports if is_open(port)]
        if left:
            raise ControlPlaneBroken(f"still there after the end: {', '.join(left)}")

    def end(self, binary: str) -> int | None:
        """Ends one process; the exit status."""
        process = self._processes[binary]
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
        return process.returncode

    def _start(self) -> None:
        self.directory.mkdir()
        key = self.directory / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        users = self.directory / "users.csv"
        users.touch(0o600)
        users.write_text(
            "".join(f'{self._tokens[u]},{u},{u},"{",".join(g)}"\n' for u, g in self._users.items())
        )
        self.start(
            "etcd",
            f"--data-dir={self.directory}/etcd",
            f"--listen-client-urls=http://127.0.0.1:{self._etcd_port}",
            f"--advertise-client-urls=http://127.0.0.1:{self._etcd_port}",
            f"--listen-peer-urls=http://127.0.0.1:{self._peer_port}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{self._peer_port}",
            f"--initial-cluster=default=http://127.0.0.1:{self._peer_port}",
            "--unsafe-no-fsync",
        )
        wait_until("etcd listens", lambda: is_open(self._etcd_port) or None, START_SECONDS)
        self.start_api_server()

    def start_api_server(self) -> None:
        """Starts kube-apiserver, also again after `kill`; returns when it is ready."""
        self.start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--cert-dir={self.directory}/certificates",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--token-auth-file={self.directory}/users.csv",
            f"--service-account-key-file={self.directory}/accounts.key",
            f"--service-account-signing-key-file={self.directory}/accounts.key",
            "--service-account-issuer=https://bulkhead.test",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",  # as every real cluster has it: what refuses must be our rules
            *self._server_flags,
        )
        wait_until("kube-apiserver is ready", self._ready, START_SECONDS)

    def kill(self, binary: str) -> None:
        """Ends one process as a power cut would; `start` may bring it back."""
        process = self._processes[binary]
        process.kill()
        process.wait(20)

    def kill_api_server(self) -> None:
        """The same for kube-apiserver; `start_api_server` brings it back."""
        self.kill("kube-apiserver")

    def _ready(self) -> bool | None:
        if any(process.poll() is not None for process in self._processes.values()):
            raise ControlPlaneBroken(self.log("kube-apiserver")[-2000:])
        if not (self.authority.exists() and is_open(self.port)):
            return None
        api = Api(self.port, self.authority, self._tokens[ADMIN])
        try:
            return api.get("/readyz").ok or None
        except OSError:
            return None
        finally:
            api.close()

    def log(self, binary: str) -> str:
        """What a component has written so far."""
        return (self.directory / f"{binary}.log").read_text(errors="replace")

    def start(self, binary: str, *flags: str) -> None:
        """Starts a component; one of that name that ran before must have ended."""
        self._argv[binary] = [str(self._tools / binary), *flags]
        (self.directory / f"{binary}.log").unlink(missing_ok=True)
        self.start_again(binary)

    def start_again(self, binary: str) -> None:
        """Starts a component that has ended as it was started before; it finds what it had written, its log goes on."""
        with (self.directory / f"{binary}.log").open("ab") as log:
            self._processes[binary] = subprocess.Popen(
                self._argv[binary], stdout=log, stderr=log, cwd=self.directory
            )

    def wait_ready(self) -> None:
        """Until kube-apiserver says that it is ready."""
        wait_until("kube-apiserver is ready", self._ready, START_SECONDS)

    @property
    def etcd_port(self) -> int:
        """Where etcd answers clients, over HTTP too."""
        return self._etcd_port
