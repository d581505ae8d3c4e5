"""Where in the tenant files something is said: `file:line`, or that of the part around it. Pure.

`explain` hands it the documents that the loader read; a default that nobody wrote is at its document.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenants.files.positions import Document, Loc

_TREE = frozenset({"Tenant", "TenantGroup"})


class Places:
    """Tenants and groups by name, RuntimeClasses by theirs."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._nodes: dict[str, Document] = {}
        self._classes: dict[str, Document] = {}
        for document in documents:
            if not isinstance(document.value, dict):
                continue
            kind = document.value.get("kind")
            if kind in _TREE:
                self._nodes.setdefault(str(document.value.get("name")), document)
            elif kind == "RuntimeClass":
                self._classes.setdefault(str((document.value.get("metadata") or {}).get("name")), document)

    def document(self, name: str) -> Document | None:
        """The document of a tenant or group."""
        return self._nodes.get(name)

    def of(self, name: str, *loc: str | int) -> str:
        """`file:line` of a field of a tenant or group; empty if it has no file."""
        return _place(self._nodes.get(name), loc)

    def of_class(self, name: str) -> str:
        """`file:line` of a RuntimeClass."""
        return _place(self._classes.get(name), ("metadata", "name"))


def _place(document: Document | None, loc: Loc) -> str:
    if document is None:
        return ""
    return f"{document.path}:{document.place(loc, key=True).line}"
