"""The reflector against a scripted API server: every way in which a watch ends, and what is known after it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scheduler.kube.objects import NamespaceObject
from scheduler.kube.watch import Reflector
from tests.support.scripted import CHUNKED, Peer, answer, chunk, serving


class Names:
    def __init__(self) -> None:
        self.known: set[str] = set()
        self.replacements = 0

    def replaced(self, objects: list[NamespaceObject]) -> None:
        self.replacements += 1
        self.known = {found.metadata.name for found in objects}

    def changed(self, obj: NamespaceObject) -> None:
        self.known.add(obj.metadata.name)

    def removed(self, obj: NamespaceObject) -> None:
        self.known.discard(obj.metadata.name)


def listing(version: int, *names: str, more: str = "") -> bytes:
    items = ",".join(f'{{"metadata":{{"name":"{name}"}}}}' for name in names)
    metadata = f'{{"resourceVersion":"{version}","continue":"{more}"}}'
    return answer(
        f'{{"kind":"NamespaceList","apiVersion":"v1","metadata":{metadata},"items":[{items}]}}'.encode()
    )


def line(type_: str, name: str, version: int) -> bytes:
    body = f'{{"type":"{type_}","object":{{"metadata":{{"name":"{name}","resourceVersion":"{version}"}}}}}}\n'
    return chunk(body.encode())


EXPIRED = chunk(b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}\n')
END = chunk(b"")
Step = Callable[[Peer, str], Awaitable[None]]


def says(*pieces: bytes, then: str = "end") -> Step:
    async def step(peer: Peer, _: str) -> None:
        await peer.send(*pieces)
        if then == "hang":
            await asyncio.sleep(30)
        if then == "close":
            peer.close()

    return step


def follow(
    steps: list[Step], until: Callable[[Names, list[str]], bool], **options: Any
) -> tuple[Names, list[str], Any]:
    """Run a reflector through the steps, one a request; what it knows, what it asked, and itself."""
    asked: list[str] = []
    names = Names()

    async def talk(peer: Peer) -> None:
        while True:
            first, _ = await peer.request()
            asked.append(first)
            await steps[min(len(asked), len(steps)) - 1](peer, first)

    async def session() -> Any:
        async with serving(talk) as server:
            reflector = Reflector(
                server.connection, "/api/v1/namespaces", NamespaceObject, names, time.monotonic,
                random.Random(1), **options,  # noqa: S311  spreads retries
            )  # fmt: skip
            task = asyncio.ensure_future(reflector.run())
            end = time.monotonic() + 15
            while not until(names, asked):
                assert time.monotonic() < end, (names.known, asked, reflector.last_error)
                assert not task.done(), task.exception()
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            return reflector

    reflector = asyncio.run(session())
    return names, asked, reflector


QUIET = says(CHUNKED, then="hang")


def test_pages_follow_one_another_and_the_watch_begins_where_they_stand() -> None:
    steps = [
        says(listing(5, "a", more="m1")),
        says(listing(5, "b", more="m2")),
        says(listing(5, "c")),
        says(CHUNKED, line("ADDED", "d", 6), line("DELETED", "a", 7), then="hang"),
    ]
    names, asked, reflector = follow(steps, lambda names, _: "a" not in names.known and "d" in names.known)
    assert names.known == {"b", "c", "d"}
    assert ["continue=" in each for each in asked] == [False, True, True, False]
    assert "resourceVersion=5&" in asked[3]
    assert (reflector.version, names.replacements) == ("7", 1)


@pytest.mark.parametrize("then", ["end", "close"])
def test_a_watch_that_ends_resumes_where_it_was(then: str) -> None:
    pieces = [CHUNKED, line("ADDED", "b", 6), line("BOOKMARK", "", 9)]
    steps = [
        says(listing(5, "a")),
        says(*pieces, *([END] if then == "end" else []), then=then),
        says(CHUNKED, line("ADDED", "c", 10), then="hang"),
    ]
    names, asked, _ = follow(steps, lambda names, _: "c" in names.known)
    assert "resourceVersion=9&" in asked[2]
    assert names.replacements == 1


@pytest.mark.parametrize(
    "gone",
    [says(CHUNKED, EXPIRED, END), says(answer(b'{"message":"too old"}', "410 Gone"))],
    ids=["event", "status"],
)
def test_a_version_that_is_gone_lists_again(gone: Step) -> None:
    steps = [says(listing(5, "a", "b")), gone, says(listing(50, "b", "c")), QUIET]
    names, asked, reflector = follow(steps, lambda names, asked: len(asked) >= 4)
    assert names.known == {"b", "c"}
    assert "resourceVersion=50&" in asked[3]
    assert (names.replacements, reflector.lists) == (2, 2)
    assert "too old" in reflector.last_error


def test_a_page_token_that_is_gone_begins_the_list_anew() -> None:
    steps = [says(listing(5, "a", more="m")), says(answer(b"{}", "410 Gone")), says(listing(6, "b")), QUIET]
    names, _, _ = follow(steps, lambda names, asked: len(asked) >= 4)
    assert names.known == {"b"}, "never the half of a list"


def test_a_half_open_watch_is_left_and_resumed() -> None:
    steps = [says(listing(5, "a")), QUIET, says(CHUNKED, line("ADDED", "b", 6), then="hang")]
    names, _, reflector = follow(steps, lambda names, _: "b" in names.known, silence_s=0.3)
    assert names.replacements == 1
    assert "nothing was heard" in reflector.last_error


BAD_LISTS = [
    says(answer(b"<html>a proxy's page</html>")),
    says(answer(b'{"items":[]}')),
    says(answer(b"{}")),
    says(answer(b"", "403 Forbidden")),
    says(answer(b"\xff" * 100_000)),
]


@pytest.mark.parametrize("bad", BAD_LISTS, ids=range(len(BAD_LISTS)))
def test_an_answer_that_is_no_list_empties_nothing(bad: Step) -> None:
    steps = [says(listing(5, "a")), says(CHUNKED, EXPIRED, END), bad, bad, says(listing(9, "a", "b")), QUIET]
    seen: list[int] = []

    def until(names: Names, asked: list[str]) -> bool:
        seen.append(len(names.known))
        return len(asked) >= 6

    names, _, _ = follow(steps, until)
    assert 0 not in seen[seen.index(1) :], "what was known stays until something better is"
    assert names.known == {"a", "b"}


def test_a_server_that_ends_every_watch_at_once_is_not_hammered() -> None:
    began = time.monotonic()
    steps = [says(listing(5, "a")), says(CHUNKED, END)]
    _, asked, _ = follow(steps, lambda _, asked: time.monotonic() - began > 2)
    assert len(asked) < 12


def test_junk_between_events_costs_nothing_else() -> None:
    junk = [
        chunk(b"\x00\xff\n"),
        chunk(b'{"type":"ADDED","object":{"metadata":{"name":1}}}\n'),
        chunk(b"x" * 2_000_000 + b"\n"),
    ]
    steps = [says(listing(5, "a")), says(CHUNKED, *junk, line("ADDED", "b", 6), then="hang")]
    names, _, reflector = follow(steps, lambda names, _: "b" in names.known)
    assert reflector.junk == 3
    assert names.replacements == 1


def test_everything_is_listed_again_from_time_to_time() -> None:
    steps = [says(listing(5, "a")), says(CHUNKED, END), says(listing(9, "b")), QUIET]
    names, _, reflector = follow(steps, lambda names, _: names.known == {"b"}, resync_s=0.05)
    assert reflector.lists == 2
    assert names.replacements == 2
