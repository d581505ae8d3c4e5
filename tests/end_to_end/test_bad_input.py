"""`bulkhead replay` and `bulkhead compare` on input that cannot be used: what is said, where, what is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import ROOT, bulkhead

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn1,64000,262144,2,P100\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n"
GOOD = PODS + "p,1000,1024,0,0,,LS\n"
SAMPLE = ROOT / "deploy" / "tenants"

BROKEN_PODS = [
    pytest.param(PODS + "p,1,2,0\n", "pods.csv:2: the row has 4 fields", id="broken row"),
    pytest.param(GOOD.replace("qos", "quality"), "pods.csv:1: unknown column 'quality'", id="unknown column"),
    pytest.param(PODS + "p,-1,2,0,0,,LS\n", "pods.csv:2: cpu_milli is -1", id="negative"),
    pytest.param(PODS + f"p,1,{2**63},0,0,,LS\n", "pods.csv:2: memory_mib is 9223372036854775808", id="2^63"),
    pytest.param(GOOD + "p,1,2,0,0,,LS\n", "pods.csv:3: pod 'p' appears twice", id="duplicate name"),
    pytest.param(PODS + "p,65000,1,0,0,,LS\n", "pods.csv:2: pod 'p' fits no node", id="fits no node ever"),
    pytest.param("", "pods.csv:1: the file is empty", id="empty file"),
    pytest.param("\x00\x01\x02\udcff\n" * 9, "pods.csv:1: unknown column", id="binary file"),
]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A directory with a trace under the names that `compare` looks for."""
    (tmp_path / "openb_node_list_gpu_node.csv").write_text(NODES)
    (tmp_path / "openb_pod_list_default.csv").write_text(GOOD)
    return tmp_path


def refused(*arguments: str | Path) -> str:
    """What a command says that must end with status 2, without a traceback and without output for machines."""
    ended = bulkhead(*arguments)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.stderr


def left_behind(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.suffix != ".csv"}


@pytest.mark.parametrize(("command", "output"), [("replay", "--events"), ("compare", "--report")])
@pytest.mark.parametrize(("text", "want_said"), BROKEN_PODS)
def test_a_broken_pod_list_is_refused_and_nothing_is_written(
    trace: Path, text: str, want_said: str, command: str, output: str
) -> None:
    pods = trace / "pods.csv"
    pods.write_bytes(text.encode(errors="surrogateescape"))
    nodes = trace / "openb_node_list_gpu_node.csv"
    said = refused(command, "--nodes", nodes, "--pods", pods, output, trace / "written", "--json")
    assert said.startswith(f"{trace}/{want_said}")
    assert left_behind(trace) == set()


BROKEN_NODES = [
    pytest.param(NODES + "n1,1,1,0,\n", ":3: node 'n1' appears twice", id="duplicate name"),
    pytest.param(NODES + "n2,1,1,65,\n", ":3: gpu is 65, more than a node can hold", id="too many devices"),
    pytest.param(NODES + "n2,1,1\n", ":3: the row has 3 fields", id="broken row"),
    pytest.param("", ":1: the file is empty", id="empty file"),
]


@pytest.mark.parametrize(("text", "want_said"), BROKEN_NODES)
def test_replay_refuses_a_broken_node_list(trace: Path, text: str, want_said: str) -> None:
    nodes = trace / "openb_node_list_gpu_node.csv"
    nodes.write_text(text)
    pods = trace / "openb_pod_list_default.csv"
    assert refused("replay", "--nodes", nodes, "--pods", pods).startswith(f"{nodes}{want_said}")


BROKEN_LISTINGS = [
    pytest.param(b"\x93\x00\xff\xfe binary", ":1: not JSON", id="binary"),
    pytest.param(b'{"items": [\n{"kind": "Pod"}]}', ":2: ", id="a pod without metadata"),
    pytest.param(b'{"items": []}', ":1: the listing holds no nodes", id="nothing listed"),
    pytest.param(b"", ":1: the file is empty", id="empty"),
]


@pytest.mark.parametrize(("content", "want_said"), BROKEN_LISTINGS)
def test_replay_refuses_a_broken_listing(tmp_path: Path, content: bytes, want_said: str) -> None:
    listing = tmp_path / "cluster.json"
    listing.write_bytes(content)
    said = refused("replay", "--nodes", listing, "--pods", listing)
    assert said.startswith(f"{listing}{want_said}")


