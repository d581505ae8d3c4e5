"""The rules of the set against a plain reading of them: every pair, every path, every sum, however slow."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from tenants.files.load import parse
from tenants.files.problem import Kind
from tenants.model import TenantSet

Node = tuple[str, str, int | None]  # name, parent or "", guaranteed CPU or None = says nothing


def document(kind: str, name: str, fields: Iterable[str]) -> str:
    return "\n".join(["apiVersion: bulkhead.dev/v1", f"kind: {kind}", f"name: {name}", *fields, ""])


def found_in(documents: Iterable[str], kind: Kind) -> set[str]:
    """Files with a problem of this class; each document is a file named by its place."""
    found = parse({str(number): text for number, text in enumerate(documents)})
    return set() if isinstance(found, TenantSet) else {p.path for p in found if p.kind is kind}


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Node], list[Node]]:
    """Groups g0.. whose parents come before them, and tenants below them."""
    guarantees = st.none() | st.integers(0, 6)
    groups: list[Node] = []
    for number in range(draw(st.integers(0, 5))):
        parent = draw(st.sampled_from(["", *(name for name, _, _ in groups)]))
        groups.append((f"g{number}", parent, draw(guarantees)))
    names = ["", *(name for name, _, _ in groups)]
    tenants: list[Node] = [
        (f"t{number}", draw(st.sampled_from(names)), draw(guarantees))
        for number in range(draw(st.integers(0, 5)))
    ]
    return groups, tenants


def written(groups: list[Node], tenants: list[Node]) -> list[str]:
    texts = []
    for kind, nodes in (("TenantGroup", groups), ("Tenant", tenants)):
        for name, parent, guaranteed in nodes:
            fields = [f"parent: {parent}"] if parent else []
            fields += [f"quota: {{default: {{cpu: {guaranteed}}}}}"] if guaranteed is not None else []
            texts.append(document(kind, name, fields))
    return texts


def promised(name: str, nodes: list[Node]) -> int:
    """What a node guarantees: what it states, else what its members do."""
    [stated] = [guaranteed for node, _, guaranteed in nodes if node == name]
    return stated if stated is not None else of_members(name, nodes)


def of_members(name: str, nodes: list[Node]) -> int:
    return sum(promised(node, nodes) for node, parent, _ in nodes if parent == name)


@settings(deadline=None)
@given(trees())
def test_a_group_is_told_exactly_when_its_members_are_promised_more_than_it_has(
    tree: tuple[list[Node], list[Node]],
) -> None:
    groups, tenants = tree
    nodes = [*groups, *tenants]
    want = {
        str(number)
        for number, (name, _, stated) in enumerate(groups)
        if stated is not None and of_members(name, nodes) > stated
    }
    assert found_in(written(groups, tenants), Kind.GUARANTEED_OVER_PARENT) == want


@settings(deadline=None)
@given(trees(), st.integers(0, 20))
def test_the_pool_is_told_exactly_when_more_is_promised_in_all_than_it_offers(
    tree: tuple[list[Node], list[Node]], offered: int
) -> None:
    groups, tenants = tree
    nodes = [*groups, *tenants]
    pool = document("Pool", "default", [f"allocatable: {{cpu: {offered}}}"])
    told = found_in([*written(groups, tenants), pool], Kind.GUARANTEED_OVER_ALLOCATABLE)
    assert bool(told) == (sum(promised(name, nodes) for name, parent, _ in nodes if not parent) > offered)


@settings(deadline=None)
@given(trees())
def test_a_tenant_is_told_exactly_when_nobody_above_states_its_cpu(
    tree: tuple[list[Node], list[Node]],
) -> None:
    groups, tenants = tree
    by_name = {name: (parent, stated) for name, parent, stated in [*groups, *tenants]}
    want = set()
    for number, (name, _, _) in enumerate(tenants):
        path = [name]
        while by_name[path[-1]][0]:
            path.append(by_name[path[-1]][0])
        if all(by_name[step][1] is None for step in path):
            want.add(str(len(groups) + number))
    texts = [text.replace("{cpu:", "{memory: 1, cpu:") for text in written(groups, tenants)]
    assert found_in(texts, Kind.NOT_STATED) == want


@settings(deadline=None)
@given(st.lists(st.integers(0, 7), max_size=8))
def test_every_circle_is_told_once_and_nothing_else_is_called_one(parents: list[int]) -> None:
    size = len(parents)
    texts = [
        document("TenantGroup", f"g{number}", [f"parent: g{parent}"] if parent < size else [])
        for number, parent in enumerate(parents)
    ]
    circles = set()
    for start in range(size):
        seen: list[int] = []
        number = start
        while number < size and number not in seen:
            seen.append(number)
            number = parents[number]
        if number < size:
            circles.add(frozenset(seen[seen.index(number) :]))
    told = found_in(texts, Kind.CYCLE)
    assert len(told) == len(circles)
    assert all(any(int(path) in circle for circle in circles) for path in told)


PATTERNS = st.sampled_from(["a", "a*", "a-b", "a-*", "a-b*", "ab", "ab*", "c", "c-*", "a-b-c"])


def overlap(one: str, other: str) -> bool:
    """Whether a namespace could be covered by both."""
    if one.endswith("*") and other.endswith("*"):
        return one[:-1].startswith(other[:-1]) or other[:-1].startswith(one[:-1])
    if one.endswith("*"):
        return other.startswith(one[:-1])
    return one.startswith(other[:-1]) if other.endswith("*") else one == other


@settings(deadline=None)
@given(st.lists(st.lists(PATTERNS, min_size=1, max_size=3), max_size=4))
def test_an_overlap_is_told_exactly_when_two_tenants_could_own_one_namespace(owners: list[list[str]]) -> None:
    texts = [
        document("Tenant", f"t{number}", [f"namespaces: {[*patterns]}"])
        for number, patterns in enumerate(owners)
    ]
    involved = {
        str(number)
        for number, mine in enumerate(owners)
        for other, theirs in enumerate(owners)
        if number != other and any(overlap(a, b) for a in mine for b in theirs)
    }
    told = found_in(texts, Kind.NAMESPACE_OVERLAP)
    assert told <= involved
    assert bool(told) == bool(involved)
