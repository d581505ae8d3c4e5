"""schemathesis against the real server: requests drawn from the published schema, and ones that break it.

Few per operation by default; BULKHEAD_EXTENDER_EXAMPLES asks for more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import CHECKS

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from tests.support.extender import NAMES, in_thread

DOCUMENT = Path(__file__).parents[3] / "docs" / "extender.openapi.yaml"
EXAMPLES = int(os.environ.get("BULKHEAD_EXTENDER_EXAMPLES", "25"))
NOT_HELD = (
    "negative_data_rejection",  # Kubernetes adds fields: what the schema does not name is ignored, not refused
    "positive_data_acceptance",  # to JSON Schema 7.0 is an integer; to Go, which writes these bodies, it is not
)
schema = schemathesis.openapi.from_path(DOCUMENT)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The real server in a thread of its own."""
    with in_thread(EmbeddedCluster(plain_nodes(NAMES))) as port:
        yield f"http://127.0.0.1:{port}"


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_documented(case: Case[Any], address: str) -> None:
    not_held: list[Any] = [CHECKS.get_one(name) for name in NOT_HELD]
    response = case.call(base_url=address, timeout=20)
    assert response.status_code < 500
    case.validate_response(response, excluded_checks=not_held)
