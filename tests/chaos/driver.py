"""Makes work all the time: pods come and go by a seed, and who is being deleted is removed, as a kubelet would."""

from __future__ import annotations

import http.client
import random as randoms
import threading
import time

from tests.chaos.cast import OUTSIDER, PROBE, SIZES, TENANTS, Limits, pod
from tests.chaos.judge import Judge, Standing
from tests.support.kubernetes import Api, ControlPlane

WEIGHTS = {"agents": 5, "scrapers": 4, "vault": 1, "platform": 5, "batch": 6, OUTSIDER: 1}
OUTSIDERS = Limits(4_000, 8_192, 12)
PROBE_EVERY_S = 0.5
GRACE_S = 0.5
KEPT = 0.6
"""Of its limit, what the pods of a tenant may ask for together when everything has to find its place."""


class Driver:
    """Two threads, one that creates and deletes, one that stands for the kubelets.

    Attributes:
        paused: nothing new is created and nothing deleted while set; the kubelets go on.
    """

    def __init__(self, plane: ControlPlane, judge: Judge, seed: int, per_second: float) -> None:
        self._plane, self._judge, self._random = plane, judge, randoms.Random(seed)  # noqa: S311
        self._pause_s = 1 / per_second
        self._run = f"s{seed}"
        self._number = 0
        self.created = 0
        self.paused = threading.Event()
        self._fresh = True
        self._stop = threading.Event()
        self._idle = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name="driver", daemon=True),
            threading.Thread(target=self._reap, name="kubelets", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join(70)

    def pause(self) -> None:
        """Nothing is under way when this returns."""
        self._idle.clear()
        self.paused.set()
        self._idle.wait(70)

    def resume(self) -> None:
        """Goes on."""
        self.paused.clear()

    # --- the users ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        api, probed = self._plane.api(), 0.0
        while not self._stop.is_set():
            if self.paused.is_set():
                self._idle.set()
                self._fresh = True
                time.sleep(0.05)
                continue
            began = time.monotonic()
            try:
                if self._fresh:
                    self._crowd(api)
                    self._fresh = False
                if began - probed > PROBE_EVERY_S:
                    probed = began
                    self.create(api, PROBE)
                    self._retire_probes(api)
                self._act(api)
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
            time.sleep(max(0.0, self._pause_s - (time.monotonic() - began)))

    def _act(self, api: Api) -> None:
        namespace = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        here, crowded = self._here(namespace)
        if here and (crowded or self._random.random() < 0.42):
            self.delete(api, self._random.choice(here))
        if not crowded:
            self.create(api, namespace)

    def _here(self, namespace: str) -> tuple[list[Standing], bool]:
        """The pods of a namespace, and whether they ask for a quarter more than they may have."""
        here = [one for one in self._judge.snapshot() if one.namespace == namespace and not one.leaving]
        limits = TENANTS.get(namespace, OUTSIDERS)
        return here, len(here) > 1.25 * limits.pods or sum(one.cpu for one in here) > 1.25 * limits.cpu

    def _crowd(self, api: Api) -> None:
        """Until nobody has quota left: only then can anybody get too much."""
        for namespace in WEIGHTS:
            for _ in range(TENANTS.get(namespace, OUTSIDERS).pods):
                if self.paused.is_set() or self._here(namespace)[1]:
                    break
                self.create(api, namespace)

    def create(self, api: Api, namespace: str) -> None:
        """One more pod."""
        self._number += 1
        cpu = self._random.choice(SIZES[namespace])
        priority = self._random.choice((0, 0, 0, 1, 2)) if namespace in TENANTS else 0
        name = f"{self._run}-{self._number}"
        self.created += api.create(pod(namespace, name, cpu, cpu, priority)).ok

    def delete(self, api: Api, found: Standing) -> None:
        """As its owner does: with its grace period where it is bound."""
        self._judge.doomed.add(found.uid)
        path = f"/api/v1/namespaces/{found.namespace}/pods/{found.name}"
        api.call("DELETE", path, {"preconditions": {"uid": found.uid}})

    def _retire_probes(self, api: Api) -> None:
        for found in self._judge.snapshot():
            if found.namespace == PROBE and found.node and not found.leaving:
                self.delete(api, found)

    def trim(self) -> None:
        """Deletes at random until every tenant that is left asks for less than it may have."""
        api = self._plane.api()
        for namespace, limits in TENANTS.items():
            here = [one for one in self._judge.snapshot() if one.namespace == namespace and not one.leaving]
            self._random.shuffle(here)
            while here and (
                sum(one.cpu for one in here) > KEPT * limits.cpu
                or sum(one.memory for one in here) > KEPT * limits.memory
                or len(here) > KEPT * limits.pods
            ):
                self.delete(api, here.pop())

    # --- the kubelets ---------------------------------------------------------------------------------------

    def _reap(self) -> None:
        api, since = self._plane.api(), dict[str, float]()
        while not self._stop.is_set():
            now = time.monotonic()
            for found in self._judge.snapshot():
                if found.leaving and now - since.setdefault(found.uid, now) > GRACE_S:
                    try:
                        api.delete(f"/api/v1/namespaces/{found.namespace}/pods/{found.name}")
                    except (OSError, http.client.HTTPException):
                        time.sleep(0.2)
            time.sleep(0.1)
