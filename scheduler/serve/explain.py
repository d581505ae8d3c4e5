"""Why a pod stands where it stands, or waits; for `bulkhead explain` and /explain. Pure."""

from __future__ import annotations

import msgspec

from scheduler.mirror.mirror import Mirror
from scheduler.queueing.queue import Queue
from scheduler.serve.story import Decision, Stories
from tenants.quantity import render


class Explanation(msgspec.Struct, frozen=True):
    """All that is known of one pod. `position` counts the pods of its tenant that come before it."""

    pod: str
    uid: str
    tenant: str
    stage: str
    node: str
    pool: str
    charge: dict[str, str]
    code: str
    detail: str
    position: int | None
    decisions: int
    first: Decision | None
    last: Decision | None


def explanation(mirror: Mirror, queue: Queue, stories: Stories, uid: str) -> Explanation:
    """Put together what the mirror, the queue and the stories know."""
    record, waits, story = mirror.pods[uid], queue.story(uid), stories.of(uid)
    code, detail = ("", "")
    if waits is not None:
        code, detail = str(waits.code), waits.detail
    elif story is not None:
        code, detail = story.last.code, story.last.detail
    return Explanation(
        pod=record.key,
        uid=uid,
        tenant=record.tenant,
        stage=str(record.stage),
        node=record.node,
        pool=record.charge.pool,
        charge={name: render(name, amount) for name, amount in record.charge.amounts},
        code=code,
        detail=detail,
        position=queue.position(uid),
        decisions=story.decisions if story else 0,
        first=story.first if story else None,
        last=story.last if story else None,
    )
