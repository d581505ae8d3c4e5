"""The parts of one serving process and what joins them; `command` starts it, `run` is its life."""

from __future__ import annotations

import argparse
import asyncio
import os
import random as randoms
import secrets
import socket
import time
from pathlib import Path

import structlog

from scheduler.extender.errors import UnusableTls
from scheduler.extender.http import Routes
from scheduler.extender.server import Server, TlsFiles
from scheduler.extender.verbs import Verbs
from scheduler.kube import credentials
from scheduler.kube.connection import Connection
from scheduler.kube.events import Events
from scheduler.kube.leadership import Leadership
from scheduler.kube.writes import Writes
from scheduler.mirror.mirror import Mirror
from scheduler.placement.score.registry import make_policy
from scheduler.queueing.queue import Queue
from scheduler.serve.answers import Answers
from scheduler.serve.binder import Binder
from scheduler.serve.carrier import Carrier
from scheduler.serve.fence import Fence
from scheduler.serve.gates import ApiGates
from scheduler.serve.guide import Guide
from scheduler.serve.metrics import Metrics, Standing
from scheduler.serve.pages import Pages
from scheduler.serve.reclaimer import Reclaimer
from scheduler.serve.rescuer import Rescuer
from scheduler.serve.story import Stories
from scheduler.serve.teller import Teller
from scheduler.serve.tenants_source import CONFIG_MAP, TenantFiles, TenantMap
from scheduler.serve.watches import BudgetSink, Watches
from scheduler.serve.witness import Witness
from scheduler.serve.worker import StoreThread
from scheduler.store.opening import open_store
from tenants.model import TenantSet

TENANTS_EVERY_S, CERTIFICATES_EVERY_S = 3.0, 300.0
DRAIN_S = 10.0
WRITERS, BINDERS = 8, 32
"""Connections to the API server for gates and stories, and for bindings, which nothing may hold up."""

logger = structlog.get_logger("serve")


