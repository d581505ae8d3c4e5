"""Where the binaries of the control plane are: what `make kubernetes-tools` built, or KUBEBUILDER_ASSETS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

BUILD: Final = Path(__file__).parents[2] / "tests/kubernetes/build.sh"


class MissingBinaries(Exception):
    """One is not there; the message says which, and how to get it."""


def binaries(*names: str) -> Path:
    """The directory that holds all of `names`. Raises MissingBinaries."""
    if not BUILD.exists():
        raise MissingBinaries(
            f"no {BUILD.name}: the control plane is built from a checkout of the repository"
        )
    where = subprocess.run(["sh", str(BUILD), "--where"], capture_output=True, text=True, check=True)
    path = Path(where.stdout.strip())
    for name in names:
        if not (path / name).exists():
            raise MissingBinaries(
                f"no {name} in {path}: run `make kubernetes-tools` or set KUBEBUILDER_ASSETS"
            )
    if shutil.which("openssl") is None:
        raise MissingBinaries("no openssl, which makes the signing key of service accounts")
    return path
