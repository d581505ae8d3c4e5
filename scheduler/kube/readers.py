"""What list and watch send, taken apart into objects: one reader for JSON, one for protobuf. Pure.

One object that does not decode never costs the others: it is left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from scheduler.kube.framing import FrameSplitter, LineSplitter, Splitter
from scheduler.kube.objects import StatusObject
from scheduler.kube.protobuf import DECODERS
from scheduler.kube.wire import messages

T = TypeVar("T")

MAGIC: Final = b"k8s\x00"
JUNK: Final = (msgspec.DecodeError, DecodeError, RecursionError, UnicodeDecodeError)
BATCH: Final = 250  # items; some 3 ms, after which others have their turn
EVENTS: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})
# How the API server begins a list; what stands there is enough to ask for the next page before this one is decoded.
_HEAD = re.compile(rb'\{"kind":"\w+","apiVersion":"[\w./]+","metadata":(\{[^{}]*\}),"items":\[')
_LONGEST_HEAD: Final = 8192


class ListMetadata(msgspec.Struct, rename="camel", gc=False):
    """Where a list stands; `more` asks for the page after it."""

    resource_version: str = ""
    more: str = msgspec.field(default="", name="continue")


class Notice(msgspec.Struct, gc=False):
    """A BOOKMARK with its version, or an ERROR with its code and reason."""

    type: str
    version: str = ""
    code: int = 0
    message: str = ""


class Reader(Protocol[T]):
    """One kind of object in one encoding."""

    accept: str
    stream_accept: str
    junk: int

    def splitter(self) -> Splitter:
        """Cuts one watch into events."""
        ...

    def head(self, body: bytes) -> ListMetadata | None:
        """The metadata of a page, cheaply; None where that cannot be told before `page`."""
        ...

    def page(self, body: bytes) -> tuple[ListMetadata, Iterator[list[T]]]:
        """A page of a list in batches, without the items that do not decode. Raises one of JUNK where it is no list."""
        ...

    def event(self, event: bytes) -> tuple[str, T] | None:
        """(ADDED | MODIFIED | DELETED, object); None for everything else, which `notice` tells apart."""
        ...

    def notice(self, event: bytes) -> Notice | None:
        """The bookmark or error that an event without an object is; None for junk, which is counted."""
        ...


class _Raws(msgspec.Struct, gc=False):
    metadata: ListMetadata = msgspec.field(default_factory=ListMetadata)
    items: tuple[msgspec.Raw, ...] | None = None


class _NoticeMetadata(msgspec.Struct, rename="camel", gc=False):
    resource_version: str = ""


class _NoticeObject(msgspec.Struct, gc=False):
    metadata: _NoticeMetadata = msgspec.field(default_factory=_NoticeMetadata)
    code: int = 0
    reason: str = ""
    message: str = ""


class _Notice(msgspec.Struct, gc=False):
    type: str
    object: _NoticeObject


class JsonReader(Generic[T]):
    """Any kind, as JSON."""

    accept = stream_accept = "application/json"

    def __init__(self, type_: type[T]) -> None:
        items: Any = list[type_] | None  # type: ignore[valid-type]  # known at run time only
        event: Any = msgspec.defstruct("Event", [("type", str), ("object", type_)], gc=False)
        page: Any = msgspec.defstruct("Page", [("metadata", ListMetadata), ("items", items)], gc=False)
        self._event: msgspec.json.Decoder[Any] = msgspec.json.Decoder(event)
        self._page: msgspec.json.Decoder[Any] = msgspec.json.Decoder(page)
        self._item = msgspec.json.Decoder(type_)
        self.junk = 0

    def splitter(self) -> Splitter:
        """See `Reader`."""
        return LineSplitter()

    def head(self, body: bytes) -> ListMetadata | None:
        """See `Reader`."""
        match = _HEAD.match(body, 0, _LONGEST_HEAD)
        try:
            return msgspec.json.decode(match.group(1), type=ListMetadata) if match else None
        except JUNK:
            return None

    def page(self, body: bytes) -> tuple[ListMetadata, Iterator[list[T]]]:
        """See `Reader`."""
        try:
            found = self._page.decode(body)
        except JUNK:
            rough = msgspec.json.decode(body, type=_Raws)
            return rough.metadata, iter([_kept(self, self._item.decode, rough.items or ())])
        return found.metadata, iter([found.items or []])

    def event(self, event: bytes) -> tuple[str, T] | None:
        """See `Reader`."""
        try:
            found = self._event.decode(event)
        except JUNK:
            return None
        return (found.type, found.object) if found.type in EVENTS else None

    def notice(self, event: bytes) -> Notice | None:
        """See `Reader`."""
        if not event:
            return None
        try:
            found = msgspec.json.decode(event, type=_Notice)
        except JUNK:
            self.junk += 1
            return None
        if found.type not in ("BOOKMARK", "ERROR"):
            self.junk += 1
            return None
        about = found.object
        message = f"{about.reason}: {about.message}"
        return Notice(found.type, about.metadata.resource_version, about.code, message)


class ProtobufReader(Generic[T]):
    """A kind of `protobuf.DECODERS`."""

    accept = "application/vnd.kubernetes.protobuf"
    stream_accept = "application/vnd.kubernetes.protobuf;stream=watch"

    def __init__(self, decode: Callable[[bytes], T]) -> None:
        self._decode = decode
        self._event = messages["Event"].FromString
        self._page: tuple[bytes, Any] | None = None
        self.junk = 0

    def splitter(self) -> Splitter:
        """See `Reader`."""
        return FrameSplitter()

    def head(self, body: bytes) -> ListMetadata | None:
        """See `Reader`."""
        try:
            found = messages["List"].FromString(unwrapped(body))
        except JUNK:
            return None
        self._page = body, found
        return ListMetadata(found.metadata.version, found.metadata.more)

    def page(self, body: bytes) -> tuple[ListMetadata, Iterator[list[T]]]:
        """See `Reader`."""
        ahead, self._page = self._page, None
        found = ahead[1] if ahead and ahead[0] is body else messages["List"].FromString(unwrapped(body))
        metadata = ListMetadata(found.metadata.version, found.metadata.more)
        return metadata, map(self._decoded, _batches(found.items))

    def _decoded(self, items: Sequence[bytes]) -> list[T]:
        try:
            return list(map(self._decode, items))
        except JUNK:
            return _kept(self, self._decode, items)

    def event(self, event: bytes) -> tuple[str, T] | None:
        """See `Reader`."""
        try:
            found = self._event(event)
            if found.type not in EVENTS:
                return None
            return found.type, self._decode(unwrapped(found.object.raw))
        except JUNK:
            return None

    def notice(self, event: bytes) -> Notice | None:
        """See `Reader`."""
        try:
            found = self._event(event)
            if found.type == "BOOKMARK":
                about = messages["Pod"].FromString(
                    unwrapped(found.object.raw)
                )  # metadata stands first in all kinds
                return Notice(found.type, about.metadata.version)
            if found.type == "ERROR":
                status = messages["Status"].FromString(unwrapped(found.object.raw))
                return Notice(found.type, "", status.code, f"{status.reason}: {status.message}")
        except JUNK:
            pass
        self.junk += 1
        return None


def reader_of(type_: type[T]) -> Reader[T]:
    """Protobuf where there is a decoder, else JSON."""
    decode = DECODERS.get(type_)
    return JsonReader(type_) if decode is None else ProtobufReader(decode)


def message_of(body: bytes) -> str:
    """What a refusal says, in whichever encoding; the body itself where it is no Status."""
    try:
        if body.startswith(MAGIC):
            return str(messages["Status"].FromString(unwrapped(body)).message)
        return msgspec.json.decode(body, type=StatusObject).message
    except JUNK:
        return body[:500].decode(errors="replace").strip()


def unwrapped(content: bytes) -> bytes:
    """What stands in a runtime.Unknown.

    Raises:
        DecodeError: it is none.
    """
    if not content.startswith(MAGIC):
        raise DecodeError("no Kubernetes protobuf")
    raw: bytes = messages["Envelope"].FromString(content[len(MAGIC) :]).raw
    return raw


def _batches(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _kept(reader: Reader[Any], decode: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    kept = []
    for item in items:
        try:
            kept.append(decode(item))
        except JUNK:
            reader.junk += 1
    return kept
