"""Options of `bulkhead serve`: what is unsafe or contradictory is refused before anything is opened."""

from __future__ import annotations

import argparse

import pytest

from scheduler.errors import BadInput
from scheduler.serve import options

TLS = ["--tls-cert=c", "--tls-key=k", "--client-ca=a"]


def parsed(*written: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.declare(parser)
    return parser.parse_args(["--tenants=t", *written])


def test_tls_is_the_default_and_all_of_it_is_needed() -> None:
    options.check(parsed(*TLS))
    for missing in range(3):
        with pytest.raises(BadInput, match="are needed"):
            options.check(parsed(*TLS[:missing], *TLS[missing + 1 :]))


def test_plain_http_stays_on_this_machine() -> None:
    options.check(parsed("--insecure-http"))
    options.check(parsed("--insecure-http", "--listen=[::1]:80"))
    with pytest.raises(BadInput, match="anybody could bind pods"):
        options.check(parsed("--insecure-http", "--listen=0.0.0.0:80"))
    with pytest.raises(BadInput, match="TLS files"):
        options.check(parsed("--insecure-http", *TLS))


@pytest.mark.parametrize(
    "written", ["localhost:1", "1.2.3.4", "1.2.3.4:x", ":80", "1.2.3.4:99999", "::1:80:x"]
)
def test_an_address_is_a_number(written: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no IP:PORT"):
        options.address(written)
