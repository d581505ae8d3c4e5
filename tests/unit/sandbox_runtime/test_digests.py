"""Digests of what is large: the same as everybody's, and nothing stays of how they were made."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

import pytest

from sandbox_runtime import digests
from sandbox_runtime.supervisor import interpreter

CONTENT = os.urandom(300_000)


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_a_file_is_digested_from_its_beginning_and_stays_open(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb+") as file:
        file.write(CONTENT)
        file.flush()
        assert digests.of_file(file.fileno()) == hashlib.sha256(CONTENT).hexdigest()
        file.write(b"more")


def dies() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def sleeps() -> str:
    time.sleep(60)
    return ""


def test_a_child_that_dies_is_told_and_collected() -> None:
    before = children()
    with pytest.raises(ChildProcessError):
        digests.apart(dies)
    assert children() == before


def test_who_is_interrupted_leaves_no_child_at_work() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = children()
    kept = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            digests.apart(sleeps)
    finally:
        signal.signal(signal.SIGALRM, kept)
    assert children() == before


def test_where_it_has_no_openssl_a_process_has_the_same_digests() -> None:
    entry = "from sandbox_runtime.supervisor import interpreter; "
    entry += "interpreter.without_unused(); import hashlib; from sandbox_runtime import digests; "
    entry += "print(hashlib.sha256(b'x').hexdigest()); print('libcrypto' in open('/proc/self/maps').read()); "
    entry += "print(digests.sha256().hexdigest())"
    reader, writer = os.pipe()
    argv = interpreter.argv(entry, [])
    pid = os.posix_spawn(
        argv[0], argv, interpreter.ENVIRONMENT, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)]
    )
    os.close(writer)
    with os.fdopen(reader) as said:
        words = said.read().split()
    assert os.waitpid(pid, 0)[1] == 0
    assert words == [hashlib.sha256(b"x").hexdigest(), "False", hashlib.sha256().hexdigest()]
