"""`bulkhead serve`: the live scheduler beside kube-scheduler, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable

import msgspec
import structlog
import uvloop

from scheduler.errors import BadInput, SchedulerError
from scheduler.replay.warm_up import warm_up
from scheduler.serve import options
from scheduler.serve.app import App

FAILED = 1


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "serve",
        help="run beside kube-scheduler: queue, guide, guard and bind tenants' pods",
        description="Extender and guided placement for a live cluster. docs/serve.md has the set-up. Exit status: "
        "0 stopped, 1 failed, 2 bad input.",
    )
    options.declare(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    options.check(arguments)
    log_as_json(arguments.log_level)
    try:
        uvloop.run(_serve(arguments))
    except BadInput:
        raise
    except SchedulerError as error:
        print(f"bulkhead serve: {error}", file=sys.stderr)  # noqa: T201 - the last word of a command
        return FAILED
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    warm_up()
    app = App(arguments)
    freezing = asyncio.create_task(freeze_when(lambda: not app.unready()))
    await app.run(stop)
    freezing.cancel()


async def freeze_when(ready: Callable[[], bool]) -> None:
    """No collection while the first list comes in, and none of what it left: most of that lives for ever."""
    gc.disable()
    while not ready():  # noqa: ASYNC110 - readiness has several parts and no event
        await asyncio.sleep(0.1)
    gc.collect()
    gc.freeze()
    gc.enable()


def log_as_json(level: str) -> None:
    """One JSON object a line on standard error; no bodies, no credentials."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def as_json(event: object, **_: object) -> bytes:
    """One line; what JSON does not know is written as Python shows it."""
    return msgspec.json.encode(event, enc_hook=repr)
