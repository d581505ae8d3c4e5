"""What a supervisor is told to do, as a value and as JSON in the sandbox's directory."""

from __future__ import annotations

import json
import os
import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from sandbox_runtime.errors import JournalCorrupt
from sandbox_runtime.lifecycle import journal
from sandbox_runtime.model import GuestImage, SandboxSpec


class Order(NamedTuple):
    """One sandbox as it is wanted.

    Attributes:
        guest: what boots; built by the caller.
        created_ns: wall clock when it was asked for, nanoseconds since the epoch.
        remove: leave nothing, not even logs, when it ends.
        detached: start its containers at once; otherwise a client attaches and starts them.
        use_template: False boots cold.
        root_shares: serve shared directories as root instead of as the sandbox's own user.
        ping_seconds: how often an agent that says nothing is asked for a sign of life; 0: never.
        silence_seconds: an agent that has said nothing for so long is lost, and its machine with it; 0: never.
        grace_seconds: from SIGTERM to SIGKILL in an orderly stop.
        stop_at: for tests of crashes: the supervisor stops itself (SIGSTOP) when it reaches this phase.
    """

    spec: SandboxSpec
    guest: GuestImage
    created_ns: int = 0
    remove: bool = False
    detached: bool = False
    use_template: bool = True
    root_shares: bool = False
    ping_seconds: float = 10.0
    silence_seconds: float = 60.0
    grace_seconds: int = 10
    stop_at: str = ""


def write(directory: Path, order: Order) -> None:
    """Put an order where its supervisor finds it; secrets may stand in it (environment)."""
    fresh = directory / f".{journal.ORDER}"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, journal.SECRET)
    with open(fd, "w") as file:  # noqa: PTH123 - a descriptor
        json.dump(plain(order), file)
    fresh.replace(directory / journal.ORDER)


def read(directory: Path) -> Order:
    """The order of a sandbox. Raises JournalCorrupt."""
    try:
        order = build(Order, json.loads((directory / journal.ORDER).read_text()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise JournalCorrupt(f"{directory / journal.ORDER}: {error}") from error
    assert isinstance(order, Order)  # noqa: S101 - what was asked for
    return order


def plain(value: Any) -> Any:
    """A value of `model` as JSON's own types."""
    if hasattr(value, "_fields"):
        return {name: plain(field) for name, field in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path | Enum) else value


def build(kind: Any, value: Any) -> Any:
    """The value of type `kind` that `plain` made `value` of; a field that is missing keeps its default."""
    if get_origin(kind) is types.UnionType:
        return None if value is None else build(get_args(kind)[0], value)
    if get_origin(kind) is tuple:
        return tuple(build(get_args(kind)[0], item) for item in value)
    if hasattr(kind, "_fields"):
        hints = get_type_hints(kind)
        return kind(**{name: build(hints[name], item) for name, item in value.items() if name in hints})
    if isinstance(kind, type) and issubclass(kind, Path | Enum):
        return kind(value)
    return value
