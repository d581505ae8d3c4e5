"""What is read and what is not: directories, hidden names, links, and files that are none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenants.files.load import MAX_BYTES, load, parse, read
from tenants.files.problem import Kind, Problem
from tenants.model import TenantSet

GOOD = "apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: {}\nquota: {{default: {{cpu: 1, memory: 1Gi}}}}\n"


def write(path: Path, name: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GOOD.format(name))
    return path


def only_problem(path: Path) -> Problem:
    found = load(path)
    assert isinstance(found, list)
    [problem] = found
    return problem


def test_a_directory_is_read_at_any_depth_and_other_files_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "a")
    write(tmp_path / "team/deep/b.yml", "b")
    (tmp_path / "notes.txt").write_text(": not yaml : [")
    found = load(tmp_path)
    assert isinstance(found, TenantSet)
    assert sorted(found.tenants) == ["a", "b"]


def test_a_mounted_config_map_is_read_once_although_it_holds_each_file_twice(tmp_path: Path) -> None:
    write(tmp_path / "..2026_11_25/a.yaml", "a")
    (tmp_path / "..data").symlink_to("..2026_11_25")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    found = load(tmp_path)
    assert isinstance(found, TenantSet)
    assert list(found.tenants) == ["a"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "a")
    sources = read([tmp_path, path])
    assert isinstance(parse(*sources), TenantSet)


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "a")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    problem = only_problem(tmp_path)
    assert (problem.kind, Path(problem.path).name) == (Kind.UNREADABLE, "loop.yaml")


@pytest.mark.parametrize(
    ("name", "content", "want_line", "want_col", "want_why"),
    [
        pytest.param("a.yaml", b"a: \xe9\n", 1, 4, "byte 0xe9 is not UTF-8 text", id="latin-1"),
        pytest.param("a.yaml", b"\xef\xbb\xbfa: 1\n\xff", 2, 1, "byte 0xff", id="a bad byte after a BOM"),
        pytest.param("a.yaml", b"\xff\xfea\x00", 1, 1, "byte 0xff is not UTF-8 text", id="UTF-16"),
        pytest.param("a.yaml", b"a: 1\n" * (MAX_BYTES // 5 + 1), 1, 1, "bigger than 8 MiB", id="too big"),
        pytest.param("a\xe9\nb.yaml", b"\xff", 1, 1, "byte 0xff", id="a name with a line break"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_text_is_one_problem_with_its_place(
    tmp_path: Path, name: str, content: bytes, want_line: int, want_col: int, want_why: str
) -> None:
    (tmp_path / name).write_bytes(content)
    problem = only_problem(tmp_path / name)
    assert (problem.kind, problem.line, problem.col) == (Kind.UNREADABLE, want_line, want_col)
    assert want_why in problem.why


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert only_problem(tmp_path / "pipe.yaml").why == "is no regular file"
    assert only_problem(Path("/dev/zero")).why == "is no regular file"


def test_a_directory_named_like_a_file_is_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "team.yaml/a.yaml", "a")
    assert isinstance(load(tmp_path), TenantSet)


@pytest.mark.parametrize(
    ("name", "want_why"),
    [
        ("missing.yaml", "No such file or directory"),
        ("a\0b", "embedded null byte"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_path_that_leads_nowhere_says_why(tmp_path: Path, name: str, want_why: str) -> None:
    assert want_why in only_problem(tmp_path / name).why


def test_an_empty_directory_is_a_problem_since_no_tenant_can_be_meant(tmp_path: Path) -> None:
    assert only_problem(tmp_path).why == "holds no tenant files"


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory that everybody may enter, seen by a user who is not root: root reads whatever the mode says."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        write(Path(directory, "a.yaml"), "a").chmod(0)
        write(Path(directory, "closed/b.yaml"), "b").parent.chmod(0)
        if user == 0:
            os.seteuid(65534)
        yield Path(directory)
        os.seteuid(user)
        Path(directory, "closed").chmod(0o700)


def test_a_closed_file_and_a_closed_directory_are_problems(unprivileged: Path) -> None:
    found = load(unprivileged)
    assert isinstance(found, list)
    assert [(Path(problem.path).name, problem.why) for problem in found] == [
        ("a.yaml", "Permission denied"), ("closed", "Permission denied"),
    ]  # fmt: skip
    assert only_problem(unprivileged / "closed/b.yaml").why == "Permission denied"


def test_line_ends_and_a_byte_order_mark_move_no_place(tmp_path: Path) -> None:
    text = GOOD.format("a") + "trust: no-such\n"
    want = parse({"a.yaml": text})
    assert isinstance(want, list)
    for written in (text.replace("\n", "\r\n"), text.replace("\n", "\r"), "\ufeff" + text):
        path = tmp_path / "a.yaml"
        path.write_bytes(written.encode())
        problem = only_problem(path)
        assert (problem.line, problem.col) == (want[0].line, want[0].col) == (5, 8)
