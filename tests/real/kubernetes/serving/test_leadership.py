"""The Lease of a real API server: a killed leader is followed, and no two ever lead at once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import msgspec
import pytest

from scheduler.kube.connection import Connection
from scheduler.kube.leadership import Leadership
from scheduler.kube.objects import LeaseObject
from tests.support.kubernetes import ControlPlane
from tests.support.serving_client import jitter, run

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("serving")]


def wall() -> float:
    return datetime.now(UTC).timestamp()  # noqa: TID251  the edge


HOLDER = """
import asyncio, random, sys, time
from datetime import UTC, datetime
from pathlib import Path
from scheduler.kube.connection import Connection
from scheduler.kube.credentials import find
from scheduler.kube.leadership import Leadership
async def main():
    async with Connection(find(Path(sys.argv[1])), random.Random(1)) as connection:
        own = Leadership(connection, "first", time.monotonic, time.time, random.Random(2),
                         namespace=sys.argv[2], lease_s=4, retry_s=0.5)
        task = asyncio.ensure_future(own.run())
        while True:
            if own.leads:
                print(time.monotonic(), flush=True)
            await asyncio.sleep(0.02)
asyncio.run(main())
"""


def test_a_killed_leader_is_followed_and_the_two_never_lead_at_once(
    plane: ControlPlane, namespace: str
) -> None:
    argv = [sys.executable, "-c", HOLDER, str(plane.kubeconfig()), namespace]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline(), "the first one leads"

    async def client(connection: Connection) -> None:
        second = Leadership(
            connection, "second", time.monotonic, wall, jitter(), namespace=namespace, lease_s=4
        )  # fmt: skip
        for _ in range(10):
            assert not await second.attempt()
            await asyncio.sleep(0.2)
        assert second.holder == "first"
        holder.send_signal(signal.SIGKILL)
        while not await second.attempt():  # noqa: ASYNC110  another process decides
            await asyncio.sleep(0.1)
        began = time.monotonic()
        rest = holder.stdout.read() if holder.stdout else ""
        last_led = max(map(float, rest.split()))
        assert 2.5 < began - last_led < 8, "after the lease, not before, and soon"
        assert second.term == 2
        await second.release()
        assert not second.leads
        third = Leadership(connection, "third", time.monotonic, wall, jitter(), namespace=namespace)
        assert await third.attempt(), "a released lease is free at once"
        answer = await connection.request(
            "GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/bulkhead-scheduler"
        )
        assert msgspec.json.decode(answer.body, type=LeaseObject).spec.holder_identity == "third"

    try:
        run(plane, client)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_leader_that_cannot_renew_stops_by_its_own_clock(plane: ControlPlane, namespace: str) -> None:
    now = [1000.0]

    async def client(connection: Connection) -> None:
        own = Leadership(connection, "a", lambda: now[0], wall, jitter(), namespace=namespace)
        other = Leadership(connection, "b", lambda: now[0], wall, jitter(), namespace=namespace)
        assert await own.attempt()
        assert not await other.attempt()
        now[0] += 13.6
        assert not own.leads, "a tenth of the lease before anybody else"
        assert not await other.attempt()
        now[0] += 1.5
        assert await other.attempt()
        assert not await own.attempt()
        contenders = [
            Leadership(
                connection,
                f"c{n}",
                lambda: now[0],
                wall,
                jitter(),
                namespace=namespace,
                name="race",
            )
            for n in range(8)
        ]
        await asyncio.gather(*(each.attempt() for each in contenders))
        assert sum(each.leads for each in contenders) == 1

    run(plane, client)
