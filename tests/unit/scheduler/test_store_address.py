"""The addresses of stores: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import BadInput
from scheduler.store.address import RedisAddress, SqliteAddress, parse

HERE = (("h", 6379),)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("sqlite:/var/lib/l.db", SqliteAddress(Path("/var/lib/l.db"))),
        ("sqlite:l.db", SqliteAddress(Path("l.db"))),
        ("sqlite:///var/l.db?durable=true", SqliteAddress(Path("/var/l.db"), durable=True)),
        ("redis://h", RedisAddress(hosts=HERE)),
        ("redis://h:7000/3", RedisAddress(hosts=(("h", 7000),), db=3)),
        ("redis://[::1]:7000", RedisAddress(hosts=(("::1", 7000),))),
        ("redis://u:p%40ss@h", RedisAddress(hosts=HERE, username="u", password="p@ss")),
        ("redis://:pass@h/", RedisAddress(hosts=HERE, password="pass")),
        ("rediss://h?ca=/ca.crt&cert=/c&key=/k", RedisAddress(hosts=HERE, tls=True, ca="/ca.crt", cert="/c", key="/k")),
        ("redis://h?ledger=east&patience=2.5&timeout=1",
         RedisAddress(hosts=HERE, ledger="east", patience_s=2.5, timeout_s=1.0)),
        ("redis+sentinel://one,two:27000/main",
         RedisAddress(hosts=(("one", 26379), ("two", 27000)), service="main")),
        ("rediss+sentinel://u:p@one/main/2",
         RedisAddress(hosts=(("one", 26379),), service="main", db=2, username="u", password="p", tls=True)),
    ],
)  # fmt: skip
def test_addresses(text: str, want: SqliteAddress | RedisAddress) -> None:
    assert parse(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", "'' is no address of a store; write sqlite:/var"),
        ("postgres://h/x", "'postgres://h/x' is no address"),
        ("/var/lib/l.db", "is no address of a store"),
        ("sqlite:", "names no file"),
        ("sqlite:/var/lib/", "names no file"),
        ("sqlite:l.db?durable=yes", "write durable=true or durable=false"),
        ("sqlite:l.db?mode=ro", "option mode is not known"),
        ("redis://", "'' is no host"),
        ("redis://h:x", "a port is 'x'; write a number from 1 to 65535"),
        ("redis://h:0", "a port is '0'"),
        ("redis://h/two", "the database is 'two'"),
        ("redis://a,b", "several hosts are several sentinels; write redis+sentinel://"),
        ("redis+sentinel://a", "not told whose master"),
        ("redis://h?ca=/ca", "are for TLS; write rediss://"),
        ("redis://h?patience=soon", "write seconds"),
        ("redis://h?ledger=a}b", "write letters"),
        ("redis://h?db=1&colour=red", "option colour, db is not known; known are: ledger"),
        ("redis://h?password-file=/no/such/file", "the password file cannot be read"),
    ],
)
def test_what_is_no_address(text: str, want: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert want in str(caught.value)


def test_a_password_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    address = parse(f"redis://user@h?password-file={tmp_path / 'secret'}")
    assert isinstance(address, RedisAddress)
    assert (address.username, address.password) == ("user", "hush")
    assert str(address) == "redis://h:6379/0"
    with pytest.raises(BadInput) as caught:
        parse("redi://user:hush@h")
    assert "hush" not in str(caught.value)


@given(st.text() | st.text(alphabet="redis+sqlite:/@?&=,.[]%0").map(lambda rest: f"redis://{rest}"))
def test_any_text_is_an_address_or_bad_input(text: str) -> None:
    try:
        parse(text)
    except BadInput:
        return
