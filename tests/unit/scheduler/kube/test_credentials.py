"""Kubeconfigs as people have them: tokens, plugins, certificates, and what must never be said of them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from scheduler.kube.credentials import Credentials, find
from scheduler.kube.errors import CredentialsUnusable

PLUGIN = """#!/bin/sh
n=$(cat {count} 2>/dev/null || echo 0); n=$((n + 1)); echo $n > {count}
echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
"status":{{"token":"secret-'$n'","expirationTimestamp":"2020-01-01T00:00:00Z"}}}}'
"""


def kubeconfig(directory: Path, user: dict[str, Any], **cluster: Any) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443/base", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = directory / "config"
    path.write_text(json.dumps(config))
    return path


def test_a_token_becomes_a_header_and_is_never_shown(tmp_path: Path) -> None:
    found = find(kubeconfig(tmp_path, {"token": "secret"}))
    assert (found.host, found.port, found.server_name) == ("10.0.0.1", 6443, "10.0.0.1")
    assert found.authorization == "Bearer secret"
    assert found.context is not None
    assert found.context.check_hostname
    assert "secret" not in repr(found)


def test_a_plugin_is_run_again_when_its_token_has_expired(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(PLUGIN.format(count=tmp_path / "count"))
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    found = find(kubeconfig(tmp_path, {"exec": command}))
    first = found.authorization
    found.refresh()
    assert first.startswith("Bearer secret-")
    assert found.authorization.startswith("Bearer secret-")
    assert found.authorization != first


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "ü", "a\x00b"])
def test_a_token_can_smuggle_no_header(tmp_path: Path, token: str) -> None:
    with pytest.raises(CredentialsUnusable) as refused:
        find(kubeconfig(tmp_path, {"token": token}))
    assert token not in str(refused.value)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(CredentialsUnusable, match="no way to an API server"):
        find(tmp_path / "none")
    broken = tmp_path / "broken"
    broken.write_text("clusters: [")
    with pytest.raises(CredentialsUnusable):
        find(broken)


def test_what_was_good_is_kept_when_reading_it_again_fails(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, {"token": "secret"})
    found: Credentials = find(path)
    path.unlink()
    with pytest.raises(CredentialsUnusable):
        found.reload()
    assert found.authorization == "Bearer secret"
    found.refresh()


def test_a_cluster_that_is_not_to_be_verified_is_not(tmp_path: Path) -> None:
    context = find(kubeconfig(tmp_path, {"token": "t"}, **{"insecure-skip-tls-verify": True})).context
    assert context is not None
    assert not context.check_hostname
