"""What a waiting pod is told: the code with the numbers that decided."""

from __future__ import annotations

from scheduler import model
from scheduler.queueing.waiting import Code, Story, Waiting
from tenants.ledger.answer import Reason, Refused, Shortage
from tenants.ledger.book import Ledger
from tenants.ledger.standing import lent
from tenants.ledger.tree import ROOT
from tenants.model import Dimension
from tenants.quantity import render

CODES = {
    Reason.WAITING_FOR_QUOTA: Code.WAITING_FOR_QUOTA,
    Reason.BORROWING_LIMIT_REACHED: Code.BORROWING_LIMIT,
    Reason.EXCEEDS_MAX_QUOTA: Code.EXCEEDS_MAX,
    Reason.DIMENSION_NOT_STATED: Code.NOT_STATED,
    Reason.NO_SUCH_TENANT: Code.NO_TENANT,
}
MOST_BLOCKERS = 4


def of_quota(ledger: Ledger, waiting: Waiting, refusal: Refused) -> Story:
    """`tenant agents 64/64 guaranteed, 16 borrowed, lender batch reclaims` and what is short."""
    code = CODES[refusal.reason]
    if not refusal.shortages:
        return Story(code, f"tenant {waiting.tenant} is not in the tenant files")
    first = refusal.shortages[0]
    short = "; ".join(str(one) for one in refusal.shortages)
    if first.reason is Reason.DIMENSION_NOT_STATED:
        return Story(code, short)
    return Story(code, f"{_standing(ledger, waiting.tenant, first)}; {short}")


def _standing(ledger: Ledger, tenant: str, shortage: Shortage) -> str:
    dimension = shortage.dimension
    tree, leaf = ledger.forest.trees[dimension], ledger.forest.leaf(tenant)
    used, guaranteed = tree.usage[leaf], tree.guaranteed[leaf]
    unit = dimension.resource
    own = render(unit, min(used, guaranteed)) if used >= 0 else "0"
    borrowed = max(0, tree.borrowed(leaf))
    text = f"tenant {tenant} {own}/{render(unit, guaranteed)} guaranteed, {render(unit, borrowed)} borrowed"
    lenders = lenders_of(ledger, dimension, leaf) if borrowed else []
    return text + (f", lender {' and '.join(lenders)} reclaims" if lenders else "")


def lenders_of(ledger: Ledger, dimension: Dimension, borrower: int) -> list[str]:
    """The tenants whose guarantee others use now, the largest lender first, at most three."""
    amounts = lent(ledger, dimension)
    tenants = [
        (-amount, ledger.forest.names[number])
        for number, amount in enumerate(amounts)
        if amount and number not in (ROOT, borrower) and not ledger.forest.members[number]
    ]
    return [name for _, name in sorted(tenants)[:3]]


def of_room(refused: model.Refused, node: str = "") -> Story:
    """How many nodes each reason rules out; `node` is being kept free for the pod."""
    parts = []
    for one in refused.blockers[-MOST_BLOCKERS:]:
        numbers = f" (asked {one.asked}, most {one.most})" if one.asked is not None else ""
        parts.append(f"{one.nodes} nodes {one.reason}{numbers}")
    detail = refused.detail or ", ".join(parts)
    if node:
        return Story(Code.HOLDS_NODE, f"node {node} is kept free for it; {detail}")
    return Story(Code.NO_ROOM, f"{refused.reason}: {detail}")


def of_group(have: int, settled: int, waiting: Waiting) -> Story:
    """How many members there are of how many."""
    wanted = waiting.group.min_count if waiting.group else 1
    name = waiting.group.name if waiting.group else ""
    return Story(Code.GROUP, f"{have + settled}/{wanted} members of group {name} are here")


def of_partial_group(story: Story, done: int, need: int, member: Waiting) -> Story:
    """A group that cannot go: how far it came, and what stopped it."""
    return Story(story.code, f"{done}/{need} members of the group can go; {member.key}: {story.detail}")


def behind(waiting: Waiting, first: Waiting) -> Story:
    """Quota is kept for `first`."""
    if first.priority > waiting.priority:
        return Story(Code.BEHIND_PRIORITY, f"quota is kept for {first.key} of priority {first.priority}")
    return Story(Code.BEHIND_OLDER, f"quota is kept for {first.key}, which waits longer")
