"""Builders of event file lines, written by hand from the format so that they owe nothing to the scheduler."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Line = dict[str, Any]

RUN: Line = {"event": "run", "schema": 1, "policy": "best-fit", "seed": 1, "load": None}


def node(name: str, **facts: Any) -> Line:
    """A node of 8 CPUs and 32 GiB unless said otherwise; `pods`, `fpga`, … become allocatable."""
    stated: Line = {
        "labels": {},
        "taints": [],
        "unschedulable": False,
        "sandboxes": True,
        "blast_radius": None,
    }
    stated |= {"gpus": 0, "gpu_model": ""}
    amounts = {"cpu_milli": 8000, "memory_mib": 32768}
    amounts |= {key: facts.pop(key) for key in list(facts) if key not in stated}
    return {"event": "node", "name": name, "allocatable": amounts, **stated, **facts}


def tenant(name: str, trust: str = "trusted", **wishes: Any) -> Line:
    """A trusted tenant that shares its nodes unless said otherwise."""
    stated: Line = {"runtime": "auto", "co_residency": "shared", "never_with": [], "blast_radius": None}
    return {"event": "tenant", "name": name, "trust": trust, **stated, **wishes}


def runtime_class(name: str, handler: str, **overhead: int) -> Line:
    """A runtime class."""
    return {"event": "runtime_class", "name": name, "handler": handler, "overhead": overhead}


def shape(**asks: Any) -> Line:
    """One CPU and one GiB for `platform` unless said otherwise."""
    amounts = {"cpu_milli": asks.pop("cpu", 1000), "memory_mib": asks.pop("memory", 1024)}
    amounts |= asks.pop("also", {})
    empty = {"node_selector": [], "affinity": [], "tolerations": [], "spread": [], "runtime_class": ""}
    return {"requests": sorted(amounts.items()), "gpu": None, "tenant": "platform", **empty, **asks}


def gpu(count: int, milli: int, *models: str) -> Line:
    """A GPU request."""
    return {"count": count, "milli": milli, "models": list(models)}


def placed(pod: str, on: str, asks: Line | None = None, **rest: Any) -> Line:
    """A placement on the shared kernel, numbered by `write`."""
    return {"event": "placed", "pod": pod, "shape": asks or shape(), "node": on, "sandboxed": False, **rest}


def refused(pod: str, asks: Line, *blockers: tuple[Any, ...], **rest: Any) -> Line:
    """A refusal for the last blocker's reason; a blocker is (reason, nodes[, asked, most])."""
    names = ("reason", "nodes", "asked", "most")
    told = [dict(zip(names, (*blocker, None, None)[:4], strict=True)) for blocker in blockers]
    reason = told[-1]["reason"] if told else "TenantRules"
    stated = {"pod": pod, "shape": asks, "reason": reason, "blockers": told, "sandboxed": False}
    return {"event": "refused", **stated, **rest}


def write(path: Path, lines: Iterable[Line]) -> Path:
    """Write lines, numbering the decisions that state no `seq` of their own."""
    number, texts = 0, []
    for line in lines:
        decided = line["event"] in ("placed", "refused")
        told = {"seq": number, **line} if decided else line
        number = told["seq"] + 1 if decided else 0
        texts.append(json.dumps(told))
    path.write_text("".join(text + "\n" for text in texts))
    return path
