"""What list and watch send, taken apart: pages, events, and the notices that carry no object. Pure.

One object that does not decode never costs the others: it is left out and counted.
"""

from __future__ import annotations

import re
from typing import Any, Final, Generic, TypeVar

import msgspec

from scheduler.kube.objects import Metadata

T = TypeVar("T")
JUNK: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
INITIAL_END: Final = "k8s.io/initial-events-end"
# How the API server begins a list; what stands there is enough to ask for the next page before this one is decoded.
_HEAD = re.compile(rb'\{"kind":"\w+","apiVersion":"[\w./]+","metadata":(\{[^{}]*\}),"items":\[')
_LONGEST_HEAD: Final = 8192


class ListMetadata(msgspec.Struct, rename="camel", gc=False):
    """Where a list stands; `continue_` asks for the page after it."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Items(msgspec.Struct, gc=False):
    metadata: ListMetadata = msgspec.field(default_factory=ListMetadata)
    items: tuple[msgspec.Raw, ...] = ()


class NoticeMetadata(msgspec.Struct, rename="camel", gc=False):
    """Metadata of what is no object."""

    resource_version: str = ""
    annotations: dict[str, str] = {}


class NoticeObject(msgspec.Struct, gc=False):
    """A bookmark's version, or the Status of an ERROR event."""

    metadata: NoticeMetadata = msgspec.field(default_factory=NoticeMetadata)
    code: int = 0
    reason: str = ""
    message: str = ""


class Notice(msgspec.Struct, gc=False):
    """A BOOKMARK or ERROR event."""

    type: str
    object: NoticeObject


class Named(msgspec.Struct, gc=False):
    """Anything with metadata, to find out whom a line that does not decode is about."""

    metadata: Metadata


class Lines(Generic[T]):
    """Decoders for one type of object."""

    def __init__(self, type_: type[T]) -> None:
        event: Any = msgspec.defstruct("Event", [("type", str), ("object", type_)], gc=False)
        page: Any = msgspec.defstruct(
            "Page",
            [("metadata", ListMetadata), ("items", list[type_], msgspec.field(default_factory=list))],  # type: ignore[valid-type]
            gc=False,
        )
        self._event: msgspec.json.Decoder[Any] = msgspec.json.Decoder(event)
        self._page: msgspec.json.Decoder[Any] = msgspec.json.Decoder(page)
        self._item = msgspec.json.Decoder(type_)
        self.junk = 0

    def event(self, line: bytes) -> tuple[str, T] | None:
        """(ADDED | MODIFIED | DELETED, object); None for a notice or for junk, which `notice` tells apart."""
        try:
            found = self._event.decode(line)
        except JUNK:
            return None
        return (found.type, found.object) if found.type in ("ADDED", "MODIFIED", "DELETED") else None

    def notice(self, line: bytes) -> Notice | None:
        """The bookmark or error of a line that holds no object; None for junk, which is counted."""
        try:
            found = msgspec.json.decode(line, type=Notice)
        except JUNK:
            self.junk += 1
            return None
        if found.type in ("BOOKMARK", "ERROR"):
            return found
        self.junk += 1
        return None

    def page(self, body: bytes) -> tuple[ListMetadata, list[T]]:
        """A page of a list, without the items that do not decode.

        Raises:
            msgspec.DecodeError: the page as a whole is no list.
        """
        try:
            found = self._page.decode(body)
        except JUNK:
            return self._salvaged(body)
        return found.metadata, found.items

    def _salvaged(self, body: bytes) -> tuple[ListMetadata, list[T]]:
        rough = msgspec.json.decode(body, type=_Items)
        kept: list[T] = []
        for raw in rough.items:
            try:
                kept.append(self._item.decode(raw))
            except JUNK:
                self.junk += 1
        return rough.metadata, kept


def head_of(body: bytes) -> ListMetadata | None:
    """The metadata of a page by its first bytes; None where it does not begin as the API server's lists do."""
    match = _HEAD.match(body, 0, _LONGEST_HEAD)
    if match is None:
        return None
    try:
        return msgspec.json.decode(match.group(1), type=ListMetadata)
    except JUNK:
        return None
