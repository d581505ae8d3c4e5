"""A real control plane on loopback: etcd, kube-apiserver and, when asked, kube-controller-manager.

Everything it needs it makes itself, in a directory of its own: ports that were free a moment ago, a serving
certificate, a signing key for service accounts, and a token for each user. `stop` ends what `start` began and
proves that no process and no port is left.
"""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeVar

import pytest

T = TypeVar("T")
ROOT: Final = Path(__file__).parents[2]
ADMIN: Final = "platform-admin"
CONTROLLERS: Final = "system:kube-controller-manager"
START_SECONDS: Final = 120
JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"


class Answer(NamedTuple):
    """Status and decoded body of one request."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class Api:
    """One user's connection. Answers are values, refusals included."""

    def __init__(self, port: int, authority: Path, token: str) -> None:
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", port, context=ssl.create_default_context(cafile=str(authority)), timeout=60
        )
        self._token = token

    def call(self, method: str, path: str, body: object = None, content_type: str = JSON) -> Answer:
        try:
            return self._call(method, path, body, content_type)
        except (ConnectionError, ssl.SSLEOFError, http.client.HTTPException):
            self._connection.close()  # the server ends connections that idle; a request on one was never read
            return self._call(method, path, body, content_type)

    def _call(self, method: str, path: str, body: object, content_type: str) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type, "Accept": JSON}
        self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        is_json = (answer.getheader("Content-Type") or "").startswith(JSON)
        return Answer(answer.status, json.loads(text) if is_json and text else {"message": text.decode()})

    def get(self, path: str) -> Answer:
        return self.call("GET", path)

    def create(self, manifest: Mapping[str, Any], namespace: str = "") -> Answer:
        return self.call("POST", collection(manifest, namespace), manifest)

    def replace(self, path: str, manifest: Mapping[str, Any]) -> Answer:
        return self.call("PUT", path, manifest)

    def merge(self, path: str, patch: Mapping[str, Any]) -> Answer:
        return self.call("PATCH", path, patch, MERGE)

    def apply(self, manifest: Mapping[str, Any]) -> Answer:
        """Server-side apply, as the product does it."""
        path = f"{collection(manifest)}/{manifest['metadata']['name']}?fieldManager=bulkhead&force=true"
        return self.call("PATCH", path, manifest, APPLY)

    def delete(self, path: str) -> Answer:
        return self.call("DELETE", path, {"gracePeriodSeconds": 0})

    def close(self) -> None:
        self._connection.close()


def collection(manifest: Mapping[str, Any], namespace: str = "") -> str:
    """The path under which objects of this kind stand."""
    version, kind = manifest["apiVersion"], manifest["kind"].lower()
    plural = (
        f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es" if kind.endswith(("s", "x")) else f"{kind}s"
    )
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    place = namespace or manifest["metadata"].get("namespace", "")
    return f"{root}/namespaces/{place}/{plural}" if place else f"{root}/{plural}"


def wait_until(what: str, look: Callable[[], T | None], seconds: float = 30) -> T:
    """What `look` finds; a system that never gets there fails the test with its name."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return found


class ControlPlane:
    """Users are (name, groups); everybody gets a token."""

    def __init__(self, tools: Path, directory: Path, users: Mapping[str, tuple[str, ...]]) -> None:
        self._tools, self._directory = tools, directory
        self._users = {ADMIN: ("system:masters",), CONTROLLERS: (), **users}
        self._tokens = {name: secrets.token_hex(16) for name in self._users}
        self._processes: list[subprocess.Popen[bytes]] = []
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
        return self._directory / "certificates" / "apiserver.crt"

    @property
    def pids(self) -> list[int]:
        """Of every process that was started."""
        return [process.pid for process in self._processes]

    @property
    def ports(self) -> list[int]:
        """Where etcd and kube-apiserver listen."""
        return [self._etcd_port, self._peer_port, self.port]

    def api(self, user: str = ADMIN) -> Api:
        """A connection of a user; closed with the control plane."""
        api = Api(self.port, self.authority, self._tokens[user])
        self._apis.append(api)
        return api

    def api_with_token(self, token: str) -> Api:
        """A connection of whoever the token is of."""
        api = Api(self.port, self.authority, token)
        self._apis.append(api)
        return api

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """A kubeconfig file of a user."""
        path = self._directory / f"{user.replace(':', '-')}.kubeconfig"
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
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig(CONTROLLERS)}",
            f"--service-account-private-key-file={self._directory}/accounts.key",
            f"--root-ca-file={self.authority}",
            f"--cert-dir={self._directory}/controller-certificates",
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
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
        shutil.rmtree(self._directory)
        assert all(process.returncode is not None for process in self._processes)
        assert not [port for port in self.ports if is_open(port)], "a port is still open"

    def _start(self) -> None:
        self._directory.mkdir()
        key = self._directory / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        users = self._directory / "users.csv"
        users.touch(0o600)
        users.write_text(
            "".join(f'{self._tokens[u]},{u},{u},"{",".join(g)}"\n' for u, g in self._users.items())
        )
        self._run(
            "etcd",
            f"--data-dir={self._directory}/etcd",
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
        """Start kube-apiserver, also again after `kill_api_server`; returns when it is ready."""
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--cert-dir={self._directory}/certificates",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--token-auth-file={self._directory}/users.csv",
            f"--service-account-key-file={self._directory}/accounts.key",
            f"--service-account-signing-key-file={self._directory}/accounts.key",
            "--service-account-issuer=https://bulkhead.test",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",  # as every real cluster has it: what refuses must be our rules
        )
        wait_until("kube-apiserver is ready", self._ready, START_SECONDS)

    def kill_api_server(self) -> None:
        """End kube-apiserver as a power cut would."""
        process = next(each for each in self._processes if Path(str(each.args[0])).name == "kube-apiserver")  # type: ignore[index]
        self._processes.remove(process)
        process.kill()
        process.wait(20)

    def _ready(self) -> bool | None:
        assert all(process.poll() is None for process in self._processes), self.log("kube-apiserver")[-2000:]
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
        return (self._directory / f"{binary}.log").read_text(errors="replace")

    def _run(self, binary: str, *flags: str) -> None:
        with (self._directory / f"{binary}.log").open("wb") as log:
            argv = [str(self._tools / binary), *flags]
            self._processes.append(subprocess.Popen(argv, stdout=log, stderr=log, cwd=self._directory))


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tools() -> Path:
    """Where the binaries are; the test skips where they are not."""
    where = subprocess.run(
        ["sh", str(ROOT / "tests/kubernetes/build.sh"), "--where"], capture_output=True, text=True, check=True
    )
    path = Path(where.stdout.strip())
    for binary in ("etcd", "kube-apiserver"):
        if not (path / binary).exists():
            pytest.skip(f"no {binary} in {path}: run `make kubernetes-tools` or set KUBEBUILDER_ASSETS")
    if shutil.which("openssl") is None:
        pytest.skip("no openssl, which makes the signing key of service accounts")
    return path


def control_plane(directory: Path, users: Mapping[str, tuple[str, ...]]) -> Iterator[ControlPlane]:
    """The body of a fixture: a control plane in a directory that does not exist yet."""
    with ControlPlane(tools(), directory, users) as plane:
        yield plane
