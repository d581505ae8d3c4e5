"""Any order of steps: the ledger alone, SQLite and Redis, each through two openings, give the same answers."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.store.opening import open_store
from scheduler.store.protocol import Answer
from scheduler.store.steps import Steps
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.ledger.forest import Quotas, quotas_of
from tests.support.ledger import make_charge, make_group, make_set
from tests.support.stores import redis_server
from tests.support.tenants import cpu, make_tenant

pytestmark = pytest.mark.real

Step = Callable[[Steps], object]
UIDS = st.sampled_from([f"p{n}" for n in range(6)])
TIMES = st.integers(0, 120).map(float)


class Plain(Steps):
    """The ledger with nothing around it."""

    def __init__(self) -> None:
        self.ledger = Ledger()

    def _step(self, decide: Callable[[Ledger], Answer]) -> Answer:
        return decide(self.ledger)


def trees(offered: int, most: int) -> Quotas:
    group = make_group("g", cpu(4, max=most))
    members = (make_tenant("a", parent="g", quota=cpu(4, lend=2)), make_tenant("b", quota=cpu(4)))
    return quotas_of(make_set(group, *members, offered={"cpu": offered}))


CHARGES = st.builds(
    lambda uid, tenant, amount, priority: make_charge(uid, tenant, cpu=amount, priority=priority, born=amount),
    UIDS, st.sampled_from(["a", "b", "nobody"]), st.integers(1, 6), st.integers(0, 1),
)  # fmt: skip
BATCHES = st.lists(CHARGES, max_size=5)


def step(
    name: str, *arguments: st.SearchStrategy[object]
) -> st.SearchStrategy[tuple[str, tuple[object, ...]]]:
    return st.tuples(st.just(name), st.tuples(*arguments))


def named(charges: list[Charge]) -> dict[str, Charge]:
    return {charge.uid: charge for charge in charges}


STEPS = st.one_of(
    step("configure", st.builds(trees, st.integers(4, 20), st.integers(4, 12))),
    step("admit", CHARGES),
    step("admit_all", BATCHES),
    step("reserve", BATCHES, TIMES, TIMES),
    step("confirm", UIDS),
    step("confirm_all", st.lists(UIDS, max_size=3)),
    step("expire", TIMES, st.frozensets(UIDS)),
    step("reconcile", BATCHES.map(named), TIMES),
    step("record", BATCHES),
    step("terminate", UIDS),
    step("release", UIDS),
    step("release_all", st.lists(UIDS, max_size=3)),
    step("reclaim", CHARGES),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running.address


NUMBERS = itertools.count()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
def test_all_stores_answer_alike(server: str, steps: list[tuple[str, tuple[object, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        addresses = (f"sqlite:{Path(directory) / 'l.db'}", f"{server}?ledger=n{next(NUMBERS)}")
        pairs = [(open_store(address), open_store(address)) for address in addresses]
        for store in itertools.chain(*pairs):
            stack.callback(store.close)
        plain = Plain()
        for everybody in (plain, *(pair[0] for pair in pairs)):
            everybody.configure(trees(12, 8))
        for number, (name, arguments) in enumerate(steps):
            want = getattr(plain, name)(*arguments)
            for pair in pairs:
                assert getattr(pair[number % 2], name)(*arguments) == want, (name, arguments)
        plain.ledger.verify()
        for store in itertools.chain(*pairs):
            twin = store.read(Ledger.copy)
            assert (twin.entries, twin.quotas) == (plain.ledger.entries, plain.ledger.quotas)
            twin.verify()
