"""The pure and small parts of the supervisor: frames, logs, OCI configuration, metrics."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from sandbox_runtime import metrics, oci
from sandbox_runtime.errors import BadInput
from sandbox_runtime.model import ContainerSpec, Limits
from sandbox_runtime.rootfs.image.config import ImageConfig
from sandbox_runtime.supervisor import frames, logs
from sandbox_runtime.supervisor.frames import Decoder, FrameBroken, Kind
from sandbox_runtime.supervisor.logs import Log


@given(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=50))), st.integers(1, 40))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    sent: list[tuple[Kind, bytes]], cut: int
) -> None:
    data = b"".join(frames.encode(kind, payload) for kind, payload in sent)
    decoder = Decoder()
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    assert [frame for piece in pieces for frame in decoder.feed(piece)] == sent


@given(st.binary(min_size=5, max_size=200))
def test_noise_is_refused_or_waits(noise: bytes) -> None:
    decoder = Decoder()
    try:
        for kind, payload in decoder.feed(noise):
            if kind is Kind.JSON:
                frames.parse(payload)
    except FrameBroken:
        pass


@given(st.lists(st.tuples(st.sampled_from(("stdout", "stderr")), st.binary(max_size=60)), max_size=20))
def test_a_log_gives_back_every_byte_of_each_stream(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, bytes]]
) -> None:
    storage = tmp_path_factory.mktemp("log")
    log = Log(storage, "main")
    for stream, data in written:
        log.write(stream, data)
    log.close()
    for wanted in ("stdout", "stderr"):
        read = b"".join(data for _, stream, data in logs.read(storage, "main") if stream == wanted)
        assert read == b"".join(data for stream, data in written if stream == wanted)


def test_a_log_keeps_its_newest_files_only(tmp_path: Path) -> None:
    log = Log(tmp_path, "main", file_bytes=1000, files=3)
    for number in range(100):
        log.write("stdout", b"%05d %s\n" % (number, b"x" * 40))
    log.close()
    kept = [data[:5] for _, _, data in logs.read(tmp_path, "main")]
    assert kept == [b"%05d" % number for number in range(100 - len(kept), 100)]
    assert len(list(tmp_path.iterdir())) == 3
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


def test_a_log_is_as_kubelet_reads_it(tmp_path: Path) -> None:
    log = Log(tmp_path, "main")
    log.write("stdout", b"whole\npart")
    log.close()
    first, second = (tmp_path / "main.log").read_text().splitlines()
    assert first.split(" ", 1)[1] == "stdout F whole"
    assert second.split(" ", 1)[1] == "stdout P part"


PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:7:8::/srv/app:/bin/sh\njunk\nbad:x:a:b:c:d:e\n"
GROUP = "root:x:0:\nstaff:x:9:app,other\napp:x:8:\n"


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("app", oci.User(7, 8, (9,), "/srv/app")),
        ("app:staff", oci.User(7, 9, (), "/srv/app")),
        ("7", oci.User(7, 8, (9,), "/srv/app")),
        ("55:staff", oci.User(55, 9, (), "/")),
        ("app:123", oci.User(7, 123, (), "/srv/app")),
    ],
)
def test_users_are_looked_up(text: str, user: oci.User) -> None:
    assert oci.look_up(text, PASSWD, GROUP) == user


@pytest.mark.parametrize("text", ["nobody", "app:nogroup", "junk"])
def test_users_that_are_not_there_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        oci.look_up(text, PASSWD, GROUP)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=10))
def test_strange_user_files_are_no_trouble(passwd: str, group: str, text: str) -> None:
    with contextlib.suppress(BadInput):
        oci.look_up(text, passwd, group)


def test_what_the_caller_says_goes_before_what_the_image_says() -> None:
    image = ImageConfig(entrypoint=("/entry",), cmd=("cmd",), env=("A=1", "B=2"), cwd="/image")
    spec = ContainerSpec("c", ("mine",), env=("B=3",), limits=Limits(500, 1 << 20))
    config = oci.config(spec, image, oci.ROOT, [])
    assert config["process"]["args"] == ["/entry", "mine"]
    assert {"A=1", "B=3", "HOME=/root"} <= set(config["process"]["env"])
    assert config["process"]["cwd"] == "/image"
    assert config["linux"]["resources"]["memory"] == {"limit": 1 << 20, "swap": 1 << 20}
    assert config["linux"]["resources"]["cpu"] == {"quota": 50_000, "period": 100_000}
    with pytest.raises(BadInput):
        oci.config(ContainerSpec("c"), ImageConfig(), oci.ROOT, [])


FIGURES = {
    "id": "s", "accel": "tcg", "restored": True, "phase": "running", "cpu_us": 1_500_000, "rss_bytes": 5,
    "processes": 2, "memory_bytes": 7,
    "disks": {"c0": {"rd_bytes": 1, "wr_bytes": 2, "rd_operations": 3, "wr_operations": 4}},
    "guest": {"memory_total_bytes": 10, "cpu_us": 1},
    "containers": [{"id": 'ma"in\n', "memory_bytes": 3, "oom_kills": 1}],
    "interfaces": [{"name": "eth0", "received_bytes": 9}],
}  # fmt: skip


def test_prometheus_reads_the_figures() -> None:
    families = {
        family.name: family for family in text_string_to_metric_families(metrics.text([FIGURES, FIGURES]))
    }
    cpu = families["bulkhead_sandbox_cpu_seconds"].samples[0]
    assert (cpu.value, cpu.labels) == (1.5, {"sandbox": "s", "accel": "tcg"})
    kills = families["bulkhead_sandbox_container_oom_kills"].samples[0]
    assert (kills.value, kills.labels["container"]) == (1, 'ma"in\n')


def test_starts_add_up_to_histograms() -> None:
    timings: list[tuple[str, float]] = [
        ("group", 0.0), ("machine", 0.2), ("template", 0.25), ("created", 0.5), ("started", 0.6), ("release-x", 9.0),
    ]  # fmt: skip
    starts = metrics.observe(metrics.observe({}, "tcg", "restore", timings), "tcg", "restore", timings)
    families = {family.name: family for family in text_string_to_metric_families(metrics.text([], starts))}
    samples = families["bulkhead_sandbox_start_phase_seconds"].samples
    ready = {s.name.rpartition("_")[2]: s.value for s in samples if s.labels["phase"] == "ready"}
    assert (ready["sum"], ready["count"]) == (1.0, 2)
    machine = [s for s in samples if s.labels["phase"] == "machine" and s.labels.get("le") in ("0.25", "0.5")]
    assert [sample.value for sample in machine] == [0, 2]
    assert {sample.labels["start"] for sample in samples} == {"restore"}


def test_no_sandboxes_are_no_text() -> None:
    assert metrics.text([]) == ""
