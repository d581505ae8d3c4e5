"""Whether a refusal is true: no node could have taken the pod, and what it says of the nodes is so. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from benchmarks.checker.cluster import BASE, Ask, Cluster, Int64, Masks
from benchmarks.checker.findings import BIT, CHECKS, ISOLATION, Kind
from benchmarks.checker.lines import Blocker, Refused
from benchmarks.checker.placements import check_runtime

Found = Iterator[tuple[Kind, str]]

TENANT_RULES = "TenantRules"
NO_NODES = "NodeGone"
EVERY_BIT = np.arange(len(CHECKS), dtype=np.uint32)


def check_refused(cluster: Cluster, ask: Ask, line: Refused) -> Found:
    """Everything wrong with a refusal."""
    if (line.reason == TENANT_RULES) != bool(ask.admission.refusal):
        due = ask.admission.refusal or "the tenant's rules admit it"
        yield Kind.REASON, f"pod {line.pod} was refused for {line.reason}, but {due}"
    if ask.admission.refusal or line.reason == TENANT_RULES:
        return
    yield from check_runtime(ask, line)
    masks = judged(cluster, ask)
    fitting = np.nonzero(masks == 0)[0]
    if len(fitting):
        name = cluster.nodes[int(fitting[0])].name
        yield (
            Kind.FITS,
            f"pod {line.pod} was refused, {len(fitting)} nodes could take it, the first is {name}",
        )
        return
    total = sum(blocker.nodes for blocker in line.blockers)
    if total != len(cluster.nodes):
        yield Kind.TOTAL, f"pod {line.pod}: blockers name {total} nodes, the cluster has {len(cluster.nodes)}"
        return
    yield from check_blockers(masks, line)
    yield from check_decisive(cluster, ask, masks, line)


def judged(cluster: Cluster, ask: Ask) -> Masks:
    """What rules each node out; topology spread is looked at where nothing else speaks against the node."""
    masks = cluster.masks(ask)
    if not ask.shape.spread:
        return masks
    masks = masks.copy()
    for node in np.nonzero(masks == 0)[0].tolist():
        if any(cluster.excess(ask, spread, node) > 0 for spread in ask.shape.spread):
            masks[node] = BIT[Kind.SPREAD]
    return masks


def check_blockers(masks: Masks, line: Refused) -> Found:
    """Each count is that of the nodes which fail this check first.

    Of the rules between tenants any broken one may be named: their counts are bounded by the nodes that break
    them, and exact together.
    """
    claimed = Counter[str]()
    for blocker in line.blockers:
        claimed[blocker.reason] += blocker.nodes
    first, broken = tally(first_bits(masks)), tally(masks & isolated(masks))
    for kind in CHECKS:
        least, most = (0, broken[kind]) if kind in ISOLATION else (first[kind], first[kind])
        if not least <= claimed[kind] <= most:
            yield (
                Kind.BLOCKER,
                f"pod {line.pod}: {kind} is said of {claimed[kind]} nodes, it holds for {most}",
            )
    between, said = sum(first[kind] for kind in ISOLATION), sum(claimed[kind] for kind in ISOLATION)
    if between != said:
        yield Kind.BLOCKER, f"pod {line.pod}: tenants are said to rule out {said} nodes, they do {between}"
    for reason in claimed.keys() - set(CHECKS) - {NO_NODES}:
        yield Kind.BLOCKER, f"pod {line.pod}: no rule is called {reason!r}"


def first_bits(masks: Masks) -> Masks:
    """The lowest bit of each mask: the first check that fails."""
    return masks & (~masks + np.uint32(1))


def isolated(masks: Masks) -> Masks:
    """All ones where a rule between tenants decides, all zeros elsewhere."""
    between = np.uint32(sum(BIT[kind] for kind in ISOLATION))
    return np.where(first_bits(masks) & between, np.uint32(0xFFFFFFFF), np.uint32(0)).astype(np.uint32)


def tally(masks: Masks) -> dict[Kind, int]:
    """Nodes per bit."""
    values, counts = np.unique(masks, return_counts=True)
    per_bit = (((values[:, None] >> EVERY_BIT) & 1) * counts[:, None]).sum(axis=0)
    return dict(zip(CHECKS, per_bit.tolist(), strict=True))


def check_decisive(cluster: Cluster, ask: Ask, masks: Masks, line: Refused) -> Found:
    """The reason named is that of the nodes that came furthest, and its numbers are those of the nearest of them."""
    if not line.blockers:
        return
    decisive = line.blockers[-1]
    if line.reason != decisive.reason or not decisive.nodes:
        yield Kind.REASON, f"pod {line.pod}: {line.reason} is not what {decisive.nodes} last blockers say"
    if decisive.reason not in set(CHECKS[CHECKS.index(Kind.CPU) : CHECKS.index(Kind.SPREAD)]):
        return
    kind = Kind(decisive.reason)
    rows = np.nonzero(first_bits(masks) == BIT[kind])[0]
    if len(rows):
        yield from check_numbers(cluster, ask, line, decisive, rows)


def check_numbers(cluster: Cluster, ask: Ask, line: Refused, decisive: Blocker, rows: Int64) -> Found:
    """What was asked, and the most that any of the nodes has."""
    kind = Kind(decisive.reason)
    if kind is Kind.EXTENDED:
        yield from check_extended(ask, line, decisive)
        return
    asked, most = nearest(cluster, ask, kind, rows)
    if (decisive.asked, decisive.most) != (asked, most):
        said = f"asked {decisive.asked}, most {decisive.most}"
        yield Kind.AMOUNT, f"pod {line.pod}: {kind} says {said}, in truth asked {asked}, most {most}"


def check_extended(ask: Ask, line: Refused, decisive: Blocker) -> Found:
    """Several extended resources may be short: the numbers are those of one of them, and it is short."""
    stated = {amount for name, amount in ask.shape.requests if name not in BASE}
    if decisive.asked not in stated or decisive.most is None or not 0 <= decisive.most < decisive.asked:
        said = f"asked {decisive.asked}, most {decisive.most}"
        yield (
            Kind.AMOUNT,
            f"pod {line.pod}: an extended resource is said to be short, {said}; asked is {stated}",
        )


def nearest(cluster: Cluster, ask: Ask, kind: Kind, rows: Int64) -> tuple[int, int]:
    """What was asked, and the most that any of the nodes has."""
    match kind:
        case Kind.WHOLE_GPUS:
            return ask.count, int((cluster.gpu[rows] >= ask.milli).sum(axis=1).max())
        case Kind.GPU_FRACTION:
            return ask.milli, max(int(cluster.gpu[rows].max(initial=0)), 0)
        case _:
            column = cluster.kind_of_column.index(kind)
            return int(ask.request[column]), int(cluster.free[rows, column].max())
