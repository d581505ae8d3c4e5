"""A real kube-scheduler on a control plane: its configuration, its readiness, its metrics, its end."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.control_plane.plane import SCHEDULER, ControlPlane
from benchmarks.control_plane.ports import ControlPlaneBroken, free_ports, wait_until

SAMPLE: Final = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)


class KubeScheduler:
    """kube-scheduler with the fields of a KubeSchedulerConfiguration beside those that every run shares."""

    def __init__(self, plane: ControlPlane, fields: Mapping[str, Any], flags: Sequence[str] = ()) -> None:
        self._plane = plane
        (self._port,) = free_ports(1)
        self._connection: http.client.HTTPSConnection | None = None
        config = plane.directory / "scheduler.json"
        config.write_text(json.dumps(configuration(str(plane.kubeconfig(SCHEDULER)), fields)))
        plane.start(
            "kube-scheduler",
            f"--config={config}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={plane.directory}/scheduler-certificates",
            f"--authentication-kubeconfig={plane.kubeconfig(SCHEDULER)}",
            f"--authorization-kubeconfig={plane.kubeconfig(SCHEDULER)}",
            "--authentication-tolerate-lookup-failure=true",
            "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics,/debug/*",
            *flags,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._plane.pid("kube-scheduler")

    def wait_ready(self, seconds: float = 120) -> None:
        """Until every informer has its list and pods are taken from the queue."""
        wait_until("kube-scheduler is ready", self._ready, seconds, pause=0.005)
        self.hang_up()

    def metrics(self) -> dict[str, float]:
        """Every sample by its name with labels, `le` and all."""
        text = self.get("/metrics").decode()
        return {name + labels: float(value) for name, labels, value in SAMPLE.findall(text)}

    def get(self, path: str) -> bytes:
        """Body of one of its own pages. Raises ControlPlaneBroken where it does not answer with 200."""
        try:
            return self._get(path)
        except http.client.RemoteDisconnected:  # it ends connections that idle; that request was never read
            self.hang_up()
            return self._get(path)

    def _get(self, path: str) -> bytes:
        if self._connection is None:
            unverified = ssl.create_default_context()  # it signs its own certificate, on loopback
            unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, context=unverified, timeout=60
            )
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ControlPlaneBroken(f"kube-scheduler {path}: {answer.status} {body[:300]!r}")
        return body

    def end(self) -> None:
        """Ends the process."""
        self.hang_up()
        self._plane.end("kube-scheduler")

    def hang_up(self) -> None:
        """Closes the connection to its pages; the process goes on."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _ready(self) -> bool | None:
        try:
            self.get("/readyz")
        except (OSError, http.client.HTTPException, ControlPlaneBroken):
            self.hang_up()
            return None
        return True


def configuration(kubeconfig: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A KubeSchedulerConfiguration: client limits out of the way and no election, for every variant alike."""
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig, "qps": 10_000, "burst": 10_000},
        "leaderElection": {"leaderElect": False},
        **fields,
    }
