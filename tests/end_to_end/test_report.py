"""The HTML report of `bulkhead compare`: it is well-formed, fetches nothing, and says what the JSON says."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest

from benchmarks.instances.mixes import MIXES
from benchmarks.instances.write import write_instance
from tests.support.commands import bulkhead

VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """Reads a page: its table rows as lists of cells, the addresses it names, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "elements left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What `compare` printed as JSON, and the page that it wrote."""
    directory = tmp_path_factory.mktemp("compare")
    write_instance(directory, MIXES["openb"], nodes=60, pods=400, seed=3)
    page = directory / "out" / "report.html"
    ended = bulkhead("compare", "--data", directory, "--report", page, "--json")
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]
    return json.loads(ended.stdout), page.read_text()


def test_the_page_is_well_formed_and_fetches_nothing(compared: tuple[dict[str, Any], str]) -> None:
    page = Page(compared[1])
    assert compared[1].startswith("<!doctype html>")
    assert page.addresses == []
    assert not page.tags & {"script", "iframe", "link", "img", "object"}
    assert "url(" not in compared[1]


def test_the_figures_of_the_page_are_those_of_the_json(compared: tuple[dict[str, Any], str]) -> None:
    result, text = compared
    rows = {row[0]: row for row in Page(text).rows if row}
    dedicated = result["schemes"][0]["usage"]["nodes"]
    for scheme in result["schemes"]:
        usage = scheme["usage"]
        saved = f"{100 * (dedicated - usage['nodes']) / dedicated:.1f} %"
        resources = [name for name in ("gpu_milli", "cpu_milli", "memory_mib") if usage["capacity"][name]]
        shares = [share(usage, part, name) for name in resources for part in ("asked", "stranded")]
        assert rows[scheme["name"]] == [scheme["name"], scheme["wall"], f"{usage['nodes']:,}", *shares, saved]
    for tenant in result["tenants"]:
        runtime = "sandbox" if tenant["sandboxed"] else "runc"
        assert rows[tenant["name"]] == [tenant["name"], tenant["trust"], f"{tenant['pods']:,}", runtime]


def share(usage: dict[str, Any], part: str, resource: str) -> str:
    """A part of a resource in percent of the capacity, as pages print it."""
    return f"{100 * usage[part].get(resource, 0) / usage['capacity'][resource]:.1f} %"
