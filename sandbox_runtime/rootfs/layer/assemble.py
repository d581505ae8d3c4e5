"""Puts the members of a layer into one tree by the rules of the OCI layer format. Pure.

Every path is resolved inside this tree, and where the layer is silent, inside the layers below: a symlink leads
nowhere but into the container's own root, as it would in a chroot. Names with `..` are refused.
"""

from __future__ import annotations

import stat
from collections.abc import Callable

from sandbox_runtime.rootfs.erofs.layout import NAME_MAX
from sandbox_runtime.rootfs.erofs.tree import OPAQUE, Node, directory, whiteout
from sandbox_runtime.rootfs.errors import LayerRefused
from sandbox_runtime.rootfs.layer.limits import LayerLimits

MARK = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
LINK_HOPS = 40  # as the kernel: MAXSYMLINKS

# What the layers below have at a path: a directory's attributes, a symlink, or nothing of interest.
Below = Callable[[bytes], Node | None]


def nothing_below(path: bytes) -> Node | None:
    """The lowest layer stands on nothing."""
    return None


class LayerTree:
    """The tree of one layer; `put` and `link` in the order of the archive, `finish` at its end."""

    def __init__(self, limits: LayerLimits, below: Below = nothing_below) -> None:
        self.root = below(b"") or directory()
        self._limits = limits
        self._below = below
        self._entries = 0
        self._held = 0
        self._hidden: list[tuple[Node, bytes]] = []
        self._opaque: list[Node] = []

    # --- members --------------------------------------------------------------------------------------------

    def put(self, path: bytes, node: Node) -> None:
        """Add a member; a later one of the same name replaces it, a directory keeps what it holds."""
        where, name = self._place(path)
        if not name:
            self._restate(where, node)
            return
        self._count(name, node)
        old = _entries(where).get(name)
        if old is not None and old.entries is not None and node.entries is not None:
            self._restate(old, node)
        else:
            _entries(where)[name] = node

    def link(self, path: bytes, target: bytes) -> None:
        """Add one more name for a member that is already there."""
        parent, name = self._place(target)
        node = _entries(parent).get(name)
        if node is None or node.entries is not None:
            raise LayerRefused("hard-link", f"{target!r} is no file of this layer")
        where, name = self._place(path)
        if not name:
            raise LayerRefused("hard-link", "the root directory as a link")
        self._count(name, None)
        _entries(where)[name] = node

    def hide(self, path: bytes) -> bool:
        """Take a whiteout by its name. False where the name is an ordinary one."""
        head, _, name = path.rstrip(b"/").rpartition(b"/")
        if not name.startswith(MARK):
            return False
        where = self._descend(_split(head))
        if name == OPAQUE_MARK:
            self._opaque.append(where)
        elif not name.startswith(MARK + MARK):  # the others are notes that aufs left for itself
            hidden = name[len(MARK) :]
            if hidden in (b"", b".", b".."):
                raise LayerRefused("malformed", f"{path!r} hides nothing that could exist")
            self._count(hidden, None)
            self._hidden.append((where, hidden))
        return True

    def finish(self) -> Node:
        """The root. Whiteouts take effect now: they hide what lies below, never what this layer brings."""
        for node in self._opaque:
            node.xattrs[OPAQUE] = b"y"
        for where, name in self._hidden:
            inside = _entries(where).get(name)
            if inside is not None and inside.entries is not None:
                inside.xattrs[OPAQUE] = b"y"
            elif inside is None and OPAQUE not in where.xattrs:
                _entries(where)[name] = whiteout()
        return self.root

    # --- paths ----------------------------------------------------------------------------------------------

    def _place(self, path: bytes) -> tuple[Node, bytes]:
        """(directory, last name); the name is empty for the root itself."""
        parts = _split(path)
        return self._descend(parts[:-1]), parts[-1] if parts else b""

    def _descend(self, parts: list[bytes]) -> Node:
        """Go down these names, through symlinks; directories that nobody stated come from below, or are made."""
        stack = [(b"", self.root)]
        pending = parts[::-1]
        hops = 0
        while pending:
            part = pending.pop()
            if part == b"..":  # of a symlink's target; above the root is the root
                del stack[max(1, len(stack) - 1) :]
                continue
            child = self._child(stack, part)
            if child.entries is not None:
                stack.append((part, child))
                if len(stack) > self._limits.depth:
                    raise LayerRefused("too-deep", f"more than {self._limits.depth} directories")
                continue
            hops += 1
            if not stat.S_ISLNK(child.mode) or hops > LINK_HOPS:
                raise LayerRefused("not-a-directory", f"{part!r} has something below it")
            if child.target.startswith(b"/"):
                del stack[1:]
            pending += [name for name in child.target.split(b"/") if name not in (b"", b".")][::-1]
        return stack[-1][1]

    def _child(self, stack: list[tuple[bytes, Node]], part: bytes) -> Node:
        siblings = _entries(stack[-1][1])
        node = siblings.get(part)
        if node is None:
            node = self._below(b"/".join([name for name, _ in stack[1:]] + [part])) or directory()
            if node.entries is not None:
                self._count(part, node)
                siblings[part] = node
        return node

    def _restate(self, old: Node, new: Node) -> None:
        if new.entries is None:
            raise LayerRefused("malformed", "the root of a layer is no directory")
        old.mode, old.uid, old.gid = new.mode, new.uid, new.gid
        old.mtime_ns, old.xattrs = new.mtime_ns, new.xattrs

    def _count(self, name: bytes, node: Node | None) -> None:
        self._entries += 1
        self._held += len(name)
        if node is not None:
            self._held += len(node.target) + sum(len(key) + len(value) for key, value in node.xattrs.items())
        if self._entries > self._limits.entries:
            raise LayerRefused("too-many-entries", f"more than {self._limits.entries}")
        if self._held > self._limits.held_bytes:
            raise LayerRefused("too-much-metadata", f"more than {self._limits.held_bytes} bytes")


def _entries(node: Node) -> dict[bytes, Node]:
    if node.entries is None:
        raise LayerRefused("not-a-directory", "a member below a file")
    return node.entries


def _split(path: bytes) -> list[bytes]:
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise LayerRefused("path-escapes", f"{path[:200]!r} contains `..`")
    if b"\0" in path or any(len(part) > NAME_MAX for part in parts):
        raise LayerRefused("bad-name", f"{path[:200]!r} is no name that Linux knows")
    return parts
