"""A real Redis that is killed, cut, stopped, filled, emptied, closed off and replaced by its replica."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from redis.crc import key_slot

from scheduler.store.address import RedisAddress, parse
from scheduler.store.opening import open_store
from scheduler.store.protocol import StoreUnavailable
from scheduler.store.redis import RedisStore
from scheduler.store.script import LOG_STEPS
from tenants.ledger.answer import Admitted, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.forest import quotas_of
from tests.support.ledger import CPU, make_charge, make_set
from tests.support.stores import free_port, redis_server
from tests.support.tenants import cpu, make_tenant

pytestmark = pytest.mark.real

ROUNDS = int(os.environ.get("BULKHEAD_CHAOS_ROUNDS", "20"))
NOW = 1_000_000.0
WIDE = quotas_of(make_set(make_tenant("a", quota=cpu(1_000)), offered={"cpu": 1_000}))


def opened(address: str) -> RedisStore:
    parsed = parse(address)
    assert isinstance(parsed, RedisAddress)
    return RedisStore(parsed)


def held(store: RedisStore) -> set[str]:
    return store.read(lambda ledger: set(ledger.entries))


class Admitting(threading.Thread):
    """Admits one pod after the other until stopped; notes who was told yes, and how long the longest answer took."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__()
        self.store = opened(address)
        self.prefix, self.told, self.longest_s, self.errors = name, list[str](), 0.0, 0
        self.over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            begun = time.monotonic()
            charge = make_charge(f"{self.prefix}-{number}", cpu=1)
            with suppress(StoreUnavailable):
                if isinstance(self.store.admit(charge), Admitted):
                    self.told.append(charge.uid)
                number += 1
                self.longest_s = max(self.longest_s, time.monotonic() - begun)
            self.over.wait(0.001)

    def stop(self) -> None:
        self.over.set()
        self.join()
        self.store.close()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_a_killed_server_forgets_nothing_that_somebody_alive_was_told(tmp_path: Path, fsync: str) -> None:
    told: set[str] = set()
    longest = 0.0
    with redis_server(tmp_path, f"--appendonly yes --appendfsync {fsync}") as server:
        watch = opened(server.address)
        watch.configure(WIDE)
        for round_ in range(ROUNDS):
            one, two = (Admitting(f"{server.address}?patience=20", f"{name}{round_}") for name in "xy")
            one.start()
            two.start()
            time.sleep(0.02 + 0.01 * (round_ % 5))
            server.kill()
            time.sleep(0.01)
            server.start()
            time.sleep(0.02)
            one.stop()
            two.stop()
            told |= {*one.told, *two.told}
            longest = max(longest, one.longest_s, two.longest_s)
            here = held(watch)
            assert told <= here, f"{len(told - here)} forgotten in round {round_}"
            assert watch.read(lambda ledger: ledger.usage("a")[CPU]) <= 1_000
            watch.read(Ledger.verify)
            if len(told) > 800:
                watch.release_all(sorted(told))
                told = set()
        losses = watch.losses
        watch.close()
    sys.stdout.write(
        f"{ROUNDS} x SIGKILL of redis-server ({fsync}): 0 forgotten, 0 over-admitted, the watch saw {losses} "
        f"losses, longest answer {longest:.2f} s, restart included\n"
    )


def test_a_server_that_comes_back_with_an_older_state_is_told_what_was_granted(tmp_path: Path) -> None:
    with redis_server(tmp_path / "live", "--appendonly yes --appendfsync always") as server:
        one, two = opened(server.address), opened(server.address)
        one.configure(WIDE)
        one.admit(make_charge("early", cpu=100))
        one.reserve([make_charge("promised", cpu=100)], NOW + 60, NOW)
        shutil.copytree(tmp_path / "live" / "appendonlydir", tmp_path / "old")
        assert two.admit(make_charge("late", cpu=700)) == Admitted("late")
        assert two.confirm("promised")
        server.kill()
        shutil.rmtree(tmp_path / "live" / "appendonlydir")
        shutil.copytree(tmp_path / "old", tmp_path / "live" / "appendonlydir")
        server.start()
        assert one.admit(make_charge("third", cpu=1)) == Admitted("third"), "one had not heard of late"
        assert isinstance(two.admit(make_charge("fourth", cpu=200)), Refused), "two has"
        assert (one.losses, two.losses) == (0, 1)
        assert held(one) == held(two) == {"early", "promised", "late", "third"}
        assert one.expire(NOW + 99, set()) == [], "that it was confirmed is known too"
        one.read(Ledger.verify)
        one.close()
        two.close()


