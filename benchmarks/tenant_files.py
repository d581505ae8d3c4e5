"""How long `bulkhead tenants check` takes: a set of 34,000 lines, by step. `python -m benchmarks.tenant_files`.

Prints figures and asserts nothing. The set is made here: tenants with quota, namespaces and network rules, a
score of groups, in one file and in one file each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from tenants.files import positions, report
from tenants.files.decode import decode
from tenants.files.load import Sources, parse
from tenants.model import TenantSet

GROUPS = 20
LINES = 34_000
RUNS = 5

GROUP = """\
apiVersion: bulkhead.dev/v1
kind: TenantGroup
name: org-{i}
quota:
  default:
    cpu: 1M
    memory: 1Pi
"""
TENANT = """\
apiVersion: bulkhead.dev/v1
kind: Tenant
name: team-{i}
parent: org-{group}
trust: untrusted
isolation:
  blastRadius: 4
  coResidency: shared
namespaces:
  - team-{i}-prod
  - team-{i}-x-*
quota:
  default:
    cpu:
      guaranteed: 4
      max: 8
    memory:
      guaranteed: 16Gi
      max: 32Gi
    nvidia.com/gpu: 0
network:
  allowFrom:
    - tenant: team-0
      ports:
        - 443
        - 8080
  allowTo:
    - cidr: 10.{octet}.0.0/16
      except:
        - 10.{octet}.1.0/24
"""


def documents(lines: int) -> list[str]:
    """Documents of at least `lines` lines together, `---` between them included."""
    made = [GROUP.format(i=number) for number in range(GROUPS)]
    count, number = sum(text.count("\n") + 1 for text in made), 0
    while count < lines:
        made.append(TENANT.format(i=number, group=number % GROUPS, octet=number % 256))
        count += made[-1].count("\n") + 1
        number += 1
    return made


def timed(name: str, work: Callable[[], object]) -> None:
    """Median of a few runs in milliseconds, by the clock and of the processor: a busy machine parts the two."""
    clock: list[float] = []
    processor: list[float] = []
    for _ in range(RUNS):
        before, worked = time.perf_counter(), time.process_time()
        work()
        clock.append((time.perf_counter() - before) * 1000)
        processor.append((time.process_time() - worked) * 1000)
    print(  # noqa: T201
        f"{name:40} {statistics.median(clock):7.0f} ms, of the processor {statistics.median(processor):5.0f} ms"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES, help="size of the set")
    texts = documents(parser.parse_args().lines)
    whole = "---\n".join(texts)
    split = {f"{number}.yaml": text for number, text in enumerate(texts)}
    wrong = {"all.yaml": whole.replace("guaranteed: 16Gi", "guaranteed: 16 Gb")}
    assert isinstance(parse({"all.yaml": whole}), TenantSet)  # noqa: S101 - a broken set would measure nothing
    print(f"{whole.count(chr(10)):,} lines, {len(whole):,} bytes, {len(texts):,} documents")  # noqa: T201
    read = positions.read("all.yaml", whole)[0]
    timed("YAML to values with positions", lambda: positions.read("all.yaml", whole))
    timed("shape of every document", lambda: [decode(document) for document in read])
    timed("everything, one file", lambda: parse({"all.yaml": whole}))
    timed("everything, one file each", lambda: parse(split))
    timed("everything, a problem in every tenant", lambda: shown(wrong))


def shown(texts: dict[str, str]) -> str:
    """The report of a broken set."""
    found = parse(texts)
    return report.text(found, texts) if isinstance(found, list) else report.summary(found, Sources(texts, []))


if __name__ == "__main__":
    main()
