"""A directory of YAML as a Target, for GitOps: one object a file, written whole or not at all.

Ours is a file that begins with our header; every other file is left alone, and one that stands where we must
write is a conflict. A file appears by rename, so a reader or a crash never meets half of one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from tenants.errors import TenantsError
from tenants.plan.changes import Conflict
from tenants.plan.objects import Object, Ref, is_object, ref
from tenants.pods import Pod

HEADER: Final = "# Written by `bulkhead tenants apply`. Change the tenant files, not this.\n"
UNFINISHED: Final = ".bulkhead-unfinished-"
SUFFIXES: Final = frozenset({".yaml", ".yml"})
_SAFE: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", re.ASCII)


class DirectoryError(TenantsError):
    """A file of the directory can't be read or written."""


class Directory:
    """Objects in files below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._root)

    @property
    def acts(self) -> bool:
        """When somebody applies the files."""
        return False

    def owned(self) -> dict[Ref, Object]:
        """Every object in a file of ours."""
        return {ref(manifest): manifest for path in self._files() if _is_ours(path)
                for manifest in _objects(path)}  # fmt: skip

    def current(self, _refs: Iterable[Ref]) -> Mapping[Ref, Object]:
        """Nothing beyond what is ours: a foreign file in our place shows as a conflict instead."""
        return {}

    def serves(self, _version: str, _kind: str) -> bool:
        """Files may say anything."""
        return True

    def preview(self, manifest: Object, *, force: bool) -> Object | Conflict:
        """The file would say what the manifest says."""
        return self._foreign(ref(manifest), force=force) or manifest

    def write(self, manifest: Object, *, force: bool) -> Conflict | None:
        """Replace the file in one step."""
        one = ref(manifest)
        conflict = self._foreign(one, force=force)
        if conflict is None:
            _replace(self._path(one), HEADER + _text(manifest))
        return conflict

    def settle(self) -> None:
        """Whoever applies the files waits."""

    def remove(self, one: Ref) -> None:
        """Delete the file of ours that holds the object, and directories that become empty."""
        for path in [self._path(one)] if self._path(one).exists() else self._files():
            if _is_ours(path) and one in {ref(found) for found in _objects(path)}:
                path.unlink()
                self._prune_empty(path.parent)

    def release(self, one: Ref) -> None:
        """Files have no other owners."""
        self.remove(one)

    def occupied(self, _namespace: str) -> str:
        """Pods are not in files; whoever applies the directory decides."""
        return ""

    def pods(self) -> list[Pod] | None:
        """Not known here."""
        return None

    def namespaces(self) -> list[str]:
        """Those of the Namespace objects in the directory, whoever wrote them."""
        found = (one for path in self._files() for one in _objects(path))
        return [one["metadata"]["name"] for one in found if one["kind"] == "Namespace"]

    def clean(self) -> None:
        """Remove what an interrupted run left half-written; nothing reads those files."""
        for path in self._root.rglob(f"{UNFINISHED}*"):
            path.unlink(missing_ok=True)

    def _path(self, one: Ref) -> Path:
        """cluster/<kind>-<name>.yaml or namespaces/<namespace>/<kind>-<name>.yaml."""
        namespace = one.name if one.kind == "Namespace" else one.namespace
        if not _SAFE.fullmatch(one.name) or not _SAFE.fullmatch(namespace or "x"):
            raise DirectoryError(f"{one} has no name that a file can have")
        place = self._root / "namespaces" / namespace if namespace else self._root / "cluster"
        return place / f"{one.kind.lower()}-{one.name}.yaml"

    def _files(self) -> list[Path]:
        return sorted(path for path in self._root.rglob("*")
                      if path.suffix in SUFFIXES and path.is_file() and not _hidden(path, self._root))  # fmt: skip

    def _foreign(self, one: Ref, *, force: bool) -> Conflict | None:
        path = self._path(one)
        if force or not path.exists() or _is_ours(path):
            return None
        why = f"{path} exists and was not written by bulkhead"
        return Conflict(one, (str(path),), ("the whole file",), why)

    def _prune_empty(self, place: Path) -> None:
        while place != self._root and not any(place.iterdir()):
            place.rmdir()
            place = place.parent


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _is_ours(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline() == HEADER
    except (OSError, UnicodeDecodeError):
        return False


def _objects(path: Path) -> Iterator[Object]:
    try:
        yield from filter(is_object, yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        if _is_ours(path):
            raise DirectoryError(f"{path}: {error}; remove it and apply again") from error


def _text(manifest: Object) -> str:
    return str(yaml.dump(manifest, Dumper=_NoAliases, sort_keys=False, width=110))


class _NoAliases(yaml.CSafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _replace(path: Path, text: str) -> None:
    """Rename over the old file; both the file and its directory entry are on disk afterwards."""
    unfinished = path.parent / f"{UNFINISHED}{path.name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        entry = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)
    except OSError as error:
        raise DirectoryError(f"{path}: {error.strerror}") from error
