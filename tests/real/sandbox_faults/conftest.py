"""One stand for a module: the template is made once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.stands import Stand, stand, unfit

WANTED = os.environ.get("BULKHEAD_SANDBOX_FAULTS", "") or os.environ.get("BULKHEAD_FAULT_CELLS", "")


@pytest.fixture(scope="package", autouse=True)
def wanted() -> None:
    """Emulated, each of these modules takes minutes: `make faults` runs them."""
    if not WANTED:
        pytest.skip("minutes of emulation each: run `make faults`")


@pytest.fixture(scope="module")
def house(wanted: None) -> Iterator[Stand]:
    if why := unfit():
        pytest.skip(why)
    with stand() as found:
        first = found.run("true")
        assert first.returncode == 0, first.stderr
        yield found
