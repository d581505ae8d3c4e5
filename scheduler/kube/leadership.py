"""One leader among the replicas, by a Lease. Nobody ever believes to lead longer than the lease that it wrote.

The holder counts from before it sent the renewal, everybody else from when the renewal was seen; both by a clock of
their own that only moves forward (hand in one that also counts a suspended machine, CLOCK_BOOTTIME), so clocks
need not agree. A holder that is cut off stops leading by itself, `margin_s` before anybody else may start.
"""

from __future__ import annotations

import asyncio
import random as randoms
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from scheduler.kube.connection import Connection
from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.objects import LeaseObject

NOT_FOUND: Final = 404
_LEASE = msgspec.json.Decoder(LeaseObject)


class Leadership:
    """One replica's part in the election. `run` never returns; cancel it, then `release`.

    Attributes:
        term: how many holders there were; grows with every change, so it can fence what an old leader still sends.
        holder: who holds the lease, as far as is known.
        last_error: why the latest attempt failed; for people.
    """

    def __init__(
        self,
        connection: Connection,
        identity: str,
        clock: Callable[[], float],
        wall: Callable[[], float],
        random: randoms.Random,
        *,
        namespace: str = "kube-system",
        name: str = "bulkhead-scheduler",
        lease_s: int = 15,
        retry_s: float = 2.0,
    ) -> None:
        self._connection, self._clock, self._wall, self._random = connection, clock, wall, random
        self._identity, self._lease_s, self._retry_s = identity, lease_s, retry_s
        self._margin_s = lease_s / 10
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._name, self._namespace = name, namespace
        self._until = 0.0
        self._seen: tuple[str, ...] = ()
        self._seen_at = 0.0
        self._lease: LeaseObject | None = None
        self.term = 0
        self.holder = ""
        self.last_error = ""

    @property
    def leads(self) -> bool:
        """Whether this replica leads at this moment; ask before each act, not once a round."""
        return self._clock() < self._until

    async def run(self) -> None:
        """Acquire and renew, for ever."""
        while True:
            await self.attempt()
            await asyncio.sleep(self._retry_s * self._random.uniform(0.8, 1.2))

    async def attempt(self) -> bool:
        """Try once to get or to keep the lease; whether this replica leads now. Never raises."""
        try:
            await self._attempt()
        except (ApiUnavailable, msgspec.DecodeError) as error:
            self.last_error = str(error)
            self._lease = None  # what the server holds now has to be read again
        return self.leads

    async def release(self) -> None:
        """Stop leading at once, and let the next replica start without waiting for the lease to run out."""
        lease, led = self._lease, self.leads
        self._until = 0.0
        if not led or lease is None:
            return
        spec = {**self._spec(lease), "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._put(lease, spec)
        except ApiUnavailable as error:
            self.last_error = str(error)
        self._lease = None

    async def _attempt(self) -> None:
        if not self.leads or self._lease is None:
            self._lease = await self._get()
        lease = self._lease
        if lease is not None and not self._may_take(lease):
            return
        sent = self._clock()
        answer = await (self._post() if lease is None else self._put(lease, self._spec(lease)))
        if answer is None:
            self._lease = None
            return
        self._lease = answer
        self._saw(answer)
        self._until = sent + self._lease_s - self._margin_s

    def _may_take(self, lease: LeaseObject) -> bool:
        self._saw(lease)
        holder = lease.spec.holder_identity or ""
        if holder in ("", self._identity):
            return True
        lasts = max(float(lease.spec.lease_duration_seconds or 0), 1.0)
        return self._clock() - self._seen_at >= lasts

    def _saw(self, lease: LeaseObject) -> None:
        """Note when this renewal was first seen; only that counts, what it says about the time does not."""
        seen = (lease.metadata.uid, lease.metadata.resource_version)
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
        self.holder = lease.spec.holder_identity or ""
        self.term = lease.spec.lease_transitions or 0

    def _spec(self, lease: LeaseObject | None) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = lease.spec if lease is not None else None
        ours = old is not None and old.holder_identity == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._lease_s,
            "acquireTime": old.acquire_time if old is not None and ours else now,
            "renewTime": now,
            "leaseTransitions": ((old.lease_transitions or 0) if old else 0) + (0 if ours else 1),
        }

    async def _get(self) -> LeaseObject | None:
        answer = await self._ask("GET", f"{self._collection}/{self._name}", None)
        if answer.status == NOT_FOUND:
            return None
        if not answer.ok:
            raise ApiUnavailable(f"the lease cannot be read: status {answer.status}")
        return _LEASE.decode(answer.body)

    async def _post(self) -> LeaseObject | None:
        return await self._write("POST", self._collection, {}, self._spec(None))

    async def _put(self, lease: LeaseObject, spec: dict[str, Any]) -> LeaseObject | None:
        """Under the version that was read: of two that try at once, one gets 409."""
        metadata = {"resourceVersion": lease.metadata.resource_version, "uid": lease.metadata.uid}
        return await self._write("PUT", f"{self._collection}/{self._name}", metadata, spec)

    async def _write(
        self, method: str, path: str, metadata: dict[str, str], spec: dict[str, Any]
    ) -> LeaseObject | None:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace, **metadata},
            "spec": spec,
        }
        answer = await self._ask(method, path, body)
        if answer.ok:
            return _LEASE.decode(answer.body)
        self.last_error = f"the lease was not written: status {answer.status}"
        return None

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        content = b"" if body is None else msgspec.json.encode(body)
        return await self._connection.request(
            method, path, content, deadline_s=self._lease_s / 3, repeatable=False, patient=False
        )