def test_the_same_number_of_steps_is_not_the_same_history(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--appendonly no") as server:
        one, two = opened(server.address), opened(server.address)
        one.configure(WIDE)
        one.admit(make_charge("before", cpu=1))
        server.kill()
        server.start()
        two.configure(WIDE)
        two.admit(make_charge("other", cpu=1))
        assert held(one) == held(two) == {"before", "other"}
        assert one.losses == 1
        one.close()
        two.close()


def test_a_server_without_memory_is_filled_by_whoever_remembers(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--appendonly no") as server:
        one = opened(server.address)
        one.configure(WIDE)
        one.record([make_charge(f"p{n}", cpu=1) for n in range(50)])
        server.kill()
        server.start()
        new = opened(server.address)
        assert isinstance(new.admit(make_charge("early", cpu=1)), Refused), "no quotas, nobody is let in"
        assert len(held(one)) == len(held(new)) == 50
        assert new.admit(make_charge("now", cpu=1)) == Admitted("now")
        one.close()
        new.close()


def test_half_a_step_at_the_end_of_the_log_is_no_step(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--appendonly yes --appendfsync always") as server:
        store = opened(server.address)
        store.configure(WIDE)
        store.record([make_charge("whole", cpu=1)])
        log = next((tmp_path / "appendonlydir").glob("*.incr.aof"))
        whole = log.stat().st_size
        store.reserve([make_charge(f"p{n}", cpu=1) for n in range(20)], NOW + 60, NOW)
        end = log.stat().st_size
        store.close()
        for cut in range(whole + 1, end, max(1, (end - whole) // ROUNDS)):
            server.kill()
            os.truncate(log, cut)
            server.start()
            fresh = opened(server.address)
            assert held(fresh) == {"whole"}, "all of the batch or nothing"
            fresh.read(Ledger.verify)
            fresh.reserve([make_charge(f"p{n}", cpu=1) for n in range(20)], NOW + 60, NOW)
            assert len(held(fresh)) == 21
            fresh.close()


def test_a_lost_answer_is_asked_for_again_and_nothing_happens_twice(tmp_path: Path) -> None:
    """A way to the server that delivers every request and cuts off every second answer."""
    with redis_server(tmp_path, "--appendonly yes") as server, deaf_every_second_time(server.port) as port:
        store = opened(f"redis://127.0.0.1:{port}?timeout=1")
        store.configure(WIDE)
        for number in range(ROUNDS):
            uid = f"p{number}"
            assert store.reserve([make_charge(uid, cpu=1)], NOW + 60, NOW) == [Admitted(uid)]
            assert store.confirm(uid)
            if number % 2:
                assert store.release(uid), "the first try was it, and its answer counts"
        assert store.losses == 0
        store.close()
        plain = opened(server.address)
        assert held(plain) == {f"p{n}" for n in range(0, ROUNDS, 2)}
        plain.close()


@contextmanager
def deaf_every_second_time(target: int) -> Iterator[int]:
    """A relay on a free port; it breaks the connection instead of passing on the answer of every second script."""
    code = (
        "import asyncio, sys\n"
        "count = 0\n"
        "async def serve(reader, writer):\n"
        "    global count\n"
        f"    up, down = await asyncio.open_connection('127.0.0.1', {target})\n"
        "    try:\n"
        "        while request := await reader.read(1 << 20):\n"
        "            down.write(request)\n"
        "            answer = await up.read(1 << 20)\n"
        "            count += b'EVALSHA' in request\n"
        "            if b'EVALSHA' in request and b'done' in answer and count % 2: break\n"
        "            writer.write(answer)\n"
        "    finally:\n"
        "        writer.close(); down.close()\n"
        "async def main():\n"
        "    server = await asyncio.start_server(serve, '127.0.0.1', 0)\n"
        "    print(server.sockets[0].getsockname()[1], flush=True)\n"
        "    await server.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    relay = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert relay.stdout is not None
        yield int(relay.stdout.readline())
    finally:
        relay.kill()
        relay.communicate()


def test_a_server_that_hangs_is_given_up_in_time_and_used_again(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--appendonly yes") as server:
        store = opened(f"{server.address}?patience=1&timeout=0.3")
        store.configure(WIDE)
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="Timeout"):
            store.admit(make_charge("during", cpu=1))
        took = time.monotonic() - begun
        server.process.send_signal(signal.SIGCONT)
        assert took < 3, "patience and one answer"
        assert store.admit(make_charge("during", cpu=1)) == Admitted("during")
        assert held(store) == {"during"}
        store.close()


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        address = server.address
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"ledger store redis://127.0.0.1:\d+/0: .*refused"):
        open_store(f"{address}?patience=0.3")
    assert time.monotonic() - begun < 3


def test_a_password_is_asked_for_and_kept_to_itself(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass hush") as server:
        for login in ("", ":wrong@"):
            with pytest.raises(StoreUnavailable) as caught:
                open_store(f"redis://{login}127.0.0.1:{server.port}")
            assert "hush" not in str(caught.value)
            assert "wrong@" not in str(caught.value)
        store = opened(f"redis://:hush@127.0.0.1:{server.port}")
        store.configure(WIDE)
        store.close()


@pytest.mark.parametrize(
    ("settings", "want"),
    [
        ("--appendonly no", "appendonly is off"),
        ("--appendonly yes --appendfsync no", "appendfsync is no"),
        ("--appendonly yes --appendfsync everysec", "appendfsync is everysec"),
        (
            "--appendonly yes --appendfsync always --maxmemory 100mb --maxmemory-policy allkeys-lru",
            "noeviction",
        ),
        ("--appendonly yes --appendfsync always", ""),
    ],
)
def test_what_may_lose_the_ledger_is_said(tmp_path: Path, settings: str, want: str) -> None:
    with redis_server(tmp_path, settings) as server:
        store = opened(server.address)
        assert len(store.cautions) == bool(want)
        assert want in "".join(store.cautions)
        store.close()


def test_a_full_memory_is_said_and_nothing_is_half_done(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--appendonly yes") as server:
        store = opened(server.address)
        store.configure(WIDE)
        store.admit(make_charge("before", cpu=1))
        server.client().config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            store.record([make_charge(f"p{n}", cpu=1) for n in range(10)])
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            store.release("before")
        assert held(store) == {"before"}
        server.client().config_set("maxmemory", 0)
        assert store.release("before")
        assert held(store) == set()
        store.close()


def test_who_is_too_far_behind_reads_everything(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--appendonly no") as server:
        busy, idle = opened(server.address), opened(server.address)
        busy.configure(WIDE)
        idle.admit(make_charge("first", cpu=1))
        for number in range(LOG_STEPS + 200):
            busy.record([make_charge(f"p{number % 7}", cpu=1 + number % 9)])
        assert server.client().xlen("{bulkhead:default}:log") < LOG_STEPS + 200
        assert idle.read(Ledger.copy).entries == busy.read(Ledger.copy).entries
        assert idle.losses == 0
        busy.release("first")
        assert "first" not in held(idle)
        busy.close()
        idle.close()


def test_ledgers_of_two_names_share_a_server(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        east, west = (opened(f"{server.address}?ledger={name}") for name in ("east", "west"))
        east.configure(WIDE)
        east.admit(make_charge("pod", cpu=1))
        assert held(west) == set()
        east.close()
        west.close()


def test_a_newer_layout_and_a_foreign_key_are_left_alone(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, closing(server.client()) as client:
        store = opened(server.address)
        store.configure(WIDE)
        store.admit(make_charge("pod", cpu=1))
        client.hset("{bulkhead:default}:entries", "other", "no entry")
        with pytest.raises(StoreUnavailable, match="holds what nobody of us wrote"):
            held(opened(server.address))
        client.hset("{bulkhead:default}:head", "layout", "7")
        with pytest.raises(StoreUnavailable, match="has layout 7, this program knows 1"):
            opened(server.address)
        client.set("{bulkhead:theirs}:head", "a string")
        with pytest.raises(StoreUnavailable, match="wrong kind of value"):
            opened(f"{server.address}?ledger=theirs")
        store.close()


def test_all_keys_of_a_ledger_are_in_one_slot_of_a_cluster(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--cluster-enabled yes") as server, closing(server.client()) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]
        store = opened(f"{server.address}?ledger=east")
        store.configure(WIDE)
        assert store.reserve([make_charge("pod", cpu=1)], NOW + 60, NOW) == [Admitted("pod")]
        other = opened(f"{server.address}?ledger=east")
        assert held(other) == {"pod"}
        assert len({key_slot(key) for key in client.scan_iter()}) == 1
        store.close()
        other.close()


def test_tls_is_spoken_and_an_unknown_authority_refused(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key", tmp_path / "crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=ledger", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key),
         "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    secured = free_port()
    files = f"--tls-cert-file {certificate} --tls-key-file {key} --tls-ca-cert-file {certificate}"
    settings = f"--tls-port {secured} --tls-auth-clients no {files}"
    with redis_server(tmp_path / "redis", settings):
        store = opened(f"rediss://127.0.0.1:{secured}?ca={certificate}")
        store.configure(WIDE)
        assert store.admit(make_charge("pod", cpu=1)) == Admitted("pod")
        store.close()
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            opened(f"rediss://127.0.0.1:{secured}?patience=0.2")
