"""What is tried out in a ledger leaves no trace, and what is freed for a claim is nobody else's."""

from __future__ import annotations

from tenants.ledger.answer import Admitted, Refused
from tenants.ledger.charge import Phase
from tenants.ledger.forest import quotas_of
from tests.support.ledger import (
    BORROWER,
    CAPPED,
    CPU,
    LENDER,
    admitted,
    fill,
    make_charge,
    make_ledger,
    make_set,
)
from tests.support.tenants import cpu, make_tenant


def test_what_if_leaves_no_trace() -> None:
    ledger = make_ledger(CAPPED, LENDER)
    fill(ledger, "a", 3)
    before = ledger.copy()
    with ledger.what_if():
        ledger.release("a-0")
        ledger.configure(quotas_of(make_set(BORROWER)))
        with ledger.what_if():
            fill(ledger, "borrower", 2)
        assert ledger.usage("borrower") == {CPU: 0}
        ledger.terminate("a-1")
        assert admitted(ledger, "borrower", 1)
    assert ledger.entries == before.entries
    assert ledger.quotas == before.quotas
    assert ledger.usage("a") == {CPU: 3}
    ledger.verify()


def test_nobody_steals_what_is_freed_for_a_claim() -> None:
    ledger = make_ledger(make_tenant("a", quota=cpu(5)), make_tenant("b", quota=cpu(5)), offered={"cpu": 10})
    fill(ledger, "b", 10)
    ledger.terminate("b-9")
    claim = make_charge("claim", "a", cpu=1)
    ledger.record(claim, Phase.CLAIMED)
    ledger.release("b-9")
    assert not admitted(ledger, "b", 1, "thief")
    assert ledger.admit(claim) == Admitted("claim")


def test_claims_do_not_block_each_other() -> None:
    ledger = make_ledger(make_tenant("a", quota=cpu(5)), make_tenant("b", quota=cpu(5)), offered={"cpu": 10})
    fill(ledger, "b", 2, each=5)
    first, second = make_charge("first", "a", cpu=5), make_charge("second", "a", cpu=5)
    for claim in (first, second):
        ledger.record(claim, Phase.CLAIMED)
    assert isinstance(ledger.admit(first), Refused)
    assert ledger.entries["first"].phase is Phase.CLAIMED
    ledger.release("b-0")
    assert ledger.admit(first) == Admitted("first")
    assert isinstance(ledger.admit(second), Refused)
