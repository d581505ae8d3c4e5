"""Lists and watches taken apart: pages, events, notices and junk, in both encodings."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.kube.framing import FrameSplitter, LineSplitter, Splitter, TooLong
from scheduler.kube.objects import NamespaceObject, PodObject
from scheduler.kube.readers import JUNK, MAGIC, JsonReader, Notice, message_of, reader_of
from scheduler.kube.wire import messages

LINE = b'{"type":"ADDED","object":{"metadata":{"name":"n","resourceVersion":"7","labels":{"a":"b"}}}}'


def wrapped(kind: str, content: Any) -> bytes:
    envelope = messages["Envelope"](raw=content.SerializeToString())
    envelope.type.kind = kind
    return MAGIC + bytes(envelope.SerializeToString())


def event(type_: str, kind: str, content: Any) -> bytes:
    found = messages["Event"](type=type_)
    found.object.raw = wrapped(kind, content)
    return bytes(found.SerializeToString())


def pod(name: str, version: str = "7") -> Any:
    found = messages["Pod"]()
    found.metadata.name, found.metadata.version = name, version
    return found


def test_an_event_holds_its_object() -> None:
    for reader, content in (
        (JsonReader(PodObject), LINE),
        (reader_of(PodObject), event("ADDED", "Pod", pod("n"))),
    ):
        found = reader.event(content)
        assert found is not None
        kind, obj = found
        assert (kind, obj.metadata.name, obj.metadata.resource_version) == ("ADDED", "n", "7")


def test_bookmarks_and_errors_are_notices() -> None:
    json_reader, reader = JsonReader(PodObject), reader_of(PodObject)
    bookmark = b'{"type":"BOOKMARK","object":{"metadata":{"creationTimestamp":null,"resourceVersion":"9"}}}'
    error = b'{"type":"ERROR","object":{"kind":"Status","metadata":{},"code":410,"reason":"Expired","message":"old"}}'
    assert json_reader.event(bookmark) is None
    assert json_reader.notice(bookmark) == Notice("BOOKMARK", "9", 0, ": ")
    assert json_reader.notice(error) == Notice("ERROR", "", 410, "Expired: old")
    status = messages["Status"](code=410, reason="Expired", message="old")
    assert reader.event(event("BOOKMARK", "Pod", pod("", "9"))) is None
    assert reader.notice(event("BOOKMARK", "Pod", pod("", "9"))) == Notice("BOOKMARK", "9")
    assert reader.notice(event("ERROR", "Status", status)) == Notice("ERROR", "", 410, "Expired: old")
    assert (json_reader.junk, reader.junk) == (0, 0)


NONSENSE = [
    b"not json",
    b'{"type":"ADDED"}',
    b'{"type":"ADDED","object":7}',
    b'{"type":"WHATEVER","object":{"metadata":{"name":"n"}}}',
    b"\xff\xfe\x00",
    b'{"a":' * 100_000,
    b'{"type":"ADDED","object":{"metadata":{"name":"\xff"}}}',
]


@pytest.mark.parametrize("content", NONSENSE, ids=range(len(NONSENSE)))
def test_junk_is_counted_and_nothing_else(content: bytes) -> None:
    for reader in (JsonReader(PodObject), reader_of(PodObject)):
        assert reader.event(content) is None
        assert reader.notice(content) is None
        assert reader.junk == 1


def test_one_broken_item_does_not_cost_the_page() -> None:
    body = (
        b'{"kind":"NamespaceList","apiVersion":"v1","metadata":{"resourceVersion":"5","continue":"c"},'
        b'"items":[{"metadata":{"name":"a"}},{"metadata":{"name":7}},{"metadata":{"name":"b"}}]}'
    )
    json_reader = JsonReader(NamespaceObject)
    head = json_reader.head(body)
    assert head is not None
    assert (head.resource_version, head.more) == ("5", "c")
    metadata, batches = json_reader.page(body)
    assert metadata == head
    assert [found.metadata.name for batch in batches for found in batch] == ["a", "b"]
    content = messages["List"](
        items=[pod("a").SerializeToString(), b"\xff\xff", pod("b").SerializeToString()]
    )
    content.metadata.version, content.metadata.more = "5", "c"
    reader = reader_of(PodObject)
    assert reader.head(wrapped("PodList", content)) == head
    metadata, pods = reader.page(wrapped("PodList", content))
    assert metadata == head
    assert [found.metadata.name for batch in pods for found in batch] == ["a", "b"]
    assert (json_reader.junk, reader.junk) == (1, 1)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", MAGIC, MAGIC + b"\xff\xff"])
def test_what_is_no_list_is_said_to_be_none(body: bytes) -> None:
    for reader in (JsonReader(PodObject), reader_of(PodObject)):
        try:
            metadata, _ = reader.page(body)
        except JUNK:
            continue
        assert metadata.resource_version == "", "an empty message is an empty list without a version"


def test_a_refusal_speaks_in_either_encoding() -> None:
    assert message_of(wrapped("Status", messages["Status"](message="no"))) == "no"
    assert message_of(b'{"kind":"Status","message":"no"}') == "no"
    assert message_of(b"<html>gateway</html>") == "<html>gateway</html>"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_events_are_the_same_however_the_stream_is_cut(size: int) -> None:
    events = [b"one", b"", b"x" * 700, b"four"]
    lines = b"".join(each + b"\n" for each in events)
    frames = b"".join(len(each).to_bytes(4, "big") + each for each in events)
    cases: list[tuple[Splitter, bytes]] = [(LineSplitter(), lines), (FrameSplitter(), frames)]
    for splitter, content in cases:
        found: list[bytes] = []
        for start in range(0, len(content), size):
            found += splitter.feed(content[start : start + size])
        assert found == events


def test_a_frame_that_claims_gigabytes_is_refused_at_once() -> None:
    with pytest.raises(TooLong):
        FrameSplitter().feed(b"\x7f\xff\xff\xff")
