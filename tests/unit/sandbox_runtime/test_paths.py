"""Where things lie, and which ids may name a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_runtime.errors import BadInput
from sandbox_runtime.paths import SYSTEM_RUN, Paths, check_id


def test_root_has_the_directories_of_the_system() -> None:
    assert Paths.of_this_user(uid=0, environ={}) == Paths(Path("/run/bulkhead"), Path("/var/lib/bulkhead"))


def test_everybody_else_has_their_own() -> None:
    paths = Paths.of_this_user(uid=7, environ={"HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/7"})
    assert (paths.run, paths.cache) == (Path("/run/user/7/bulkhead"), Path("/h/.local/share/bulkhead"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a\nb", "a\0", "x" * 77, "é", ".hidden", "a,b"])
def test_an_id_that_could_leave_its_directory_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        check_id(name)


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made() -> None:
    with pytest.raises(BadInput, match="too long"):
        Paths(Path("/" + "r" * 80), Path("/c")).sandbox("sandbox")


def test_a_pod_uid_is_a_good_id() -> None:
    uid = "4f1c9a52-1b7e-4f5e-9f0d-5f8a8f4f2c11"
    assert Paths.of_this_user(uid=0).sandbox(uid).name == uid


def test_two_run_roots_never_share_a_control_group(tmp_path: Path) -> None:
    names = {Paths(root, tmp_path).group("shell") for root in (SYSTEM_RUN, tmp_path / "a", tmp_path / "b")}
    assert len(names) == 3
    assert Paths(SYSTEM_RUN, tmp_path).group("shell") == "bulkhead/shell"
    assert Paths(SYSTEM_RUN, tmp_path).template_group() == "bulkhead-templates"
    assert (
        Paths(tmp_path / "a", tmp_path).template_group() != Paths(tmp_path / "b", tmp_path).template_group()
    )
