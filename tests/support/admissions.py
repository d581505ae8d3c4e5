"""A process that admits on a shared store with many threads, and says on its standard output what it was answered.

`python -m tests.support.admissions ADDRESS GO WORKER THREADS REQUESTS [churn]`: all begin when the file GO is there.
Each thread sends REQUESTS charges, half of them ones that every worker sends. With `churn` it goes on until it is
killed: it reserves, confirms what it was given, and releases most of it. A line is written after the answer, never
before: what was written is what somebody was told. A store that cannot be reached is asked again for ever.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scheduler.store.opening import open_store
from scheduler.store.protocol import Store, StoreUnavailable
from tenants.ledger.answer import Admitted
from tenants.ledger.charge import Charge

Answer = TypeVar("Answer")

TENANTS = 8
FAR_S = 1e9  # no deadline comes near in these tests


def charge(uid: str, number: int) -> Charge:
    """A pod of 1 to 4 units of CPU and as many of memory, of one of the tenants."""
    amount = 1 + number % 4
    return Charge(
        uid=uid, tenant=f"t{number % TENANTS}", amounts=(("cpu", amount), ("memory", amount), ("pods", 1))
    )


def say(line: str) -> None:
    """One write per line, so that lines of threads do not mix and a kill leaves no half of one unseen."""
    os.write(1, f"{line}\n".encode())


def admit_some(store: Store, worker: str, thread: int, requests: int) -> None:
    """A fixed number of requests; every other one is known to all workers."""
    for number in range(requests):
        owner = "all" if number % 2 else worker
        uid = f"{owner}-{thread}-{number}"
        answer = store.admit(charge(uid, thread + number))
        say(f"{'admitted' if isinstance(answer, Admitted) else answer.reason} {uid}")


def churn(store: Store, worker: str, thread: int) -> None:
    """Reserve, confirm and release until killed."""
    for number in itertools.count(1):
        one = charge(f"{worker}-{thread}-{number}", thread + number)
        come_and_go(store, one, stays=number % 3 == 0)


def come_and_go(store: Store, one: Charge, *, stays: bool) -> None:
    """The life of a pod."""
    say(f"asks {one.uid}")
    if not isinstance(until_answered(lambda: store.reserve([one], FAR_S, 1.0)[0]), Admitted):
        say(f"refused {one.uid}")
    elif not until_answered(lambda: store.confirm(one.uid)):
        say(f"expired {one.uid}")
    else:
        say(f"admitted {one.uid}")
        if not stays:
            say(f"releases {one.uid}")
            until_answered(lambda: store.release(one.uid))
            say(f"released {one.uid}")


def until_answered(ask: Callable[[], Answer]) -> Answer:
    """A step may be repeated."""
    while True:
        try:
            return ask()
        except StoreUnavailable:
            time.sleep(0.01)


def main(address: str, go: str, worker: str, threads: str, requests: str, *mode: str) -> None:
    """Run the threads to their end."""
    store = open_store(address)
    say("ready")
    while not Path(go).exists():
        time.sleep(0.002)
    start = threading.Barrier(int(threads))

    def run(thread: int) -> None:
        start.wait()
        if mode:
            churn(store, worker, thread)
        admit_some(store, worker, thread, int(requests))

    running = [threading.Thread(target=run, args=(number,)) for number in range(int(threads))]
    for one in running:
        one.start()
    for one in running:
        one.join()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
