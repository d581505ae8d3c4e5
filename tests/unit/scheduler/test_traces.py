"""Reading traces: what is read, and every way a file can be broken, with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scheduler.errors import BadInput
from scheduler.model import CPU, MEMORY, Gpu
from scheduler.traces import kubectl, openb
from scheduler.traces.assign import Assignment, parse
from scheduler.traces.files import read_cluster
from scheduler.traces.workload import Cluster, TracePod, arrivals, shuffled
from tenants.model import TenantSet
from tests.support.cluster import make_node, make_shape

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn1,64000,262144,2,P100\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n"


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


BROKEN_PODS = [
    pytest.param("", 1, "the file is empty", id="empty file"),
    pytest.param(PODS, 1, "holds no pods", id="a header and nothing else"),
    pytest.param(PODS + "p,1,2,0\n", 2, "the row has 4 fields, the header has 7", id="short row"),
    pytest.param(PODS + "p,1,2,0,0,,LS\np,1,2,0,0,,LS\n", 3, "pod 'p' appears twice", id="duplicate name"),
    pytest.param(
        PODS + "p,-5,2,0,0,,LS\n", 2, "cpu_milli is -5, an amount cannot be negative", id="negative"
    ),
    pytest.param(PODS + f"p,{2**63},2,0,0,,LS\n", 2, "larger than any machine", id="two to the 63"),
    pytest.param(PODS + "p,many,2,0,0,,LS\n", 2, "cpu_milli is 'many', not a whole number", id="a word"),
    pytest.param(
        PODS + "p,1,2,1,1001,,LS\n", 2, "gpu_milli is 1001, a device has 1 to 1000", id="over a device"
    ),
    pytest.param(
        PODS + "p,1,2,2,500,,LS\n", 2, "more than one device can only be asked whole", id="two halves"
    ),
    pytest.param(
        "name,cpu,memory_mib\np,1,2\n", 1, "unknown column 'cpu'; did you mean 'cpu_milli'?", id="column"
    ),
    pytest.param(
        "name,cpu_milli\np,1\n", 1, "missing column memory_mib, num_gpu, gpu_milli", id="missing columns"
    ),
    pytest.param(PODS + "p,65000,2,0,0,,LS\n", 2, "pod 'p' fits no node", id="a pod no node can ever hold"),
    pytest.param(PODS + "p,1,2,1,1000,T4,LS\n", 2, "pod 'p' fits no node", id="a gpu model that nobody has"),
    pytest.param(PODS + "\x00\xff,1,2,0,0,,LS,\n", 2, "8 fields", id="junk"),
]


@pytest.mark.parametrize(("text", "want_line", "want_why"), BROKEN_PODS)
def test_a_broken_pod_list_is_refused_with_its_line(
    tmp_path: Path, text: str, want_line: int, want_why: str
) -> None:
    nodes, pods = write(tmp_path, "nodes.csv", NODES), write(tmp_path, "pods.csv", text)
    with pytest.raises(BadInput) as refused:
        read_cluster(nodes, pods, Assignment(), TenantSet())
    problem = refused.value.problems[0]
    assert (problem.path, problem.line) == (str(pods), want_line)
    assert want_why in str(problem)


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    pods = write(tmp_path, "pods.csv", PODS + "a,x,2,0,0,,LS\nb,1,2\nc,1,-2,0,0,,LS\n")
    with pytest.raises(BadInput) as refused:
        openb.read_pods(pods, Assignment())
    assert [problem.line for problem in refused.value.problems] == [2, 3, 4]


def test_a_hopeless_file_stops_being_read(tmp_path: Path) -> None:
    pods = write(tmp_path, "pods.csv", PODS + "x\n" * 100_000)
    with pytest.raises(BadInput, match="too many problems") as refused:
        openb.read_pods(pods, Assignment())
    assert len(refused.value.problems) == openb.PROBLEMS_SHOWN + 1


def test_a_node_that_appears_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nodes.csv:3: node 'n1' appears twice"):
        openb.read_nodes(write(tmp_path, "nodes.csv", NODES + "n1,1,1,0,\n"))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_cluster(tmp_path / "nodes.csv", tmp_path / "pods.csv", Assignment(), TenantSet())


def test_a_pod_row_becomes_a_shape(tmp_path: Path) -> None:
    rules = parse("qos=BE: agents; *: platform", "rules", {"agents", "platform"})
    [pod] = openb.read_pods(write(tmp_path, "pods.csv", PODS + "p,6000,12288,1,460,T4|P100,BE\n"), rules)
    assert pod.shape.requests == ((CPU, 6000), (MEMORY, 12288))
    assert pod.shape.gpu == Gpu(1, 460, ("P100", "T4"))
    assert pod.shape.tenant == "agents"


BROKEN_RULES = [
    pytest.param("qos=BE agents", 1, "is no rule", id="no colon"),
    pytest.param("qos: agents", 1, "is no rule", id="no value"),
    pytest.param("qos=BE: agents\nqos=LS: nobody", 2, "unknown tenant 'nobody'", id="unknown tenant"),
    pytest.param("# nothing", 1, "holds no rule", id="only a comment"),
]


@pytest.mark.parametrize(("text", "want_line", "want_why"), BROKEN_RULES)
def test_broken_assignment_rules_are_refused_with_their_line(
    text: str, want_line: int, want_why: str
) -> None:
    with pytest.raises(BadInput, match=want_why) as refused:
        parse(text, "rules", {"agents"})
    assert refused.value.problems[0].line == want_line


def test_a_pod_that_no_rule_assigns_is_refused(tmp_path: Path) -> None:
    rules = parse("qos=BE: agents", "rules", {"agents"})
    with pytest.raises(BadInput, match="no rule assigns this pod"):
        openb.read_pods(write(tmp_path, "pods.csv", PODS + "p,1,1,0,0,,LS\n"), rules)


LISTING = {
    "kind": "List",
    "items": [
        {
            "kind": "Node",
            "metadata": {"name": "n1", "labels": {"zone": "a", "nvidia.com/gpu.product": "T4"}},
            "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
            "status": {
                "allocatable": {"cpu": "7500m", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "2"}
            },
        },
        {
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "containers": [
                    {"resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}},
                    {"resources": {"limits": {"nvidia.com/gpu": 1}}},
                ],
                "initContainers": [
                    {"resources": {"requests": {"cpu": "100m"}}, "restartPolicy": "Always"},
                    {"resources": {"requests": {"cpu": "600m"}}},
                ],
                "nodeSelector": {"zone": "a"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
            },
            "status": {"phase": "Pending", "qosClass": "Burstable"},
        },
        {
            "kind": "Pod",
            "metadata": {"name": "agent", "namespace": "sys", "ownerReferences": [{"kind": "DaemonSet"}]},
            "spec": {"nodeName": "n1", "containers": [{"resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Running"},
        },
        {"kind": "Pod", "metadata": {"name": "done", "namespace": "shop"}, "status": {"phase": "Succeeded"}},
    ],
}


@pytest.mark.parametrize("name", ["listing.json", "listing.yaml"])
def test_a_kubectl_listing_becomes_nodes_and_pods(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, json.dumps(LISTING))
    nodes, pods = kubectl.read(path, Assignment(), lambda namespace: f"team-{namespace}")
    assert [(node.name, node.gpus, node.gpu_model) for node in nodes] == [("n1", 2, "T4")]
    assert dict(nodes[0].allocatable)[MEMORY] == 16384
    web, agent = pods
    assert web.name == "shop/web"
    assert dict(web.shape.requests) == {CPU: 700, MEMORY: 64}, "the init container runs beside the sidecar"
    assert web.shape.gpu == Gpu(1, 1000)
    assert web.shape.tenant == "team-shop"
    assert (agent.pinned_to, web.pinned_to) == ("n1", "")


BROKEN_LISTINGS = [
    pytest.param("a.json", "", 1, "empty", id="empty"),
    pytest.param("a.json", '{\n"items": [\n}', 3, "not JSON", id="not json"),
    pytest.param("a.yaml", "items:\n - kind: [", 3, "not YAML", id="not yaml"),
    pytest.param("a.json", '{"items": []}', 1, "no nodes and no pods", id="nothing in it"),
    pytest.param("a.json", '{"items": [\n{"kind": "Pod"}]}', 2, "metadata", id="a pod without metadata"),
    pytest.param(
        "a.json",
        '{"items": [\n{"kind": "Node", "metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4 Gb"}}}]}',
        2,
        "'4 Gb' is not a Kubernetes quantity",
        id="a quantity that is none",
    ),
    pytest.param(
        "a.json",
        '{"items": [{"kind": "Node", "metadata": {"name": "n"}},\n{"kind": "Node", "metadata": {"name": "n"}}]}',
        2,
        "appears twice",
        id="a node twice",
    ),
]


@pytest.mark.parametrize(("name", "text", "want_line", "want_why"), BROKEN_LISTINGS)
def test_a_broken_listing_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, want_line: int, want_why: str
) -> None:
    with pytest.raises(BadInput, match=want_why) as refused:
        kubectl.read(write(tmp_path, name, text), Assignment(), lambda _: "")
    assert refused.value.problems[0].line == want_line


def test_a_load_draws_copies_until_the_demand_is_reached_and_is_reproducible() -> None:
    pods = tuple(TracePod(f"p{n}", make_shape(gpu=Gpu(1, 500)), n) for n in range(4))
    cluster = Cluster((make_node(gpus=4),), pods)
    drawn = arrivals(cluster, 1.5, seed=7)
    assert len(drawn) == 12
    assert len({pod.uid for pod in drawn}) == 12
    assert drawn == arrivals(cluster, 1.5, seed=7)
    assert drawn != arrivals(cluster, 1.5, seed=8)


def test_a_list_that_holds_more_than_the_load_is_cut_to_it() -> None:
    pods = tuple(TracePod(f"p{n}", make_shape(gpu=Gpu(1, 500)), n) for n in range(40))
    drawn = arrivals(Cluster((make_node(gpus=4),), pods), 1.3, seed=7)
    assert len(drawn) == 10
    assert len({pod.uid for pod in drawn}) == 10


def test_shuffling_keeps_every_pod_that_needs_a_decision_once() -> None:
    pods = tuple(TracePod(f"p{n}", make_shape(), n, "node" if n == 3 else "") for n in range(9))
    drawn = shuffled(Cluster((make_node(),), pods), seed=1)
    assert sorted(pod.uid for pod in drawn) == [f"p{n}" for n in range(9) if n != 3]


def test_without_a_load_pods_arrive_in_file_order_and_pinned_ones_do_not_arrive() -> None:
    pods = (
        TracePod("b", make_shape(), 2),
        TracePod("d", make_shape(), 3, "node"),
        TracePod("a", make_shape(), 4),
    )
    assert [pod.uid for pod in arrivals(Cluster((make_node(),), pods), None, seed=1)] == ["b", "a"]
