"""When each pod was bound, by a watch of the API server: one small event per pod, the same for every variant.

In place of the kubelets, which would watch too. The watch runs in a thread and loop of its own and counts frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from scheduler.kube import credentials
from scheduler.kube.connection import Connection
from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.framing import FrameSplitter
from scheduler.kube.readers import unwrapped
from scheduler.kube.wire import messages

PATH: Final = "/api/v1/pods?fieldSelector=spec.nodeName!%3D&"
METADATA: Final = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
LIST: Final = "application/vnd.kubernetes.protobuf"
_EVENT: Final = messages["Event"].FromString
_POD: Final = messages["Pod"].FromString


class Bindings:
    """Watches from when it was entered; `times` holds (wall-clock seconds, namespace/name) in order."""

    def __init__(self, kubeconfig: Path) -> None:
        self.times: list[tuple[float, str]] = []
        self._seen: set[str] = set()
        self._kubeconfig = kubeconfig
        self._begun = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Bindings:
        self._thread.start()
        self._begun.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._follow())
        with contextlib.suppress(asyncio.CancelledError, ApiUnavailable):
            self._loop.run_until_complete(self._task)

    async def _follow(self) -> None:
        found = credentials.find(self._kubeconfig, None)
        async with Connection(found, random.Random(0), size=1) as connection:  # noqa: S311 - jitter
            answer = await connection.request("GET", f"{PATH}limit=1", accept=LIST)
            version = messages["List"].FromString(unwrapped(answer.body)).metadata.version
            self._begun.set()
            while True:
                await connection.stream(
                    f"{PATH}watch=1&resourceVersion={version}&timeoutSeconds=3600", self._heard,
                    accept=f"{METADATA};stream=watch", splitter=FrameSplitter(), silence_s=3600,
                )  # fmt: skip

    def _heard(self, content: bytes) -> None:
        event = _EVENT(content)
        meta = _POD(unwrapped(event.object.raw)).metadata
        if event.type == "ADDED" and meta.uid not in self._seen:  # a watch that was cut off begins again
            self._seen.add(meta.uid)
            self.times.append((time.time(), f"{meta.namespace}/{meta.name}"))  # noqa: TID251 - the edge