@pytest.mark.parametrize("which", ["--nodes", "--pods"])
def test_a_directory_or_a_missing_file_instead_of_a_list_is_refused(trace: Path, which: str) -> None:
    files = {
        "--nodes": trace / "openb_node_list_gpu_node.csv",
        "--pods": trace / "openb_pod_list_default.csv",
    }
    for wrong in (trace, trace / "absent.csv"):
        named = {**files, which: wrong}
        said = refused("replay", *(part for pair in named.items() for part in pair))
        assert said.startswith(f"{wrong}:1: no such file")


STRANGER = """apiVersion: bulkhead.dev/v1
kind: Tenant
name: agents
trust: untrusted
isolation: {neverWith: [martians]}
"""
BAD_OPTIONS = [
    pytest.param(["--load", "0"], "--load:1: 0.0 is no load", id="no load"),
    pytest.param(["--load", "nan"], "--load:1: nan is no load", id="load is no number"),
    pytest.param(["--seeds", "9-1"], "is an empty range", id="seeds backwards"),
    pytest.param(["--seeds", "x"], "is no list of seeds", id="seeds are a word"),
    pytest.param(["--policy", "prayer"], "invalid choice: 'prayer'", id="unknown policy"),
    pytest.param(
        ["--tenants", str(SAMPLE), "--assign", "*: martians"],
        "--assign:1: unknown tenant 'martians'",
        id="a rule names an unknown tenant",
    ),
    pytest.param(["--tenants", str(SAMPLE)], "name no tenant", id="tenants and no rules"),
    pytest.param(["--assign", "*: platform"], "unknown tenant 'platform'", id="rules and no tenants"),
    pytest.param(
        ["--tenants", str(SAMPLE), "--assign", "absent.rules"],
        "absent.rules:1: no such file",
        id="no rule file",
    ),
    pytest.param(["--tenants", "absent", "--assign", "*: a"], "absent", id="no tenant directory"),
]


@pytest.mark.parametrize(("options", "want_said"), BAD_OPTIONS)
def test_replay_refuses_options_that_make_no_sense(trace: Path, options: list[str], want_said: str) -> None:
    nodes, pods = trace / "openb_node_list_gpu_node.csv", trace / "openb_pod_list_default.csv"
    assert want_said in refused("replay", "--nodes", nodes, "--pods", pods, *options)


def test_a_tenant_file_that_names_an_unknown_tenant_is_refused_with_its_place(trace: Path) -> None:
    tenants = trace / "tenants"
    tenants.mkdir()
    (tenants / "agents.yaml").write_text(STRANGER)
    nodes, pods = trace / "openb_node_list_gpu_node.csv", trace / "openb_pod_list_default.csv"
    said = refused("replay", "--nodes", nodes, "--pods", pods, "--tenants", tenants, "--assign", "*: agents")
    assert f"{tenants}/agents.yaml:5:25: isolation.neverWith[0]: no tenant 'martians'" in said


def test_compare_without_a_trace_says_how_to_name_one() -> None:
    assert "--data:1: no trace was named; give --data DIR" in refused("compare")


def test_compare_names_the_file_that_a_directory_lacks(tmp_path: Path) -> None:
    assert refused("compare", "--data", tmp_path).startswith(
        f"{tmp_path}/openb_node_list_gpu_node.csv:1: no such"
    )


TRACEBACKS = [
    pytest.param(["compare", "--policy", "prayer"], "prayer", id="compare: unknown policy"),
    pytest.param(["compare", "--report", "{}/file/report.html"], "report", id="compare: report below a file"),
    pytest.param(["compare", "--report", "{}"], "report", id="compare: report is a directory"),
    pytest.param(
        ["replay", "--events", "{}/absent/events.jsonl"], "events", id="replay: events in no directory"
    ),
    pytest.param(["replay", "--events", "{}"], "events", id="replay: events is a directory"),
]


@pytest.mark.parametrize(("words", "want_said"), TRACEBACKS)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    trace: Path, words: list[str], want_said: str
) -> None:
    (trace / "file").write_text("")
    nodes, pods = trace / "openb_node_list_gpu_node.csv", trace / "openb_pod_list_default.csv"
    filled = [word.format(trace) for word in words]
    assert want_said in refused(*filled, "--nodes", nodes, "--pods", pods)
