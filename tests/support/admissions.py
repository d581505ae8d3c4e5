"""A process that admits on a shared store with many threads, and says on its standard output what it was answered.

`python -m tests.support.admissions STORE WORKER THREADS REQUESTS [churn]`: all begin when a file `go` lies beside the
store. Each thread sends REQUESTS charges, half of them ones that every worker sends. With `churn` it goes on until it
is killed and releases what it admitted. A line is written after the answer, never before: what was written is what
somebody was told.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from scheduler.store.sqlite import SqliteStore
from tenants.ledger.answer import Admitted
from tenants.ledger.charge import Charge

TENANTS = 8


def charge(uid: str, number: int) -> Charge:
    """A pod of 1 to 4 units of CPU and as many of memory, of one of the tenants."""
    amount = 1 + number % 4
    return Charge(
        uid=uid, tenant=f"t{number % TENANTS}", amounts=(("cpu", amount), ("memory", amount), ("pods", 1))
    )


def say(line: str) -> None:
    """One write per line, so that lines of threads do not mix and a kill leaves no half of one unseen."""
    os.write(1, f"{line}\n".encode())


def admit_some(store: SqliteStore, worker: str, thread: int, requests: int) -> None:
    """A fixed number of requests; every other one is known to all workers."""
    for number in range(requests):
        owner = "all" if number % 2 else worker
        uid = f"{owner}-{thread}-{number}"
        answer = store.admit(charge(uid, thread + number))
        say(f"{'admitted' if isinstance(answer, Admitted) else answer.reason} {uid}")


def churn(store: SqliteStore, worker: str, thread: int) -> None:
    """Admit and release until killed."""
    number = 0
    while True:
        number += 1
        uid = f"{worker}-{thread}-{number}"
        say(f"asks {uid}")
        if isinstance(store.admit(charge(uid, thread + number)), Admitted):
            say(f"admitted {uid}")
            if number % 3:
                say(f"releases {uid}")
                store.release(uid)
                say(f"released {uid}")
        else:
            say(f"refused {uid}")


def main(path: str, worker: str, threads: str, requests: str, *mode: str) -> None:
    """Run the threads to their end."""
    store = SqliteStore(Path(path), patience_ms=60_000)
    say("ready")
    while not Path(path).with_name("go").exists():
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
