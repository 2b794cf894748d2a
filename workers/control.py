"""
A worker's remote control: commands from its list in Redis, each obeyed once, in order.

A command is read, obeyed, and only then taken from the list, so that none is lost; its id is remembered, so that one
which is met again is not obeyed again. A worker that starts anew has another id and another list. Looks when the
worker's marker is raised, and with every heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import orjson

from service.errors import TaskpostError
from service.settings import Settings
from service.store import Store
from workers.crew import Crew

log = logging.getLogger("taskpost.worker")

MOST_REMEMBERED = 1000
LANE_OF_SIZE = {"url_concurrency": "url", "concurrency": "async", "threads": "thread", "children": "process"}


class Control:
    """Obeys for one worker. *stopping* is set by `stop`; *news* whenever something was obeyed."""

    def __init__(
        self, store: Store, settings: Settings, worker: str, crew: Crew, stopping: asyncio.Event, news: asyncio.Event
    ) -> None:
        self.store, self.worker, self.crew, self.stopping, self.news = store, worker, crew, stopping, news
        self.heartbeat_seconds = settings.heartbeat_ms / 1000
        self.wanted = asyncio.Event()
        self.obeyed: deque[str] = deque(maxlen=MOST_REMEMBERED)
        self.last: dict[str, Any] | None = None  # the command that was obeyed last

    def now(self) -> None:
        """Look at once: the marker was raised."""
        self.wanted.set()

    async def run(self) -> None:
        """Look, again and again."""
        while True:
            try:
                async with asyncio.timeout(self.heartbeat_seconds):
                    await self.wanted.wait()
            except TimeoutError:
                pass
            self.wanted.clear()
            try:
                await self.look()
            except TaskpostError as exc:
                log.warning("commands to this worker cannot be read: %s", exc)

    async def look(self) -> None:
        """
        Obey what is in the list.

        Raises:
            TaskpostError: Redis did not answer; what was obeyed is not obeyed again.
        """
        texts = await self.store.workers.commands(self.worker)
        for text in texts:
            command = orjson.loads(text)
            if command["id"] not in self.obeyed:
                self.obeyed.append(command["id"])
                self.obey(command)
        if texts:
            await self.store.workers.heeded(self.worker, texts)

    def obey(self, command: dict[str, Any]) -> None:
        """Do what *command* says. A worker that is stopping does nothing else any more."""
        if self.stopping.is_set():
            return
        kind, wanted = command["kind"], self.crew.wanted
        given = ", ".join(f"{name} {value}" for name, value in command.items() if name not in ("id", "kind", "sent_ms"))
        log.info("worker %s is told: %s%s", self.worker, kind, f": {given}" if given else "")
        if kind in ("quiet", "resume"):
            wanted.is_quiet = kind == "quiet"
        elif kind == "resize":
            for name, lane in LANE_OF_SIZE.items():
                wanted.sizes[lane] = command.get(name, wanted.sizes[lane])
            self.crew.resize(command.get("processes", self.crew.many))
        elif kind == "stop":
            wanted.drain_seconds = command.get("drain_seconds", wanted.drain_seconds)
            self.stopping.set()
        self.crew.apply()
        self.last = command
        self.news.set()
