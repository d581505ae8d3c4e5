"""`bulkhead tenants check`: exit status, formats, and what reaches the terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenants.__main__ import main, modules_for
from tenants.command.check import may_colour, tenants_from

ROOT = Path(__file__).parents[4]
SAMPLES = ROOT / "deploy/tenants"
BROKEN = """\
apiVersion: bulkhead.dev/v1
kind: Tenant
name: a
trust: trustd
quota: {default: {cpu: 1, memory: 4 Gb}}
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with one file that has two problems, seen from beside it."""
    monkeypatch.chdir(tmp_path)
    directory = Path("tenants")
    directory.mkdir()
    (directory / "a.yaml").write_text(BROKEN)
    return directory


def test_clean_files_give_one_line_and_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SAMPLES)]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("no problem in ")
    assert shown.out.count("\n") == 1
    assert shown.err == ""


@pytest.mark.usefixtures("broken")
def test_without_a_path_the_directory_tenants_is_read_and_every_problem_is_told_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check"]) == 2
    assert capsys.readouterr().out == (
        "tenants/a.yaml:4:8: trust: 'trustd' is not a value of this field; did you mean 'trusted'?\n"
        "    4 | trust: trustd\n"
        "      |        ^\n"
        "tenants/a.yaml:5:35: quota.default.memory: '4 Gb' is not a Kubernetes quantity; did you mean '4Gi'?\n"
        "    5 | quota: {default: {cpu: 1, memory: 4 Gb}}\n"
        "      |                                   ^\n"
        "2 problems in 1 of 1 file\n"
    )


def test_json_has_a_place_a_class_and_a_reason_for_each_problem(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--format", "json", str(broken)]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == 1
    first = told["problems"][0]
    assert first == {
        "path": "tenants/a.yaml", "line": 4, "col": 8, "kind": "wrong-value", "where": "trust",
        "why": "'trustd' is not a value of this field", "suggestion": "did you mean 'trusted'?",
    }  # fmt: skip


def test_json_of_clean_files_is_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format", "json", str(SAMPLES)]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_a_missing_path_is_a_problem_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "nowhere"]) == 2
    assert "nowhere:1:1: No such file or directory" in capsys.readouterr().out


def test_an_unknown_command_and_an_unknown_format_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["chekc"], ["check", "--format", "xml"], []):
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        assert stopped.value.code == 2
    assert "invalid choice: 'chekc'" in capsys.readouterr().err


def test_only_the_module_of_the_called_command_is_imported() -> None:
    assert modules_for(["check", "x"]) == ["check"]
    assert {"check", "schema"} <= set(modules_for(["--help"]))


def test_other_commands_get_the_tenants_or_nothing_and_stderr_says_why(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tenants_from([SAMPLES])
    assert found is not None
    assert "agents" in found.tenants
    assert tenants_from([broken]) is None
    assert "tenants/a.yaml:4:8" in capsys.readouterr().err


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "want"),
    [
        pytest.param(Terminal(), {}, True, id="a terminal"),
        pytest.param(io.StringIO(), {}, False, id="a pipe or file"),
        pytest.param(Terminal(), {"NO_COLOR": "1"}, False, id="NO_COLOR is set"),
        pytest.param(Terminal(), {"NO_COLOR": ""}, True, id="an empty NO_COLOR counts as not set"),
        pytest.param(Terminal(), {"TERM": "dumb"}, False, id="a terminal that can't"),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    stream: io.StringIO, environment: dict[str, str], want: bool
) -> None:
    assert may_colour(stream, environment) is want


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_a_name_that_no_terminal_can_show_ends_no_report(tmp_path: Path, form: str) -> None:
    (tmp_path / os.fsdecode(b"\xe5\xff.yaml")).write_text("name: \U0001f9f1 \u4e2d: x\n")
    argv = [sys.executable, "-m", "tenants", "check", "--format", form, str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    told = subprocess.run(argv, capture_output=True, env=environment, cwd=ROOT, check=False)
    assert (told.returncode, told.stderr) == (2, b"")
    assert b"ff.yaml" in told.stdout


def test_a_reader_who_leaves_early_gets_no_traceback(broken: Path) -> None:
    argv = [sys.executable, "-m", "tenants", "check", str(broken.absolute())]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
