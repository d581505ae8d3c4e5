"""Where everything lies. A value that is passed in: tests have their own, nothing else names a directory.

<run>/sandboxes/<id>/    sockets and journal of one sandbox; gone with it
<run>/uids/              which unprivileged user belongs to which sandbox
<cache>/sandboxes/<id>/  private disks and logs of one sandbox; gone with it
<cache>/layers|templates|guest/   made on demand, may be deleted whenever no sandbox runs
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import BadInput

SYSTEM_RUN = Path("/run/bulkhead")
SOCKET_PATH_LIMIT = 107  # sun_path is 108 bytes with its NUL: unix(7)
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,75})")


class Paths(NamedTuple):
    """The two roots; every other path follows."""

    run: Path
    cache: Path

    @classmethod
    def of_this_user(cls, uid: int | None = None, environ: Mapping[str, str] | None = None) -> Paths:
        """The system's directories for root, the user's own otherwise (XDG base directories)."""
        uid = os.getuid() if uid is None else uid
        environ = os.environ if environ is None else environ
        if uid == 0:
            return cls(SYSTEM_RUN, Path("/var/lib/bulkhead"))
        home = environ.get("HOME") or f"/tmp/bulkhead-{uid}"  # noqa: S108 - only where even HOME is unset
        run = environ.get("XDG_RUNTIME_DIR") or f"/tmp/bulkhead-run-{uid}"  # noqa: S108
        return cls(
            Path(run, "bulkhead"), Path(environ.get("XDG_DATA_HOME") or f"{home}/.local/share", "bulkhead")
        )

    @property
    def sandboxes(self) -> Path:
        """Parent of the run state of every sandbox."""
        return self.run / "sandboxes"

    @property
    def uids(self) -> Path:
        """One file per user id in use."""
        return self.run / "uids"

    @property
    def templates(self) -> Path:
        """Booted machines to restore from."""
        return self.cache / "templates"

    @property
    def layers(self) -> Path:
        """File system images of container layers."""
        return self.cache / "layers"

    @property
    def guest(self) -> Path:
        """Built kernels and guest images."""
        return self.cache / "guest"

    @property
    def stores(self) -> Path:
        """Parent of what sandboxes store: on a disk, since /run is memory."""
        return self.cache / "sandboxes"

    def group(self, sandbox_id: str) -> str:
        """Control group of one sandbox."""
        return f"bulkhead/{check_id(sandbox_id)}{self._of_root()}"

    def template_group(self) -> str:
        """Control group of what holds the memory of templates: that is charged to nobody's pod."""
        return f"bulkhead-templates{self._of_root()}"

    def _of_root(self) -> str:
        """The tree of control groups is the host's, so other roots than the system's have other names in it."""
        if self.run == SYSTEM_RUN:
            return ""
        return f"@{sha256(os.fsencode(self.run)).hexdigest()[:12]}"

    def storage(self, sandbox_id: str) -> Path:
        """Private disks and logs of one sandbox; gone with it."""
        return self.stores / check_id(sandbox_id)

    def sandbox(self, sandbox_id: str) -> Path:
        """Run state of one sandbox. Raises BadInput where the id cannot name a directory and a socket in it."""
        path = self.sandboxes / check_id(sandbox_id)
        if len(os.fsencode(path)) + len("/control.sock") > SOCKET_PATH_LIMIT:
            raise BadInput(f"{path} is too long to hold a socket: unix(7) allows {SOCKET_PATH_LIMIT} bytes")
        return path


def check_id(sandbox_id: str) -> str:
    """The id itself, where it is one plain path component of at most 76 characters; BadInput otherwise."""
    if not _ID.fullmatch(sandbox_id):
        raise BadInput(
            f"sandbox id {sandbox_id!r}: letters, digits, '_', '.', '-', at most 76, a letter or digit first"
        )
    return sandbox_id
