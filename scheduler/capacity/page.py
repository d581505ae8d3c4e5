"""Renders a comparison as one self-contained HTML page: inline style and SVG, no script, nothing fetched. Pure."""

from __future__ import annotations

from html import escape

from scheduler.capacity.comparison import TITLES, Comparison, Measured, resources

STYLE = """
:root { --ink: #1c2430; --soft: #6b7686; --line: #dfe4ea; --used: #2563a8; --over: #e0912f; --lost: #b94a48;
  --idle: #e9edf2; color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 60rem;
  margin: 3rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
.verdict { font-size: 1.15rem; } .note { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; white-space: nowrap; padding: .45rem .6rem; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: .85rem; } th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; display: block; margin: .5rem 0; } svg text { font: 13px system-ui, sans-serif; }
.key span { display: inline-block; width: .8rem; height: .8rem; margin: 0 .35rem 0 1rem; vertical-align: -1px; }
"""
ROW, BAR, LEFT, WIDTH = 34, 20, 170, 900
SEGMENTS = (
    ("used by pods", "--used"),
    ("sandbox overhead", "--over"),
    ("stranded", "--lost"),
    ("free and usable", "--idle"),
)


def page(comparison: Comparison) -> str:
    """The whole page as text."""
    bars = "".join(
        f"<h2>{TITLES[name]}</h2>{resource_bars(comparison, name)}" for name in resources(comparison)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bulkhead capacity report</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f'<h1>Bulkhead capacity report</h1><p class="verdict">{escape(comparison.verdict)}</p>'
        f"<h2>Nodes needed</h2>{node_bars(comparison)}{scheme_table(comparison)}{bars}{key()}"
        f"<h2>Tenants</h2>{tenant_table(comparison)}"
        '<p class="note">Nodes needed: the smallest cluster of the same mix of node kinds on which '
        f"the policy {escape(comparison.policy)} places every pod. Stranded: free capacity weighted by the chance "
        "that a random pod of this workload cannot use it.</p></body></html>\n"
    )


def node_bars(comparison: Comparison) -> str:
    """One bar per scheme, as long as the nodes it needs."""
    most = max(measured.usage.nodes for measured in comparison.schemes)
    rows = []
    for row, measured in enumerate(comparison.schemes):
        length = (WIDTH - LEFT - 90) * measured.usage.nodes / max(most, 1)
        rows.append(label(row, measured.name) + bar(row, LEFT, length, "--used"))
        rows.append(f'<text x="{LEFT + length + 8:.1f}" y="{row * ROW + 20}">{measured.usage.nodes:,}</text>')
    return svg(len(comparison.schemes), "".join(rows))


def resource_bars(comparison: Comparison, resource: str) -> str:
    """One bar per scheme, split into used, overhead, stranded and usable."""
    rows = []
    for row, measured in enumerate(comparison.schemes):
        rows.append(label(row, measured.name))
        start = float(LEFT)
        for share, (_, colour) in zip(shares(measured, resource), SEGMENTS, strict=True):
            length = (WIDTH - LEFT) * share
            rows.append(bar(row, start, length, colour))
            start += length
        used = f"{measured.usage.used_pct(resource):.1f} %"
        rows.append(f'<text x="{LEFT + 8}" y="{row * ROW + 20}" fill="white">{used}</text>')
    return svg(len(comparison.schemes), "".join(rows))


def shares(measured: Measured, resource: str) -> tuple[float, float, float, float]:
    """Used, overhead, stranded and usable parts of a resource; they add up to 1."""
    usage = measured.usage
    whole = max(usage.capacity.get(resource, 0), 1)
    parts = [values.get(resource, 0) / whole for values in (usage.asked, usage.overhead, usage.stranded)]
    return parts[0], parts[1], parts[2], max(0.0, 1.0 - sum(parts))


def scheme_table(comparison: Comparison) -> str:
    """The figures behind the bars."""
    names = resources(comparison)
    heads = "".join(f"<th>{TITLES[name]} used</th><th>{TITLES[name]} stranded</th>" for name in names)
    rows = []
    for measured in comparison.schemes:
        cells = "".join(
            f"<td>{measured.usage.used_pct(name):.1f} %</td><td>{measured.usage.stranded_pct(name):.1f} %</td>"
            for name in names
        )
        rows.append(
            f"<tr><td>{escape(measured.name)}</td><td>{escape(measured.wall)}</td><td>{measured.usage.nodes:,}</td>"
            f"{cells}<td>{comparison.saved_pct(measured):.1f} %</td></tr>"
        )
    return f"<table><tr><th>scheme</th><th>wall</th><th>nodes</th>{heads}<th>saved</th></tr>{''.join(rows)}</table>"


def tenant_table(comparison: Comparison) -> str:
    """Who the pods belong to."""
    rows = "".join(
        f"<tr><td>{escape(tenant.name)}</td><td>{escape(tenant.trust)}</td><td>{tenant.pods:,}</td>"
        f"<td>{'sandbox' if tenant.sandboxed else 'runc'}</td></tr>"
        for tenant in comparison.tenants
    )
    return f"<table><tr><th>tenant</th><th>trust</th><th>pods</th><th>runtime</th></tr>{rows}</table>"


def key() -> str:
    """What the colours mean."""
    spans = "".join(f'<span style="background:var({colour})"></span>{name}' for name, colour in SEGMENTS)
    return f'<p class="note key">{spans}</p>'


def svg(rows: int, content: str) -> str:
    """A drawing of that many rows."""
    return f'<svg viewBox="0 0 {WIDTH} {rows * ROW}" role="img">{content}</svg>'


def label(row: int, text: str) -> str:
    """The name at the left of a row."""
    return f'<text x="0" y="{row * ROW + 20}">{escape(text)}</text>'


def bar(row: int, start: float, length: float, colour: str) -> str:
    """A filled rectangle in a row."""
    return (
        f'<rect x="{start:.1f}" y="{row * ROW + 5}" width="{max(length, 0):.1f}" height="{BAR}" '
        f'fill="var({colour})"/>'
    )
