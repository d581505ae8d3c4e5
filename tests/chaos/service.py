"""Stands for a Kubernetes Service: one address, connections go to ready replicas in turn."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence

from tests.chaos.replica import Replica

PROBE_S = 0.5


class Service:
    """Forwards TCP in a thread of its own; TLS is between the caller and the replica."""

    def __init__(self, replicas: Callable[[], Sequence[Replica]]) -> None:
        self._replicas = replicas
        self._ready: list[Replica] = []
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)
        self._thread.start()
        assert self._up.wait(20)

    def close(self) -> None:
        """Ends every connection and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        probing = self._loop.create_task(self._probe())
        self._up.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        probing.cancel()
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _probe(self) -> None:
        while True:
            replicas = list(self._replicas())
            found = await asyncio.gather(*(asyncio.to_thread(one.ready) for one in replicas))
            self._ready = [one for one, ready in zip(replicas, found, strict=True) if ready]
            await asyncio.sleep(PROBE_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            ready = self._ready
            if ready:
                self._turn += 1
                port = ready[self._turn % len(ready)].port
                there, back = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
