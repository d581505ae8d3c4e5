"""What an image says about the process that it wants. Pure; every field of the JSON is a stranger's."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, TypeVar

from sandbox_runtime.rootfs.errors import ImageRefused

T = TypeVar("T")
DOCUMENT_MAX = 4 << 20  # bytes; containerd refuses larger ones, too


class ImageConfig(NamedTuple):
    """The `config` object of an image (OCI image-spec, config.md).

    Attributes:
        env: `NAME=value` lines.
        user: `user[:group]`, names or numbers; empty is root.
        diff_ids: digests of the uncompressed layers, lowest first.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    diff_ids: tuple[str, ...] = ()

    def argv(self, arguments: tuple[str, ...] = ()) -> tuple[str, ...]:
        """What runs: the entrypoint with the caller's arguments, or with the image's own where there are none."""
        return (*self.entrypoint, *(arguments or self.cmd))


def parse_config(text: bytes) -> ImageConfig:
    """Read a config blob. Raises ImageRefused where it is not of the form that the specification gives."""
    document = as_object(text, "image config")
    inner = typed(document.get("config") or {}, dict, "config")
    rootfs = typed(document.get("rootfs") or {}, dict, "rootfs")
    cwd = typed(inner.get("WorkingDir") or "/", str, "WorkingDir")
    return ImageConfig(
        entrypoint=strings(inner.get("Entrypoint"), "Entrypoint"),
        cmd=strings(inner.get("Cmd"), "Cmd"),
        env=tuple(line for line in strings(inner.get("Env"), "Env") if "=" in line),
        cwd=cwd if cwd.startswith("/") else f"/{cwd}",
        user=typed(inner.get("User") or "", str, "User"),
        stop_signal=typed(inner.get("StopSignal") or "", str, "StopSignal"),
        volumes=tuple(typed(inner.get("Volumes") or {}, dict, "Volumes")),
        diff_ids=strings(rootfs.get("diff_ids"), "diff_ids"),
    )


def as_object(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object of bounded size."""
    if len(text) > DOCUMENT_MAX:
        raise ImageRefused(f"{what}: {len(text)} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ImageRefused(f"{what}: no JSON") from None
    return typed(found, dict, what)


def typed(value: Any, kind: type[T], what: str) -> T:
    """The value, if it is of this kind; ImageRefused otherwise."""
    if type(value) is not kind:
        raise ImageRefused(f"{what}: {type(value).__name__} where {kind.__name__} belongs")
    return value


def strings(value: Any, what: str) -> tuple[str, ...]:
    """A list of strings without NUL; nothing is an empty one."""
    found = typed(value or [], list, what)
    if any(type(item) is not str or "\0" in item for item in found):
        raise ImageRefused(f"{what}: holds what is no text")
    return tuple(found)
