"""What is compared: kube-scheduler alone, with an empty extender, with Bulkhead, with anti-affinity. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from benchmarks.extender.population import SCHEDULER_NAME

DEPLOY: Final = Path(__file__).parents[2] / "deploy" / "scheduler"
CLASSIC_CONFIG: Final = DEPLOY / "kube-scheduler-config.yaml"
GUIDED_CONFIG: Final = DEPLOY / "kube-scheduler-guided.yaml"


class Variant(NamedTuple):
    """One way to schedule. `serves` starts `bulkhead serve`; `guided` pods come gated and are let through by it."""

    name: str
    percentage: int = 0  # 0: kube-scheduler's own choice
    empty: bool = False
    serves: bool = False
    guided: bool = False
    store: str = "sqlite"
    apart: bool = False
    crowded: bool = False  # among pods that stand already
    flags: tuple[str, ...] = ()


ALONE: Final = Variant("alone")
EMPTY: Final = Variant("empty", empty=True)
EMPTY_100: Final = Variant("empty-100", percentage=100, empty=True)
CLASSIC: Final = Variant("classic", serves=True, flags=("--no-guide",))
GUIDED: Final = Variant("guided", serves=True, guided=True)
GUIDED_REDIS: Final = Variant("guided-redis", serves=True, guided=True, store="redis")
ANTI_AFFINITY: Final = Variant("anti-affinity", apart=True, crowded=True)
GUIDED_CROWDED: Final = Variant("guided-crowded", serves=True, guided=True, crowded=True)
ALL: Final = (ALONE, EMPTY, CLASSIC, GUIDED, GUIDED_REDIS, EMPTY_100, ANTI_AFFINITY, GUIDED_CROWDED)


def fields(variant: Variant, port: int, tls: dict[str, str]) -> dict[str, Any]:
    """The KubeSchedulerConfiguration beside what every run shares.

    Bulkhead's variants have the shipped files, with the ports and certificates of the run; the others a profile with
    kube-scheduler's defaults. All extenders are called over TLS with client certificates.
    """
    if variant.serves:
        shipped: dict[str, Any] = yaml.safe_load(
            (GUIDED_CONFIG if variant.guided else CLASSIC_CONFIG).read_text()
        )
        (extender,) = shipped["extenders"]
        extender |= {"urlPrefix": f"https://127.0.0.1:{port}"}
        extender["tlsConfig"] |= tls
        return {"profiles": shipped["profiles"], "extenders": [extender]}
    found: dict[str, Any] = {"profiles": [{"schedulerName": SCHEDULER_NAME}]}
    if variant.percentage:
        found["profiles"][0]["percentageOfNodesToScore"] = variant.percentage
    if variant.empty:
        found["extenders"] = [
            {
                "urlPrefix": f"https://127.0.0.1:{port}",
                "filterVerb": "filter",
                "prioritizeVerb": "prioritize",
                "weight": 1,
                "nodeCacheCapable": True,
                "httpTimeout": "10s",
                "enableHTTPS": True,
                "tlsConfig": {**tls, "serverName": "localhost"},
            }
        ]
    return found
