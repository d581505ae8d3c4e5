"""Whatever a tenant file holds, loading ends in tenants or in problems with a place, never in an exception.

`tests/fuzz/tenant_files.py` asks the same of bytes that coverage guides; here the shapes are ours: random
text, random trees of known words, good files that somebody's hand slipped on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenants.files.kinds import KINDS, PARTS
from tenants.files.load import load, parse
from tenants.files.problem import Kind
from tenants.files.schema import schema
from tenants.model import TenantSet
from tests.support.tenant_files import GOOD, judge, texts_of_good_files, values_in

VALIDATOR = jsonschema.Draft202012Validator(schema())
ALWAYS_IN_SHAPE = {
    Kind.UNKNOWN_KIND, Kind.UNKNOWN_FIELD, Kind.MISSING_FIELD, Kind.WRONG_TYPE, Kind.QUANTITY,
}  # fmt: skip
FIELDS = sorted(
    {str(field.alias) for part in (*KINDS.values(), *PARTS.values()) for field in part.model_fields.values()}
)
WORDS = st.sampled_from(
    [*FIELDS, *KINDS, "bulkhead.dev/v1", "node.k8s.io/v1", "default", "cpu", "memory", "gpu", "requests.cpu",
     "untrusted", "trusted", "runc", "bulkhead", "a", "b", "a-*", "kub*", "4", "4Gi", "4 Gb", "unlimited", "10.0.0.0/8",
     "10.1.0.0/16", "::/0", "0.0.0.0/0", "TCP", "<<", "", "~", "no", "010"]
)  # fmt: skip
SCALARS = (
    WORDS
    | st.integers(-2, 70000)
    | st.integers(10**15, 10**25)
    | st.booleans()
    | st.none()
    | st.text(max_size=5)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)
NASTY = st.sampled_from(
    ["\t", "\n", "\r", "\x00", "\ufeff", "\u2028", "é", "🧱", ": ", "- ", "---\n", "...\n", "&a ", "*a", "<<: *a",
     "!!int ", "{", "}", "[", "]", "'", '"', "|\n", ">-\n", "? ", "%YAML 1.1\n", "#", "no", "~", "-1", "9" * 40,
     "0x1F", "1_0", "_" * 40, "a.b" * 40, "1:2" * 40]
)  # fmt: skip


@settings(deadline=None)
@given(st.text() | st.text(alphabet="abk:-{}[]&*!|>'\"%#? \n\t,0123.", max_size=60))
@example("a: &a [*a]")
@example("? ? ? a")
@example("%TAG ! x\n--- !y z")
@example('"\\ud800": 1')
@example("&a [&a [&a")
@example("a: 1\r\rb: 1\r\n  c")
@example("'" * 7)
@example(f"memory: 16{'_' * 100}Gi")  # found by fuzzing: a pattern that tried every way to split the bar
@example("kind: Tenant\nquota:\n ? d.i")  # found by fuzzing: a value that is nowhere, at the end of the file
def test_any_text_is_judged(text: str) -> None:
    judge(text)


@settings(deadline=None)
@given(content=st.binary(max_size=200))
@example(content=b"\xff\xfea\x00")
@example(content=b"\xef\xbb\xbf")
@example(content=b"name: a\xed\xa0\x80")
@example(content=b"\xef\xbb\xbfa\n\xff")
def test_any_bytes_are_judged(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    found = load(path)
    assert isinstance(found, TenantSet) or all(problem.line >= 1 and problem.col >= 1 for problem in found)


@settings(deadline=None)
@given(st.lists(TREES, min_size=1, max_size=3))
def test_any_tree_of_known_words_is_judged(trees: list[Any]) -> None:
    judge(yaml.safe_dump_all(trees, sort_keys=False, allow_unicode=True))


@st.composite
def slips(draw: st.DrawFn) -> str:
    """A good file after a few slips of the hand."""
    text = draw(st.sampled_from(texts_of_good_files()))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 0, 1, 2, 5, 20, 80]))
        middle = draw(NASTY | st.just("") | WORDS | st.just(text[start:end] * 2))
        text = text[:start] + middle + text[end:]
    return text


@settings(max_examples=300, deadline=None)
@given(slips())
def test_a_good_file_after_slips_of_the_hand_is_judged(text: str) -> None:
    judge(text)


@st.composite
def altered(draw: st.DrawFn) -> Any:
    """A good document in which one value became another, or one key came or went."""
    value = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    node = value
    while True:
        inner = [
            part
            for part in (node.values() if isinstance(node, dict) else node)
            if isinstance(part, (dict, list))
        ]
        if not inner or draw(st.booleans()):
            break
        node = draw(st.sampled_from(inner))
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    key = draw(st.sampled_from(keys)) if keys else None
    match draw(st.sampled_from(["replace", "remove", "add"])), node:
        case "replace", _ if key is not None:
            node[key] = draw(TREES)
        case "remove", _ if key is not None:
            del node[key]
        case "add", dict():
            node[draw(WORDS)] = draw(TREES)
        case _, list():
            node.append(draw(TREES))
        case _:
            pass
    return value


DOCUMENTS = [value for path in GOOD for value in values_in(path)][:40]


@settings(max_examples=300, deadline=None)
@given(altered())
def test_schema_and_loader_agree_about_an_altered_document(value: Any) -> None:
    judged = parse({"f.yaml": json.dumps(value)})
    problems = [] if isinstance(judged, TenantSet) else judged
    if not problems:
        assert [error.message for error in VALIDATOR.iter_errors(value)] == []
    if VALIDATOR.is_valid(value):
        assert [problem for problem in problems if problem.kind in ALWAYS_IN_SHAPE] == []


@given(depth=st.integers(1, 5000), opening=st.sampled_from(["[", "{a: ", "- ", "? ", "&a [", "!t {"]))
@settings(max_examples=30, deadline=None)
def test_no_depth_is_followed_into_a_crash(depth: int, opening: str) -> None:
    judge("a: " + opening * depth)


def test_a_file_of_ten_megabytes_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"a: 1\n" * (2 << 20))
    found = load(path)
    assert isinstance(found, list)
    assert [problem.kind for problem in found] == [Kind.UNREADABLE]
