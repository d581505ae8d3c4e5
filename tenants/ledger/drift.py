"""What ages in a ledger, and what it got wrong: overdue reservations, and entries that the cluster contradicts. Pure.

A reservation ends at its deadline. A held entry ends when its pod is gone; if nobody said so, comparing with the pods
that are really bound (`reconcile`) finds it. A pod may be admitted and not yet seen bound, so an entry that the
cluster does not show is believed for a grace period from the first comparison that misses it.

Clocks are set forward and back, and those of two machines differ. Forward, a reservation would end early, while
whoever made it still relies on it; so one that is `young`, by a clock of the caller's that nobody sets, stays. So does
an entry for which the caller's view of the cluster may be too old. Back, an entry is found to be written in the future;
its time then starts again at the present, so that it waits once more as long as it was meant to, and no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Final

import msgspec

from tenants.errors import LedgerError
from tenants.ledger.book import LONGEST_S, Ledger
from tenants.ledger.charge import Charge, Entry, Phase

GRACE_S: Final = 30.0  # from admission to the watch showing the pod bound, with a busy API server between


class Drift(msgspec.Struct, frozen=True):
    """What `reconcile` put right, as pod UIDs, sorted; `expired` is age and no error."""

    missing: tuple[str, ...] = ()  # bound, and not in the ledger: recorded
    stray: tuple[str, ...] = ()  # in the ledger, and long not in the cluster: released
    different: tuple[str, ...] = ()  # charged otherwise than they are: recorded anew
    expired: tuple[str, ...] = ()  # reservations that were overdue: dropped

    def __bool__(self) -> bool:
        """Whether the ledger was wrong."""
        return bool(self.missing or self.stray or self.different)


def expire(
    ledger: Ledger, now_s: float, bound: Callable[[str], bool], young: Container[str] = ()
) -> list[str]:
    """Drop the reservations that are overdue and not `young`; answers which. Those of pods that are bound are held."""
    dropped = []
    for uid in sorted(ledger.reserved):
        if bound(uid):
            ledger.confirm(uid)
        elif uid not in young and _ended(ledger, uid, now_s):
            dropped.append(uid)
    return dropped


def reconcile(
    ledger: Ledger,
    bound: Mapping[str, Charge],
    now_s: float,
    grace_s: float = GRACE_S,
    waiting: Container[str] | None = None,
    young: Container[str] = (),
) -> Drift:
    """Make `ledger` equal to the pods that are `bound`, whatever the quota; see the head of this module.

    Args:
        ledger: is changed.
        bound: pod UID -> charge of every pod that is bound and not gone.
        now_s: wall-clock seconds.
        grace_s: how long an entry that `bound` lacks is believed; 0 = not at all.
        waiting: the pods that exist and are not bound, where that is known: claims of others are released.
        young: reservations that whoever asks has not known for as long as they last, by a clock that nobody sets, and
            entries that it may lack only because its view of the cluster is older than they are: none of them ends.

    Raises:
        LedgerError: a charge that belongs to another UID than it is named by.
    """
    missing, different = [], []
    for uid, charge in bound.items():
        if charge.uid != uid:
            raise LedgerError(f"charge of pod {charge.uid} is named {uid}")
        entry = ledger.entries.get(uid)
        if entry is None:
            missing.append(uid)
        elif entry.charge != charge:
            different.append(uid)
        _found(ledger, entry, charge)
    others = sorted(ledger.entries.keys() - bound.keys())
    ended = [
        (uid, phase) for uid in others if (phase := _without_pod(ledger, uid, now_s, grace_s, waiting, young))
    ]
    stray = tuple(uid for uid, phase in ended if phase is not Phase.RESERVED)
    expired = tuple(uid for uid, phase in ended if phase is Phase.RESERVED)
    return Drift(tuple(sorted(missing)), stray, tuple(sorted(different)), expired)


def _without_pod(
    ledger: Ledger,
    uid: str,
    now_s: float,
    grace_s: float,
    waiting: Container[str] | None,
    young: Container[str],
) -> Phase | None:
    """The phase of the entry if it was released, else None."""
    phase = ledger.entries[uid].phase
    if phase is Phase.CLAIMED:
        if waiting is None or uid in waiting or uid in young:
            return None
        ledger.release(uid)
        return phase
    if uid not in young:
        return phase if _ended(ledger, uid, now_s, grace_s) else None
    if phase is not Phase.RESERVED:
        _started(ledger, uid, now_s, grace_s)
    return None


def _found(ledger: Ledger, entry: Entry | None, charge: Charge) -> None:
    leaving = entry is not None and entry.phase is Phase.TERMINATING
    is_so = Entry(charge, Phase.TERMINATING if leaving else Phase.HELD)
    if entry != is_so:
        ledger.put(charge.uid, is_so)


def _started(ledger: Ledger, uid: str, now_s: float, grace_s: float) -> None:
    """Let the time of grace of an entry without a deadline begin."""
    entry = ledger.entries[uid]
    if entry.deadline_s == 0:
        ledger.put(uid, Entry(entry.charge, entry.phase, now_s, now_s + grace_s))


def _ended(ledger: Ledger, uid: str, now_s: float, grace_s: float = GRACE_S) -> bool:
    """Release an entry whose time is up. One without a deadline gets one; one from the future starts again."""
    entry = ledger.entries[uid]
    left = entry.deadline_s - now_s
    if entry.deadline_s == 0:
        left = grace_s
    elif entry.made_s > now_s:
        left = min(entry.deadline_s - entry.made_s, LONGEST_S)
    if left <= 0:
        ledger.release(uid)
        return True
    if entry.deadline_s == 0 or entry.made_s > now_s:
        ledger.put(uid, Entry(entry.charge, entry.phase, now_s, now_s + left))
    return False
