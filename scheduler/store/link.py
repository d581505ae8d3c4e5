"""The way to a Redis server: one connection, found anew when it breaks, for as long as patience lasts.

A request whose answer was lost is sent again; the scripts of the store are made so that this is safe. Every wait has
an end: to connect, for an answer (`timeout`), and for everything together (`patience`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel

from scheduler.store.address import RedisAddress
from scheduler.store.protocol import StoreUnavailable

Reply = TypeVar("Reply")

OLDEST: Final = (6, 2)  # exclusive ranges of streams
PASSING: Final = (  # what a server says of itself that another moment, or another server, may not say
    redis.ConnectionError,
    redis.TimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    ClusterDownError,
    TryAgainError,
)
FINAL: Final = (AuthenticationError, AuthorizationError)
LONGEST_PAUSE_S: Final = 0.5


class Link:
    """Runs scripts on the server of an address.

    Attributes:
        cautions: what of the server's configuration may lose what was answered, for a log; as of the last connection.

    Raises:
        StoreUnavailable: no server within the patience, or one that is too old, no master, or wants other credentials.
    """

    def __init__(self, address: RedisAddress, random: Random) -> None:
        self.address = address
        self.cautions: tuple[str, ...] = ()
        self._random = random
        self._checked = False
        self._client = _client(address)
        self._persist(lambda: None)

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes]) -> list[Any]:
        """The answer of a script; sent again as often as it takes."""

        def send() -> list[Any]:
            try:
                return list(self._client.evalsha(script.sha, len(keys), *keys, *arguments))
            except NoScriptError:
                return list(self._client.eval(script.text, len(keys), *keys, *arguments))

        return self._persist(send)

    def together(self, *commands: Sequence[str]) -> list[Any]:
        """The answers of commands that nobody comes between."""

        def send() -> list[Any]:
            with self._client.pipeline(transaction=True) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
                return list(pipeline.execute())

        return self._persist(send)

    def pauses(self, longest_s: float = LONGEST_PAUSE_S) -> Iterator[float]:
        """Seconds to wait before each further try: none at first, then growing, jittered, until patience is over."""
        end, pause = time.monotonic() + self.address.patience_s, 0.001
        yield 0.0
        while (left := end - time.monotonic()) > 0:
            yield min(left, pause * self._random.uniform(0.5, 1.5))
            pause = min(2 * pause, longest_s)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _persist(self, send: Callable[[], Reply]) -> Reply:
        pauses = self.pauses()
        while True:
            try:
                self._check()
                return send()
            except FINAL as error:
                raise self._unavailable(error) from error
            except PASSING as error:
                self._let_go()
                pause = next(pauses, None)
                if pause is None:
                    raise self._unavailable(error) from error
                time.sleep(pause)
            except redis.RedisError as error:
                self._let_go()
                raise self._unavailable(error) from error

    def _let_go(self) -> None:
        self._checked = False
        with suppress(redis.RedisError, OSError):
            self._client.connection_pool.disconnect()

    def _check(self) -> None:
        """Once for each connection."""
        if self._checked:
            return
        facts: dict[str, Any] = self._client.info()
        version = str(facts.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise StoreUnavailable(str(self.address), f"is Redis {version}; 6.2 is the oldest that will do")
        if facts.get("role") != "master":
            raise ReadOnlyError(f"is a {facts.get('role')} and no master")
        self.cautions = tuple(_cautions(facts, self._setting("appendfsync")))
        self._checked = True

    def _setting(self, name: str) -> str:
        """ "" where the server does not let us ask."""
        try:
            found: dict[str, str] = self._client.config_get(name)  # type: ignore[assignment]
        except redis.ResponseError:
            return ""
        return str(found.get(name, ""))

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(str(self.address), str(error) or type(error).__name__)


class Script:
    """A script and the name by which a server remembers it."""

    def __init__(self, text: str, sha: str) -> None:
        self.text, self.sha = text, sha


def _client(address: RedisAddress) -> redis.Redis:
    common: dict[str, Any] = {
        "socket_timeout": address.timeout_s,
        "socket_connect_timeout": min(address.timeout_s, 2.0),
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if address.tls:
        common |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
        files = {"ssl_ca_certs": address.ca, "ssl_certfile": address.cert, "ssl_keyfile": address.key}
        common |= {name: path for name, path in files.items() if path}
    login: dict[str, Any] = {
        "username": address.username or None,
        "password": address.password or None,
        "db": address.db,
    }
    if not address.service:
        host, port = address.hosts[0]
        return redis.Redis(host=host, port=port, **login, **common)
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        list(address.hosts), sentinel_kwargs={**common, "password": address.sentinel_password or None}
    )
    client: redis.Redis = sentinels.master_for(address.service, **login, **common)  # type: ignore[no-untyped-call]
    return client


def _cautions(facts: dict[str, Any], fsync: str) -> Iterator[str]:
    if not facts.get("aof_enabled"):
        yield "appendonly is off: when Redis restarts, quota that was answered is forgotten; set `appendonly yes`"
    elif fsync == "no":
        yield "appendfsync is no: a power cut takes what the kernel had not written; set `appendfsync always`"
    elif fsync == "everysec":
        yield "appendfsync is everysec: a crash may take about the last second; `appendfsync always` does not"
    if facts.get("maxmemory") and facts.get("maxmemory_policy") != "noeviction":
        yield f"maxmemory-policy is {facts.get('maxmemory_policy')}: Redis may throw the ledger away; set `noeviction`"
