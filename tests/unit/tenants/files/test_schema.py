"""The JSON Schema and the loader agree about every fixture, and the shipped copy is the printed one."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tenants.__main__ import main
from tenants.files.problem import Kind
from tenants.files.schema import schema
from tests.support.tenant_files import BROKEN, FIXTURES, GOOD, SAMPLES, values_in, wanted_in

# What a look at one value, its type and its neighbours can tell. The rest compares amounts, names or documents.
EXPRESSIBLE = {
    Kind.UNKNOWN_KIND, Kind.UNKNOWN_FIELD, Kind.MISSING_FIELD, Kind.WRONG_TYPE, Kind.WRONG_VALUE, Kind.QUANTITY,
    Kind.NAME, Kind.CIDR, Kind.PORT, Kind.RUNTIME,
}  # fmt: skip
BEYOND_A_SCHEMA = {
    "name-of-the-cluster": "the name is only wrong where namespaces are absent and the name is the cluster's",
    "wrong-value-never-with-itself": "JSON Schema compares no two values",
}


def rejected(path: Path) -> bool:
    validator = jsonschema.Draft202012Validator(schema())
    return not all(validator.is_valid(value) for value in values_in(path))


def expressible(path: Path) -> bool:
    kinds = {Kind(line.partition("]")[0].removeprefix("[")) for line in wanted_in(path)}
    return bool(kinds & EXPRESSIBLE)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", [*GOOD, SAMPLES], ids=lambda path: path.stem)
def test_a_good_file_is_valid(path: Path) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    for value in values_in(path):
        assert [error.message for error in validator.iter_errors(value)] == []


@pytest.mark.parametrize(
    "path",
    [path for path in BROKEN if expressible(path) and path.stem not in BEYOND_A_SCHEMA],
    ids=lambda path: path.stem,
)
def test_a_file_whose_shape_is_wrong_is_rejected(path: Path) -> None:
    assert rejected(path)


@pytest.mark.parametrize("stem", BEYOND_A_SCHEMA)
def test_what_is_said_to_be_beyond_a_schema_is_really_accepted_by_it(stem: str) -> None:
    assert not rejected(FIXTURES / "broken" / f"{stem}.yaml")


def test_every_field_has_a_sentence_for_the_editor() -> None:
    ours = {
        name: part for name, part in schema()["$defs"].items() if part.get("additionalProperties") is False
    }
    silent = [
        f"{name}.{field}"
        for name, part in ours.items()
        for field, shape in part["properties"].items()
        if not shape.get("description")
    ]
    assert len(ours) >= 9
    assert silent == []


def test_the_copy_beside_the_samples_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == schema()
    assert (SAMPLES / "tenants.schema.json").read_text() == printed
