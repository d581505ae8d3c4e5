"""Stories: told once, told anew when they change, the longest silent first."""

from __future__ import annotations

from scheduler.serve.story import REPEAT_S, Stories


def told(stories: Stories, now: float, limit: int = 10, quiet_s: float = 0.0) -> list[tuple[str, str]]:
    return [(uid, story.last.code) for uid, story in stories.tell(now, limit, quiet_s)]


def test_a_story_is_told_once() -> None:
    stories = Stories("run")
    stories.add("a", "NoRoom", "0 of 3", 1.0)
    assert told(stories, 2.0) == [("a", "NoRoom")]
    assert told(stories, 3.0) == []


def test_another_code_is_news_at_once_and_other_numbers_only_after_a_while() -> None:
    stories = Stories("run")
    stories.add("a", "NoRoom", "0 of 3", 1.0)
    told(stories, 1.0)
    stories.add("a", "NoRoom", "0 of 4", 2.0)
    assert told(stories, 3.0) == []
    assert told(stories, 1.0 + REPEAT_S) == [("a", "NoRoom")]
    stories.add("a", "WaitingForQuota", "", 70.0)
    assert told(stories, 70.0) == [("a", "WaitingForQuota")]


def test_a_pod_that_goes_soon_is_told_only_where() -> None:
    stories = Stories("run")
    stories.add("a", "NoRoom", "", 1.0)
    assert told(stories, 1.5, quiet_s=2.0) == []
    stories.add("a", "Guided", "to node n1", 2.0, "n1")
    assert told(stories, 3.5, quiet_s=2.0) == [("a", "Guided")]


def test_a_crowd_is_told_a_few_at_a_time_the_longest_silent_first() -> None:
    stories = Stories("run")
    for name in "abc":
        stories.add(name, "NoRoom", "", 1.0)
    assert told(stories, 2.0, limit=2) == [("a", "NoRoom"), ("b", "NoRoom")]
    assert told(stories, 2.0, limit=2) == [("c", "NoRoom")]


def test_a_pod_that_is_gone_has_no_story_and_every_decision_its_own_id() -> None:
    stories = Stories("run")
    first = stories.add("a", "NoRoom", "", 1.0)
    second = stories.add("a", "NoRoom", "", 2.0)
    assert (first.id, second.id) == ("run-1", "run-2")
    story = stories.of("a")
    assert story is not None
    assert (story.decisions, story.first, story.last) == (2, first, second)
    stories.forget("a")
    assert stories.of("a") is None
    assert told(stories, 3.0) == []
