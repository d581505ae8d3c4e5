"""What one call costs: our CPU and the caller's latency per verb, for clusters of 100 to 15,000 nodes, HTTP and TLS.

The real server runs in a process of its own over an `EmbeddedCluster`; the caller is a blocking socket that sends the
pod of a recorded body, one call after the other, as kube-scheduler's cycle does. Names per call are those that
kube-scheduler sends: one node where the pod was guided, its adaptive sample otherwise, every node at percentage 100.
Beside them the floor: the same server, the same body, a constant answer.

    python -m benchmarks.extender.calls [--json] [--pods N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import uvloop

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from scheduler.extender.http import Request, Response
from scheduler.extender.server import Server, TlsFiles
from scheduler.extender.verbs import Verbs

NODES = (100, 1_000, 5_000, 15_000)
VERBS = ("floor", "filter", "prioritize", "bind")
WARM_UP = 50
FLOOR = (
    b'{"Nodes":null,"NodeNames":["node-00000"],"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":""}'
)
RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "extender" / "filter_n5000_1.request.json"


class CallCost(msgspec.Struct, frozen=True):
    """Medians of one kind of call; `cpu_us` is the server's, `latency_us` the caller's."""

    transport: str
    nodes: int
    names: int
    verb: str
    cpu_us: float
    latency_us: float
    latency_p99_us: float
    request_bytes: int
    answer_bytes: int


def sample(nodes: int) -> int:
    """How many nodes kube-scheduler looks for by default (numFeasibleNodesToFind)."""
    if nodes < 100:
        return nodes
    return max(100, nodes * max(5, 50 - nodes // 125) // 100)


# --- the server's process -----------------------------------------------------------------------------------


def serve(pipe: Connection, nodes: int, files: TlsFiles | None) -> None:
    """Serve until the pipe says stop; answer with the CPU of each call by path."""
    uvloop.run(_serve(pipe, nodes, files))


async def _serve(pipe: Connection, nodes: int, files: TlsFiles | None) -> None:
    cluster = EmbeddedCluster(plain_nodes(node_names(nodes)))
    spent: dict[str, list[float]] = defaultdict(list)
    last = time.thread_time()

    def observe(path: str, status: int, seconds: float) -> None:
        nonlocal last
        now = time.thread_time()
        spent[path].append(now - last)
        last = now

    def floor(request: Request) -> Response:
        return Response(FLOOR)

    routes = {**Verbs(cluster).routes(), ("POST", "/floor"): floor}
    server = Server(routes, files, observer=observe)
    pipe.send((await server.start("127.0.0.1", 0))[1])
    stopped = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(pipe.fileno(), stopped.set_result, None)
    await stopped
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    pipe.recv()
    await server.drain(1)
    pipe.send(dict(spent))


# --- the caller ---------------------------------------------------------------------------------------------


class Caller:
    """A blocking connection, as cheap as can be."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain, server_hostname="localhost") if context else plain

    def call(self, verb: str, body: bytes) -> bytes:
        """POST and read the answer's body."""
        head = (
            f"POST /{verb} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Go-http-client/1.1\r\n"
            f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._socket.recv(1 << 18)
        length = int(answer[: end + 2].split(b"Content-Length: ")[1].split(b"\r\n")[0])
        while len(answer) < end + 4 + length:
            answer += self._socket.recv(1 << 18)
        return answer[end + 4 :]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def node_names(nodes: int) -> list[str]:
    """The names that the recorded cluster has."""
    return [f"node-{number:05}" for number in range(nodes)]


def bodies(nodes: int, names: int, pods: int) -> Iterator[tuple[str, bytes]]:
    """Pod UIDs and filter bodies: the recorded pod under ever new UIDs, before as many names, ever other ones."""
    whole = json.loads(RECORDED.read_bytes())
    uid = whole["Pod"]["metadata"]["uid"]
    every = node_names(nodes)
    for number in range(pods):
        fresh = f"{number:08x}{uid[8:]}"
        whole["Pod"]["metadata"]["uid"] = fresh
        whole["NodeNames"] = [every[(number * names + place) % nodes] for place in range(names)]
        yield fresh, json.dumps(whole, separators=(",", ":")).encode()


def measure(nodes: int, names: int, pods: int, transport: str, directory: Path) -> list[CallCost]:
    """Let `pods` pods arrive one after the other, each with all verbs."""
    files, context = certificates(directory) if transport == "tls" else (None, None)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, nodes, files))
    process.start()
    caller = Caller(ours.recv(), context)
    latency: dict[str, list[float]] = defaultdict(list)
    sizes: dict[str, tuple[int, int]] = {}

    def timed(verb: str, body: bytes) -> bytes:
        began = time.perf_counter()
        answer = caller.call(verb, body)
        latency[verb].append(time.perf_counter() - began)
        sizes[verb] = len(body), len(answer)
        return answer

    for uid, body in bodies(nodes, names, pods + WARM_UP):
        timed("floor", body)
        chosen = json.loads(timed("filter", body))["NodeNames"][0]
        timed("prioritize", body)
        binding = {"PodName": "p", "PodNamespace": "n", "PodUID": uid, "Node": chosen}
        answer = json.loads(timed("bind", json.dumps(binding, separators=(",", ":")).encode()))
        assert answer == {"Error": ""}, answer  # noqa: S101
    caller.close()
    ours.send("stop")
    spent = ours.recv()
    process.join()
    return [
        CallCost(
            transport,
            nodes,
            names,
            verb,
            1e6 * statistics.median(spent[f"/{verb}"][WARM_UP:]),
            1e6 * statistics.median(latency[verb][WARM_UP:]),
            1e6 * statistics.quantiles(latency[verb][WARM_UP:], n=100)[98],
            *sizes[verb],
        )
        for verb in VERBS
    ]


def certificates(directory: Path) -> tuple[TlsFiles, ssl.SSLContext]:
    """A self-signed certificate that both sides show and trust."""
    certificate, key = directory / "bench.crt", directory / "bench.key"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", "req", "-x509", *curve, *names, *files], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=str(certificate))
    context.load_cert_chain(certificate, key)
    return TlsFiles(certificate, key, certificate), context


def every_size(pods: int, sizes: tuple[int, ...] = NODES) -> list[CallCost]:
    """All transports, sizes and numbers of names."""
    found: list[CallCost] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for nodes in sizes:
            for transport in ("http", "tls"):
                for names in sorted({1, sample(nodes), nodes}):
                    found += measure(nodes, names, pods, transport, directory)
    return found


def table(costs: list[CallCost]) -> str:
    """The figures as lines."""
    lines = ["      nodes  names verb         CPU us   p50 us   p99 us     sent answered"]
    lines += [
        f"{cost.transport:4} {cost.nodes:6} {cost.names:6} {cost.verb:10} {cost.cpu_us:8.0f} {cost.latency_us:8.0f} "
        f"{cost.latency_p99_us:8.0f} {cost.request_bytes:8} {cost.answer_bytes:8}"
        for cost in costs
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pods", type=int, default=400)
    parser.add_argument("--nodes", type=int, nargs="*", default=NODES)
    options = parser.parse_args()
    costs = every_size(options.pods, tuple(options.nodes))
    sys.stdout.write(msgspec.json.encode(costs).decode() if options.json else table(costs))
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
