"""Files that commands read beside tenant files: dumps of objects, a manifest, node data. Raises InputError alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import yaml

from tenants.errors import TenantsError
from tenants.plan.objects import Object, is_object

T = TypeVar("T")
STDIN = Path("-")


class InputError(TenantsError):
    """A file named on the command line is missing, unreadable or not what it should be."""


def objects(paths: Iterable[Path]) -> Iterator[Object]:
    """Kubernetes objects of YAML or JSON files (`kubectl get -o yaml`); a List is its items, `-` is stdin."""
    for path in paths:
        try:
            for document in yaml.load_all(_text(path), yaml.CSafeLoader):
                items = document.get("items") if isinstance(document, dict) else None
                yield from filter(is_object, items if isinstance(items, list) else [document])
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is not YAML: {error}") from error


def decoded(path: Path, kind: type[T], what: str) -> T:
    """A JSON file of a given shape."""
    try:
        return msgspec.json.decode(_text(path), type=kind)
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is no {what}: {error}") from error


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if path == STDIN else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
