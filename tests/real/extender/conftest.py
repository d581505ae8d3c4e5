"""A server that speaks TLS to those that its authority knows, and a caller that chose HTTP/2 there."""

from __future__ import annotations

import pytest

from scheduler.extender.server import TlsFiles
from tests.support.certificates import Authority, server_files
from tests.support.http2 import Secured


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, TlsFiles]:
    return server_files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secured(made: tuple[Authority, TlsFiles]) -> Secured:
    return Secured(*made)
