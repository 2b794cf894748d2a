"""
What every process counted of itself, in one place: each tells it all few seconds, and whoever is asked tells of all.

So one address is asked for the metrics of a deployment, be it that of a load balancer, and workers need no port. The
fact to know: a process that was silent for `SILENT_MS` is told of no more, and its counters end rather than go back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from service import __version__
from service.errors import TaskpostError
from service.meter import Meter
from service.store import keys
from service.store.replies import pairs_of
from service.store.tasks import Tasks

log = logging.getLogger("taskpost.store")

EVERY_SECONDS = 5.0
SILENT_MS = 30_000
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Meters:
    """Tells what this process counted, and reads what all did. One for each `Store`."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.process = ""
        self.started = time.time()
        self.telling: asyncio.Task[None] | None = None

    @property
    def meter(self) -> Meter:
        return self.tasks.scripts.meter

    def begin(self, part: str) -> None:
        """Tell from now on, as *part* of this machine: `web`, `worker`, `scheduler`."""
        self.process = f"{part}:{socket.gethostname()[:40]}:{os.getpid()}"
        if self.telling is None:
            self.telling = asyncio.create_task(self.tell_again_and_again())

    async def tell_again_and_again(self) -> None:
        while True:
            try:
                await self.tell()
            except TaskpostError as exc:
                log.debug("metrics were not told: %s", exc)
            except Exception:
                log.exception("a fault of ours: metrics were not told")
            await asyncio.sleep(EVERY_SECONDS)

    async def tell(self) -> None:
        """Put what this process counted where all can read it. Raises StoreUnavailable or StoreFull."""
        text = orjson.dumps({"told_ms": self.tasks.clock.now_ms(), "version": __version__, **self.own()})
        await self.tasks.scripts.command("HSET", keys.METERS, self.process, text)

    def own(self) -> dict[str, Any]:
        """What this process counted so far, as it is told."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "started": self.started,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "resident_bytes": resident_bytes(),
            "counted": self.meter.told(),
        }

    async def all(self) -> dict[str, dict[str, Any]]:
        """
        What each process told last; this one, as it is now. Those that fell silent are forgotten.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        found = {
            name.decode(errors="replace"): orjson.loads(text)
            for name, text in pairs_of(await self.tasks.scripts.command("HGETALL", keys.METERS))
        }
        now_ms = self.tasks.clock.now_ms()
        silent = [name for name, told in found.items() if now_ms - told["told_ms"] > SILENT_MS]
        if silent:
            await self.tasks.scripts.command("HDEL", keys.METERS, *silent)
        living = {name: told for name, told in found.items() if name not in silent}
        return living | self.mine()

    async def living(self, part: str, now_ms: float) -> int:
        """How many processes of *part* told something lately. Raises StoreUnavailable."""
        found = pairs_of(await self.tasks.scripts.command("HGETALL", keys.METERS))
        return sum(
            name.startswith(f"{part}:".encode()) and now_ms - orjson.loads(text)["told_ms"] <= SILENT_MS
            for name, text in found
        )

    def mine(self) -> dict[str, dict[str, Any]]:
        """What this process would tell, by its name."""
        return {self.process: {"version": __version__, **self.own()}} if self.process else {}

    async def leave(self) -> None:
        """This process ends in order: it is told of no more. Raises StoreUnavailable."""
        if self.telling is not None:
            self.telling.cancel()
            self.telling = None
            await self.tasks.scripts.command("HDEL", keys.METERS, self.process)


def resident_bytes() -> int:
    """How much memory this process has; where the system does not say, the most that it had."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE_BYTES
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