class App:
    """Everything of one replica.

    Raises:
        BadInput: the tenant files or an option cannot be used.
        SchedulerError: the store or the credentials cannot be used.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.identity = f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"
        wall, clock = wall_clock, steady_clock
        random = randoms.Random()  # noqa: S311 - jitter
        self.files = None if options.tenants.startswith(CONFIG_MAP) else TenantFiles(Path(options.tenants))
        self.store = StoreThread(
            open_store(options.store), wall, lambda: self.mirror.guard, options.reservation_seconds
        )
        self.reads = Connection(credentials.find(options.kubeconfig, options.context), random, size=8)
        self.writes = Connection(credentials.find(options.kubeconfig, options.context), random, size=WRITERS)
        self.binds = Connection(credentials.find(options.kubeconfig, options.context), random, size=BINDERS)
        api = Writes(self.writes)
        tenants = self.files.tenants if self.files else TenantSet()
        self.mirror = Mirror(tenants, lambda: make_policy(options.policy, 0, None))
        self.queue, self.stories, self.budgets = Queue(), Stories(secrets.token_hex(4)), BudgetSink()
        self.leadership = Leadership(
            self.writes,
            self.identity,
            clock,
            wall,
            random,
            namespace=options.lease_namespace,
            lease_s=options.lease_seconds,
            retry_s=min(2.0, options.lease_seconds / 4),
        )
        events = Events(self.writes, wall, self.identity)
        gates = ApiGates(api, options.guide_by, tracked=options.keep_managed_fields)
        self.guide = Guide(
            self.mirror,
            self.queue,
            self.store,
            gates,
            self.stories,
            leads=self.guides,
            clock=clock,
            wall=wall,
        )
        self.carrier = Carrier(
            self.mirror, self.guide, self.store,
            witness=Witness(self.mirror, self.guide, api),
            fence=Fence(self._present, lambda: self.watches.pods.reached, clock),
            listed=lambda: not self.watches.unready(), clock=clock, wall=wall,
        )  # fmt: skip
        self.watches = Watches(self.reads, self.mirror, self.guide, self.budgets, clock)
        self.map = TenantMap(self.take)
        if self.files is None:
            self.watches.watch_tenants(self.reads, options.tenants.removeprefix(CONFIG_MAP), self.map)
        self.binder = Binder(
            self.mirror, self.guide, self.store, Writes(self.binds), self.stories, clock=clock, wall=wall
        )
        self.teller = Teller(
            self.mirror,
            self.stories,
            api,
            events,
            leads=self.leads,
            wall=wall,
        )
        self.metrics = Metrics()
        self.metrics.registry.register(
            Standing(
                self.mirror, self.queue, self.guide, self.carrier,
                leads=self.leads, problems=lambda: len((self.files or self.map).problems),
                unreadable=lambda: self.watches.unreadable,
            )
        )  # fmt: skip
        self.guide.on_round = self.metrics.rounds.observe
        self.reclaimer = Reclaimer(
            self.mirror, self.queue, self.guide, self.store, self.budgets, api, events, self.stories,
            leads=self.reclaims, clock=clock, wall=wall, evicted=self.metrics.evicted,
        )  # fmt: skip
        self.rescuer = Rescuer(self.mirror, api, events, leads=self.guides, clock=clock)
        self.answers = Answers(
            self.mirror, self.binder, self.stories, self.reclaimer.preempt, unready=self.unready, wall=wall
        )

    async def _present(self) -> int:
        return await self.watches.pods.present()

    def leads(self) -> bool:
        """Whether this replica acts for all."""
        return self._options.no_leader_election or self.leadership.leads

    def guides(self) -> bool:
        """Whether it opens gates now."""
        return not self._options.no_guide and not self.unready() and self.leads()

    def reclaims(self) -> bool:
        """Whether it evicts now."""
        return not self._options.no_reclaim and self.guides()

    def unready(self) -> str:
        """Empty, or why no decision may be asked of this replica."""
        return self.watches.unready() or self.carrier.unready()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then drain: nobody is let in, what is under way is answered, the lease is given up."""
        for caution in self.store.cautions:
            logger.warning("store", caution=caution)
        verbs = Verbs(self.answers)
        pages = Pages(self.mirror, self.queue, self.stories, self.metrics, unready=self.unready)
        servers = [await self._listen({**verbs.routes(), **pages.routes()})]
        if self._options.health_listen:
            health = Server({**verbs.health(), **pages.metrics_route()})
            await health.start(*self._options.health_listen)
            servers.append(health)
        loops = [
            self.watches.run(),
            self.carrier.run(),
            self.guide.run(),
            self.teller.run(),
            self.reclaimer.run(),
            self.rescuer.run(),
            self._reload(),
        ]
        if not self._options.no_leader_election:
            loops.append(self.leadership.run())
        loops.append(self._certificates(servers[0]))
        tasks = [asyncio.create_task(one) for one in loops]
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        verbs.leave("draining")
        for server in servers:
            await server.drain(DRAIN_S)
        for task in (*tasks, stopped):
            task.cancel()
        await self.leadership.release()
        await asyncio.gather(*tasks, stopped, return_exceptions=True)
        self.reads.close()
        self.writes.close()
        self.binds.close()
        await self.store.close()
        for task in done - {stopped}:
            task.result()

    async def _listen(self, routes: Routes) -> Server:
        options = self._options
        tls = (
            None if options.insecure_http else TlsFiles(options.tls_cert, options.tls_key, options.client_ca)
        )
        server = Server(routes, tls, observer=self.metrics.observe)
        host, port = await server.start(*options.listen)
        logger.info("listening", host=host, port=port, tls=tls is not None, identity=self.identity)
        return server

    async def _certificates(self, server: Server) -> None:
        """Take renewed TLS files; while new ones cannot be used, the ones in use stay."""
        while True:
            await asyncio.sleep(CERTIFICATES_EVERY_S)
            try:
                server.renew_certificates()
            except UnusableTls as error:
                logger.warning("certificates not renewed", why=str(error))

    async def _reload(self) -> None:
        """Take tenant files that have changed and are good."""
        while True:
            await asyncio.sleep(TENANTS_EVERY_S)
            tenants = await asyncio.to_thread(self.files.changed) if self.files else None
            if tenants is not None:
                self.take(tenants)

    def take(self, tenants: TenantSet) -> None:
        """Judge everything by these tenants from now on."""
        self.mirror.retenant(tenants)
        for record in self.mirror.pods.values():
            self.guide.seen(record)
        self.carrier.compare_soon()
        logger.info("tenant files taken", tenants=len(tenants.tenants))


def wall_clock() -> float:
    """Seconds since 1970."""
    return time.time()  # noqa: TID251 - the edge


def steady_clock() -> float:
    """Seconds that only go forward, a suspended machine's too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
