"""Tenant files while serving: good ones are taken, bad ones change nothing and are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.errors import BadInput
from scheduler.kube.objects import ConfigMapObject, Metadata
from scheduler.serve.tenants_source import TenantFiles, TenantMap
from tenants.model import TenantSet

GOOD = """
apiVersion: bulkhead.dev/v1
kind: Tenant
name: {name}
trust: trusted
quota: {{default: {{cpu: {{guaranteed: 1}}, memory: {{guaranteed: 1Gi}}}}}}
"""


def test_a_directory_is_taken_when_it_changes_for_the_good(tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(GOOD.format(name="one"))
    files = TenantFiles(tmp_path)
    assert set(files.tenants.tenants) == {"one"}
    assert files.changed() is None
    file.write_text("nonsense: [")
    assert files.changed() is None
    assert files.problems
    file.write_text(GOOD.format(name="two"))
    found = files.changed()
    assert found is not None
    assert set(found.tenants) == {"two"}
    assert files.problems == []


def test_a_directory_that_is_bad_from_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        TenantFiles(tmp_path)


def test_a_config_map_is_taken_once_per_change_and_kept_when_it_goes() -> None:
    taken: list[TenantSet] = []
    source = TenantMap(taken.append)
    assert source.problems
    first = ConfigMapObject(Metadata("tenants"), {"a.yaml": GOOD.format(name="one")})
    source.replaced([first])
    source.changed(first)
    assert [set(found.tenants) for found in taken] == [{"one"}]
    source.changed(ConfigMapObject(Metadata("tenants"), {"a.yaml": "nonsense: ["}))
    assert len(taken) == 1
    assert source.problems
    source.removed(first)
    source.changed(first)
    assert len(taken) == 2
    assert source.problems == []
