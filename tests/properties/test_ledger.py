"""Any order of admissions, releases, resizes, evictions, changes of the tree and restarts, on the real store."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler.store.sqlite import SqliteStore
from tenants.ledger.answer import Admitted, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge, Phase
from tenants.ledger.forest import quotas_of
from tenants.ledger.reclaim import Eviction
from tenants.ledger.standing import standings
from tenants.ledger.tree import ROOT
from tenants.model import Allowance, Dimension, Group, Quota, Tenant, TenantSet
from tenants.quantity import CEILING, UNLIMITED, Limit
from tests.support.ledger import CPU, KeptReserves, make_charge, make_group, make_set

TENANTS, GROUPS = ("a", "b", "c", "d"), ("x", "y", "z")
AMOUNTS = st.one_of(st.integers(1, 12), st.just(CEILING))
PARTS: st.SearchStrategy[Limit] = st.one_of(st.integers(0, 20), st.sampled_from([CEILING, UNLIMITED]))


@st.composite
def quotas(draw: st.DrawFn) -> Quota:
    guaranteed = draw(st.one_of(st.integers(0, 20), st.just(CEILING)))
    most, lend = draw(PARTS), draw(PARTS)
    if not isinstance(most, int):
        return {CPU: Allowance(guaranteed=guaranteed, lend=lend)}
    return {CPU: Allowance(guaranteed=guaranteed, max=max(most, guaranteed), lend=lend)}


class SharedQuota(RuleBasedStateMachine):
    """The store and its ledger beside a dict of pods and the plain algebra."""

    @initialize(quota=quotas(), offered=st.one_of(st.none(), st.integers(0, 40)))
    def begin(self, quota: Quota, offered: int | None) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "ledger.db"
        self.store = SqliteStore(self.path)
        self.groups: dict[str, Group] = {"x": make_group("x")}
        self.tenants: dict[str, Tenant] = {"a": Tenant(name="a", quota=quota)}
        self.offered = offered
        self.pods: dict[str, Charge] = {}
        self.born = 0
        self.publish()

    def files(self) -> TenantSet:
        offered = None if self.offered is None else {"cpu": self.offered}
        return make_set(*self.groups.values(), *self.tenants.values(), offered=offered)

    def publish(self) -> None:
        self.store.configure(quotas_of(self.files()))

    def plain(self) -> KeptReserves:
        """The algebra, told every pod one by one; pods of nobody take from the pool."""
        plain = KeptReserves(self.files())
        for pod in self.pods.values():
            plain.add(pod.tenant if pod.tenant in self.tenants else "", dict(pod.amounts)["cpu"])
        return plain

    # --- pods -----------------------------------------------------------------------------------------------

    @rule(tenant=st.sampled_from(TENANTS), amount=AMOUNTS, priority=st.integers(0, 1))
    def admit(self, tenant: str, amount: int, priority: int) -> None:
        self.born += 1
        pod = make_charge(f"p{self.born}", tenant, priority=priority, born=self.born, cpu=amount)
        plain, over = self.plain(), self.store.read(overdrafts)
        stated = tenant in self.tenants and CPU in self.stated(tenant)
        want = stated and amount <= plain.available(tenant)
        answer = self.store.admit(pod)
        assert isinstance(answer, Admitted) is want, (answer, plain.available(tenant) if stated else None)
        if want:
            self.pods[pod.uid] = pod
            assert self.store.admit(pod) == answer
            assert all(now <= over.get(name, 0) for name, now in self.store.read(overdrafts).items())

    @precondition(lambda self: self.pods)
    @rule(data=st.data(), amount=AMOUNTS)
    def resize(self, data: st.DataObject, amount: int) -> None:
        old = self.pick(data)
        before = dict(old.amounts)["cpu"]
        del self.pods[old.uid]
        plain = self.plain()
        self.pods[old.uid] = old
        new = make_charge(old.uid, old.tenant, priority=old.priority, born=old.born, cpu=amount)
        known = old.tenant in self.tenants and CPU in self.stated(old.tenant)
        want = new == old or (known and (amount <= before or amount <= plain.available(old.tenant)))
        if self.phase(old.uid) is not Phase.CLAIMED:
            assert isinstance(self.store.admit(new), Admitted) is want
            self.pods[old.uid] = new if want else old

    @precondition(lambda self: self.pods)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        uid = self.pick(data).uid
        assert self.store.release(uid)
        assert not self.store.release(uid)
        del self.pods[uid]

    @precondition(lambda self: self.pods)
    @rule(data=st.data())
    def terminate(self, data: st.DataObject) -> None:
        before = self.store.read(Ledger.copy)
        assert self.store.terminate(self.pick(data).uid)
        assert usages(before) == self.store.read(usages), "a terminating pod holds its quota"

    @rule(tenant=st.sampled_from(TENANTS), amount=st.integers(1, 12))
    def found_running(self, tenant: str, amount: int) -> None:
        self.born += 1
        pod = make_charge(f"p{self.born}", tenant, born=self.born, cpu=amount)
        self.store.record([pod])
        self.pods[pod.uid] = pod

    @rule(tenant=st.sampled_from(TENANTS), amount=st.integers(1, 12), priority=st.integers(0, 1))
    def reclaim(self, tenant: str, amount: int, priority: int) -> None:
        self.born += 1
        pod = make_charge(f"p{self.born}", tenant, priority=priority, born=self.born, cpu=amount)
        answer = self.store.reclaim(pod)
        if isinstance(answer, Refused):
            assert pod.uid not in self.store.read(lambda ledger: ledger.entries)
            return
        assert isinstance(answer, Eviction)
        self.pods[pod.uid] = pod
        assert self.phase(pod.uid) is Phase.CLAIMED
        for victim in answer.victims:
            self.store.release(victim.uid)
            del self.pods[victim.uid]
        if not any(self.phase(uid) is Phase.TERMINATING for uid in self.pods):
            assert isinstance(self.store.admit(pod), Admitted)

    def pick(self, data: st.DataObject) -> Charge:
        return self.pods[data.draw(st.sampled_from(sorted(self.pods)))]

    def phase(self, uid: str) -> Phase:
        return self.store.read(lambda ledger: ledger.entries[uid].phase)

    def stated(self, tenant: str) -> frozenset[Dimension]:
        number = self.store.read(lambda ledger: ledger.forest.number_of[tenant])
        return self.store.read(lambda ledger: ledger.forest.stated[number])

    # --- the tree -------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(TENANTS), parent=st.sampled_from(["", *GROUPS]), quota=quotas(),
          reclaim=st.booleans())  # fmt: skip
    def write_tenant(self, name: str, parent: str, quota: Quota, *, reclaim: bool) -> None:
        above = parent if parent in self.groups else ""
        self.tenants[name] = Tenant(name=name, parent=above, quota=quota, reclaim=reclaim)
        self.publish()

    @rule(name=st.sampled_from(TENANTS))
    def delete_tenant(self, name: str) -> None:
        self.tenants.pop(name, None)
        self.publish()

    @rule(name=st.sampled_from(GROUPS), parent=st.sampled_from(["", *GROUPS]), quota=st.none() | quotas(),
          fence=st.booleans())  # fmt: skip
    def write_group(self, name: str, parent: str, quota: Quota | None, *, fence: bool) -> None:
        above = parent if parent in self.groups and name not in self.line_of(parent) else ""
        self.groups[name] = make_group(name, quota, parent=above, fence=fence)
        self.publish()

    @rule(name=st.sampled_from(GROUPS))
    def delete_group(self, name: str) -> None:
        gone = self.groups.pop(name, None)
        if gone is None:
            return
        for member in list(self.tenants.values()):
            if member.parent == name:
                self.tenants[member.name] = Tenant(name=member.name, parent=gone.parent, quota=member.quota)
        for group in list(self.groups.values()):
            if group.parent == name:
                self.groups[group.name] = make_group(group.name, group.quota, parent=gone.parent)
        self.publish()

    @rule(offered=st.one_of(st.none(), st.integers(0, 60)))
    def resize_pool(self, offered: int | None) -> None:
        self.offered = offered
        self.publish()

    def line_of(self, name: str) -> list[str]:
        line = []
        while name:
            line.append(name)
            name = self.groups[name].parent
        return line

    # --- what always holds ----------------------------------------------------------------------------------

    @rule()
    def restart(self) -> None:
        before = self.store.read(Ledger.copy)
        self.store.close()
        self.store = SqliteStore(self.path)
        after = self.store.read(Ledger.copy)
        assert (after.entries, after.quotas) == (before.entries, before.quotas)
        assert usages(after) == usages(before)

    @invariant()
    def agrees_with_the_plain_algebra(self) -> None:
        plain, ledger = self.plain(), self.store.read(Ledger.copy)
        assert {uid: entry.charge for uid, entry in ledger.entries.items()} == self.pods
        tree = ledger.forest.trees.get(CPU)
        for number, name in enumerate(ledger.forest.names if tree else ()):
            assert tree is not None
            if number != ROOT or CPU in ledger.forest.trees:
                assert tree.usage[number] == plain.used[name], name
            if number != ROOT:
                want = max(-CEILING, min(CEILING, plain.available(name)))
                assert tree.available(number).amount == want, name

    @invariant()
    def a_free_reserve_is_admissible_at_once(self) -> None:
        ledger = self.store.read(Ledger.copy)
        for tree in ledger.forest.trees.values():
            for number in range(1, len(tree.parents)):
                reserve, borrow = tree.local[number] - tree.usage[number], tree.borrow[number]
                beyond_max = (
                    borrow is not None and borrow < 0
                )  # members are guaranteed more than the group's max
                assert reserve <= 0 or beyond_max or tree.available(number).amount >= min(reserve, CEILING)

    @invariant()
    def the_sums_are_those_of_the_entries(self) -> None:
        self.store.read(Ledger.verify)

    @invariant()
    def nobody_lends_more_than_it_leaves_idle(self) -> None:
        for one in self.store.read(standings):
            assert 0 <= one.lent <= max(0, one.guaranteed)
            assert not (one.lent and one.borrowed)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        for uid in list(self.pods):
            self.store.release(uid)
        assert all(not any(tree.usage) for tree in self.store.read(Ledger.copy).forest.trees.values())
        self.store.close()
        self.directory.cleanup()


def usages(ledger: Ledger) -> list[list[int]]:
    return [tree.usage for tree in ledger.copy().forest.trees.values()]


def overdrafts(ledger: Ledger) -> dict[str, int]:
    """How far each node is beyond what it brings and may borrow."""
    tree = ledger.forest.trees.get(CPU)
    if tree is None:
        return {}
    limits = {name: tree.borrow[number] for number, name in enumerate(ledger.forest.names)}
    if tree.bounded:
        limits[""] = 0
    return {
        name: max(0, tree.borrowed(ledger.forest.number_of[name]) - limit)
        for name, limit in limits.items()
        if limit is not None
    }


TestSharedQuota = SharedQuota.TestCase
TestSharedQuota.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
