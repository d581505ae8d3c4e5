"""The shared store: one Redis server (with replicas and sentinels, if wished), many schedulers on many machines.

A process keeps the ledger in memory together with the version and stamp up to which it knows the server's history. A
step decides on that memory at once and asks the server to commit by a script that does so only if nothing happened
since; so a step takes one round trip and costs what changed. If somebody was faster, the script answers what they did:
the decision is undone, theirs is replayed, and it is taken again (`script` has the details).

Where the server forgot steps that it had answered (a failover to a replica that lagged, a restart without its last
writes), whoever notices first writes back what it knows: quota that was granted stays taken. What nobody remembers
comes back by `reconcile`; `losses` counts how often that was needed.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from scheduler.store.address import RedisAddress
from scheduler.store.link import Link, Script
from scheduler.store.protocol import Answer, StoreUnavailable
from scheduler.store.script import BEHIND, CURRENT, DONE, LAYOUT, LOG_BATCH, LOST, STEP
from scheduler.store.steps import Steps
from tenants.ledger.book import Changes, Ledger
from tenants.ledger.charge import Entry, Phase
from tenants.ledger.forest import Quotas


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_STEP: Final = _script(STEP)
LONGEST_PAUSE_S: Final = 0.004  # between tries when others were faster; a step of theirs takes far less


class _Overtaken(Exception):
    """Somebody committed first; carries what the server said."""

    def __init__(self, reply: list[Any]) -> None:
        self.reply = reply


class RedisStore(Steps):
    """A `Store` on a Redis server. Threads share one.

    Args:
        address: see `address.parse`.
        random: for the pauses between tries.

    Attributes:
        losses: how often the server was found to have forgotten what it answered; `configure` and `reconcile` then.

    Raises:
        StoreUnavailable: see `Link`; or a ledger of a newer layout.
    """

    def __init__(self, address: RedisAddress, random: Random | None = None) -> None:
        self.losses = 0
        self._random = random or Random()  # noqa: S311 (spreads retries, guards nothing)
        self._lock = threading.Lock()
        self._ledger = Ledger()
        self._seen, self._stamp, self._configured = b"0", b"", b"0"
        self._owed: dict[str, Entry] = {}
        self._owed_quotas: Quotas | None = None
        self._encode = msgspec.json.Encoder().encode
        self._decode_rows = msgspec.json.Decoder(list[Entry | str]).decode
        tag = f"{{bulkhead:{address.ledger}}}"
        self._keys = [f"{tag}:head", f"{tag}:entries", f"{tag}:log"]
        self._link = Link(address, self._random)
        self._known_layout()

    @property
    def cautions(self) -> tuple[str, ...]:
        """What of the server's configuration may lose what was answered; for a log, at the start."""
        return self._link.cautions

    def read(self, question: Callable[[Ledger], Answer]) -> Answer:
        """See `Store.read`."""
        with self._lock:
            self._repeat(lambda _: None)
            return question(self._ledger)

    def close(self) -> None:
        """See `Store.close`."""
        with self._lock:
            self._link.close()

    # --- inside ---------------------------------------------------------------------------------------------

    def _known_layout(self) -> None:
        found = self._link.together(("HGET", self._keys[0], "layout"))[0]
        if found is not None and int(found) > LAYOUT:
            self._link.close()
            raise self._unavailable(f"has layout {int(found)}, this program knows {LAYOUT}")

    def _unavailable(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(str(self._link.address), why)

    def _step(self, decide: Callable[[Ledger], Answer]) -> Answer:
        with self._lock:
            return self._repeat(decide)

    def _repeat(self, decide: Callable[[Ledger], Answer]) -> Answer:
        """Decide until it counts; each time on what the faster ones left."""
        pauses = self._link.pauses(LONGEST_PAUSE_S)
        up_to_date = False
        while True:
            try:
                with self._ledger.attempt() as changes:
                    self._pay_back()
                    answer = decide(self._ledger)
                    self._commit(changes, up_to_date=up_to_date)
            except _Overtaken as overtaken:
                try:
                    up_to_date = self._catch_up(overtaken.reply)
                except msgspec.MsgspecError as error:
                    raise self._unavailable(f"holds what nobody of us wrote: {error}") from error
            else:
                return answer
            pause = next(pauses, None)
            if pause is None:
                raise self._unavailable("others were faster every time")
            if up_to_date:
                time.sleep(pause)

    def _commit(self, changes: Changes, *, up_to_date: bool) -> None:
        """On top of what was seen, or not at all. What changes nothing is true if it was up to date in this call."""
        quotas, entries = changes.quotas(), changes.entries()
        if up_to_date and quotas is None and not entries:
            return
        stamp = secrets.token_hex(8).encode()
        arguments: list[str | bytes] = [
            self._seen, self._stamp, self._configured, stamp, b"" if quotas is None else self._encode(quotas)
        ]  # fmt: skip
        for uid, entry in entries.items():
            arguments += (uid, b"" if entry is None else self._encode(entry))
        reply = self._link.run(_STEP, self._keys, arguments)
        if reply[0] == BEHIND and reply[3][0][1][1] == stamp:  # it had happened, only the answer was lost
            reply = [DONE, reply[3][0][0].partition(b"-")[0]]
        if reply[0] == DONE:
            self._seen, self._stamp = reply[1], stamp
            self._configured = self._configured if quotas is None else reply[1]
        elif reply[0] != CURRENT:
            raise _Overtaken(reply)
        self._owed, self._owed_quotas = {}, None

    def _catch_up(self, reply: list[Any]) -> bool:
        """Whether the ledger is that of the moment of the reply; if not, there was too much for one."""
        if reply[0] == BEHIND:
            self._replay(*reply[1:])
            return len(reply[3]) < LOG_BATCH
        before, configured = self._ledger, int(self._configured)
        self._load()
        if reply[0] == LOST:
            self.losses += 1
            self._owed |= {uid: entry for uid, entry in before.entries.items() if self._lacks(uid, entry)}
            if configured > int(self._configured):
                self._owed_quotas = before.quotas
        return True

    def _replay(self, configured: bytes, quotas: bytes | None, steps: list[Any]) -> None:
        if quotas is not None:
            self._ledger.configure(msgspec.json.decode(quotas, type=Quotas))
            self._configured = configured
        for version, (_, stamp, _, rows) in steps:
            for row in self._decode_rows(rows):
                if isinstance(row, str):
                    self._ledger.put(row, None)
                else:
                    self._ledger.put(row.charge.uid, row)
            self._seen, self._stamp = version.partition(b"-")[0], stamp

    def _load(self) -> None:
        head, entries, _ = self._keys
        (version, stamp, configured, quotas), rows = self._link.together(
            ("HMGET", head, "version", "stamp", "configured", "quotas"), ("HVALS", entries)
        )
        ledger = Ledger(None if quotas is None else msgspec.json.decode(quotas, type=Quotas))
        ledger.load(msgspec.json.decode(b"[" + b",".join(rows) + b"]", type=list[Entry]))
        self._ledger, self._configured = ledger, configured or b"0"
        self._seen, self._stamp = version or b"0", stamp or b""

    def _lacks(self, uid: str, known: Entry) -> bool:
        """Whether the server forgot `known`, or that it was confirmed."""
        found = self._ledger.entries.get(uid)
        return found is None or (found.phase is Phase.RESERVED and known.phase is not Phase.RESERVED)

    def _pay_back(self) -> None:
        if self._owed_quotas is not None:
            self._ledger.configure(self._owed_quotas)
        for uid, entry in self._owed.items():
            if self._lacks(uid, entry):
                self._ledger.put(uid, entry)
