"""schemathesis against the real server: requests drawn from the published schema, and ones that break it.

Few per operation by default; BULKHEAD_EXTENDER_EXAMPLES asks for more.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvloop
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import CHECKS

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from scheduler.extender.server import Server
from scheduler.extender.verbs import Verbs
from tests.support.extender import NAMES

DOCUMENT = Path(__file__).parents[2] / "docs" / "extender.openapi.yaml"
EXAMPLES = int(os.environ.get("BULKHEAD_EXTENDER_EXAMPLES", "25"))
NOT_HELD = (
    "negative_data_rejection",  # Kubernetes adds fields: what the schema does not name is ignored, not refused
    "positive_data_acceptance",  # to JSON Schema 7.0 is an integer; to Go, which writes these bodies, it is not
)
schema = schemathesis.openapi.from_path(DOCUMENT)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The real server in a thread of its own."""
    started: list[int] = []
    ready, stopping = threading.Event(), threading.Event()

    async def serve() -> None:
        server = Server(Verbs(EmbeddedCluster(plain_nodes(NAMES))).routes())
        started.append((await server.start("127.0.0.1", 0))[1])
        ready.set()
        await asyncio.to_thread(stopping.wait)
        await server.drain(2)

    thread = threading.Thread(target=lambda: uvloop.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield f"http://127.0.0.1:{started[0]}"
    stopping.set()
    thread.join(20)


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_documented(case: Case[Any], address: str) -> None:
    not_held: list[Any] = [CHECKS.get_one(name) for name in NOT_HELD]
    response = case.call(base_url=address, timeout=20)
    assert response.status_code < 500
    case.validate_response(response, excluded_checks=not_held)
