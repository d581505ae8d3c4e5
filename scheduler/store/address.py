"""Where a ledger lies, as one line of text: what `--store` takes. Pure.

    sqlite:PATH[?OPTIONS]
    redis://[USER:PASSWORD@]HOST[:PORT][/DB][?OPTIONS]                    rediss:// with TLS
    redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST…/NAME[/DB][?OPTIONS]   rediss+sentinel:// with TLS

Options of all: `patience`, the seconds that a step tries for. Of SQLite: `durable=true`, an fsync per step. Of Redis:
`ledger` (its name, where several share a server), `timeout` (seconds for one answer), `password-file`,
`sentinel-password-file`; with TLS `ca`, `cert` and `key` (files). In a login, `%` and `?` are written %25 and %3F.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

import msgspec

from scheduler.errors import BadInput, Problem

EXAMPLE: Final = (
    "write sqlite:/var/lib/bulkhead/ledger.db, redis://host:6379 or redis+sentinel://host1,host2/name"
)
REDIS_PORT, SENTINEL_PORT = 6379, 26379
_FILES: Final = ("password-file", "sentinel-password-file")
_TLS: Final = ("ca", "cert", "key")
_REDIS: Final = re.compile(
    r"(?P<tls>rediss|redis)(?P<sentinel>\+sentinel)?://(?:(?P<login>.*)@)?(?P<hosts>[^/]*)(?P<path>.*)",
    re.DOTALL,
)


class SqliteAddress(msgspec.Struct, frozen=True):
    """A file."""

    path: Path
    durable: bool = False
    patience_s: float = 10.0

    def __str__(self) -> str:
        """As it may be written in a log."""
        return f"sqlite:{self.path}"


class RedisAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A server, or the sentinels that know which one it is; `service` is its name with them, "" without."""

    hosts: tuple[tuple[str, int], ...]
    service: str = ""
    db: int = 0
    username: str = ""
    password: str = ""
    sentinel_password: str = ""
    ledger: str = "default"
    patience_s: float = 10.0
    timeout_s: float = 5.0
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""

    def __str__(self) -> str:
        """As it may be written in a log: without the password."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        scheme = ("rediss" if self.tls else "redis") + ("+sentinel" if self.service else "")
        return f"{scheme}://{hosts}" + (f"/{self.service}" if self.service else "") + f"/{self.db}"


Address = SqliteAddress | RedisAddress


def parse(text: str) -> Address:
    """The address that `text` names. The files of passwords are read.

    Raises:
        BadInput: it names none; the message holds no password.
    """
    place, _, query = text.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if place.startswith("sqlite:"):
        return _sqlite(place.removeprefix("sqlite:"), options)
    match = _REDIS.fullmatch(place)
    if match is None:
        raise _bad(f"{_redacted(text)!r} is no address of a store", EXAMPLE)
    return _redis(match, options)


def _sqlite(path: str, options: dict[str, str]) -> SqliteAddress:
    if path.startswith("//"):
        path = path.removeprefix("//")
    durable = options.pop("durable", "false")
    patience_s = _seconds("patience", options.pop("patience", "10"))
    _none_left(options, "durable, patience")
    if not path or path.endswith("/"):
        raise _bad("sqlite: names no file", EXAMPLE)
    if durable not in ("true", "false"):
        raise _bad(f"durable={durable}", "write durable=true or durable=false")
    return SqliteAddress(Path(path), durable == "true", patience_s)


def _redis(match: re.Match[str], options: dict[str, str]) -> RedisAddress:
    tls, sentinel = match["tls"] == "rediss", match["sentinel"] is not None
    username, _, password = (match["login"] or "").partition(":")
    path = [unquote(part) for part in match["path"].split("/")[1:]]
    service = path.pop(0) if sentinel and path else ""
    if sentinel and not service:
        raise _bad("the sentinels are not told whose master", "write redis+sentinel://host1,host2/name")
    secrets = {name: _secret(options.pop(name, "")) for name in _FILES}
    files = {name: options.pop(name, "") for name in _TLS}
    if any(files.values()) and not tls:
        raise _bad("ca, cert and key are for TLS", "write rediss:// or rediss+sentinel://")
    found = RedisAddress(
        hosts=_hosts(match["hosts"], SENTINEL_PORT if sentinel else REDIS_PORT, several=sentinel),
        service=service,
        db=_number("the database", "".join(path) or "0", 0, 1_000_000),
        username=unquote(username),
        password=secrets["password-file"] or unquote(password),
        sentinel_password=secrets["sentinel-password-file"],
        ledger=_ledger(options.pop("ledger", "default")),
        patience_s=_seconds("patience", options.pop("patience", "10")),
        timeout_s=_seconds("timeout", options.pop("timeout", "5")),
        tls=tls,
        ca=files["ca"],
        cert=files["cert"],
        key=files["key"],
    )
    _none_left(options, "ledger, patience, timeout, password-file, sentinel-password-file, ca, cert, key")
    return found


def _hosts(text: str, port: int, *, several: bool) -> tuple[tuple[str, int], ...]:
    found = []
    for one in text.split(","):
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@\s]+)(?::([^:]*))?", one)
        if match is None:
            raise _bad(f"{one!r} is no host", "write host, host:port or [IPv6]:port")
        found.append((match[1].strip("[]"), _number("a port", match[2] or str(port), 1, 65_535)))
    if len(found) > 1 and not several:
        raise _bad("several hosts are several sentinels", "write redis+sentinel://host1,host2/name")
    return tuple(found)


def _number(what: str, text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or not least <= int(text) <= most:
        raise _bad(f"{what} is {text!r}", f"write a number from {least} to {most}")
    return int(text)


def _seconds(what: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", text) or float(text) <= 0:
        raise _bad(f"{what}={text}", "write seconds, such as 2.5")
    return float(text)


def _ledger(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name):
        raise _bad(f"ledger={name!r}", "write letters, digits, dots, dashes and underscores")
    return name


def _secret(path: str) -> str:
    try:
        return Path(path).read_text().strip() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(
            f"the password file cannot be read: {error}", "name a file with the password alone"
        ) from error


def _none_left(options: dict[str, str], known: str) -> None:
    if options:
        raise _bad(f"option {', '.join(sorted(options))} is not known", f"known are: {known}")


def _redacted(text: str) -> str:
    return re.sub(r"//.*@", "//…@", text, flags=re.DOTALL)


def _bad(why: str, hint: str) -> BadInput:
    return BadInput([Problem("--store", 1, why, hint)])
