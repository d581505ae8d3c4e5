"""What has been decided about each pod, and why: told to people by events, conditions, logs and `explain`. Pure.

A story is kept while its pod exists. Telling the API server costs a write, so what has not changed is not told
again, and the pods of a crowd are told a few at a time, the longest silent first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

REPEAT_S: Final = 60.0
"""A pod whose reason keeps its code and changes its numbers is told so at most this often."""


class Decision(msgspec.Struct, frozen=True):
    """One decision: a code that machines read (`WaitingForQuota`), a sentence with the numbers, when, and its id."""

    id: str
    at_s: float
    code: str
    detail: str
    node: str = ""


class Story(msgspec.Struct):
    """The first decision about a pod, the last, and how many there were."""

    first: Decision
    last: Decision
    decisions: int = 1
    told: Decision | None = None


class Stories:
    """The stories of all pods that exist, by UID."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._number = 0
        self._stories: dict[str, Story] = {}
        self._untold: OrderedDict[str, None] = OrderedDict()

    def add(
        self, uid: str, code: str, detail: str, now_s: float, node: str = "", *, news: bool = True
    ) -> Decision:
        """Write down a decision; one that is no news is told only to the owner of a pod that was told to wait."""
        self._number += 1
        decision = Decision(f"{self._run}-{self._number}", now_s, code, detail, node)
        story = self._stories.get(uid)
        if story is None:
            self._stories[uid] = Story(decision, decision)
        else:
            story.last = decision
            story.decisions += 1
        if news or self._stories[uid].told is not None:
            self._untold[uid] = None
        else:
            self._untold.pop(uid, None)
        return decision

    def of(self, uid: str) -> Story | None:
        """The story of a pod."""
        return self._stories.get(uid)

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._stories.pop(uid, None)
        self._untold.pop(uid, None)

    def tell(self, now_s: float, limit: int, quiet_s: float = 0.0) -> list[tuple[str, Story]]:
        """Up to `limit` stories that the pod's owner has not heard, the longest silent first; they count as told.

        A pod is told nothing of what happened to it less than `quiet_s` after its first decision.
        """
        found: list[tuple[str, Story]] = []
        for uid in list(self._untold):
            if len(found) == limit:
                break
            story = self._stories[uid]
            if now_s - story.first.at_s < quiet_s:
                continue
            if self._is_news(story, now_s):
                story.told = story.last
                found.append((uid, story))
                del self._untold[uid]
            elif story.told == story.last:
                del self._untold[uid]
        return found

    @staticmethod
    def _is_news(story: Story, now_s: float) -> bool:
        if story.told is None or story.told.code != story.last.code:
            return True
        return story.told.detail != story.last.detail and now_s - story.told.at_s >= REPEAT_S
