"""Quantities: exact, rounded up, saturating, and clear about what is wrong."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.errors import QuantityError
from tenants.quantity import CEILING, amount, bytes_, cpu_milli, mebibytes, plus, render


@pytest.mark.parametrize(
    ("text", "want_milli"),
    [("500m", 500), ("2", 2000), (2, 2000), ("0.1", 100), (".5", 500), ("2.", 2000), ("1e3", 1_000_000),
     ("100u", 1), ("1n", 1), ("0", 0), ("1k", 1_000_000), ("+3", 3000), ("1500000u", 1500)],
)  # fmt: skip
def test_cpu_is_exact_and_rounds_up(text: str | int, want_milli: int) -> None:
    assert cpu_milli(text) == want_milli


@pytest.mark.parametrize(
    ("text", "want_mib"),
    [
        ("2Gi", 2048),
        ("1G", 954),
        ("1", 1),
        ("1Ki", 1),
        ("1.5Gi", 1536),
        ("1Ti", 1048576),
        ("1048577", 2),
        ("1e9", 954),
    ],
)
def test_memory_rounds_up_to_whole_mib(text: str, want_mib: int) -> None:
    assert mebibytes(text) == want_mib


def test_bytes_agree_with_the_api_server() -> None:
    assert [bytes_(text) for text in ("128974848", "129M", "123Mi", "129e6")] == [
        128974848, 129000000, 128974848, 129000000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "want_suggestion"),
    [
        ("4 Gb", "4Gi"),
        ("4GB", "4Gi"),
        ("500MB", "500Mi"),
        ("0,5", "0.5"),
        ("2 Gi", "2Gi"),
        ("4 cores", "4"),
        ("4gi", "4Gi"),
    ],
)
def test_a_wrong_unit_names_the_right_one(text: str, want_suggestion: str) -> None:
    with pytest.raises(QuantityError) as caught:
        mebibytes(text)
    assert caught.value.suggestion == want_suggestion


@pytest.mark.parametrize(
    "text", ["", " ", "m", "1.2.3", "--1", "1e", "1e9999", "0x10", "١", "1_000", "NaN", "inf", "\n1"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(QuantityError, match=r"not a Kubernetes quantity|negative"):
        cpu_milli(text)


def test_a_negative_amount_says_so() -> None:
    with pytest.raises(QuantityError, match="negative"):
        amount("cpu", -1)


@pytest.mark.parametrize("text", ["10E", "9223372036854775808", "1e30", "99999999999999999999Ei", "1e999"])
def test_huge_amounts_saturate(text: str) -> None:
    assert bytes_(text) == CEILING


def test_a_sum_stops_at_the_ceiling() -> None:
    assert plus(CEILING, CEILING) == CEILING
    assert plus(-CEILING, -1) == -CEILING


@given(st.integers(0, 10**7), st.sampled_from(["m", "", "k", "Ki", "Mi", "u"]))
def test_any_quantity_equals_its_fraction_rounded_up(number: int, suffix: str) -> None:
    scale = {"m": "1/1000", "": "1", "k": "1000", "Ki": "1024", "Mi": "1048576", "u": "1/1000000"}[suffix]
    exact = number * Fraction(scale) * 1000
    assert cpu_milli(f"{number}{suffix}") == -(-exact.numerator // exact.denominator)


@given(st.sampled_from(["cpu", "memory", "pods", "nvidia.com/gpu", "disk-bandwidth", "network-bandwidth"]),
       st.integers(0, 10**9))  # fmt: skip
def test_what_is_rendered_reads_back(resource: str, value: int) -> None:
    assert amount(resource, render(resource, value)) == value
