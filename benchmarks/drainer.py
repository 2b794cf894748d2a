"""
Leases and finishes tasks by bare calls of the store, and tells what that costs Redis.

`python -P benchmarks/drainer.py PORT` reads `{"many": 2000, "a_call": 100}` a line and answers each with a line. It
takes `service` and `tests.store` from where PYTHONPATH says, so that two checkouts can be measured in turn.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson
import redis

from service.settings import Settings
from service.store import Store
from service.store.endings import Ending
from service.task import Leased
from tests.servers import HOST
from tests.store.acting import Worker, new

A_CALL = 128
LEASE_MS = 3_600_000
MAIN = ("used_cpu_user_main_thread", "used_cpu_sys_main_thread")


class Drainer:
    """A worker of the only shard of a server, whose handlers take no time."""

    def __init__(self, store: Store, port: int) -> None:
        self.store, self.admin = store, redis.Redis(HOST, port)
        self.worker = Worker(store)

    @classmethod
    async def open(cls, port: int) -> Drainer:
        logging.getLogger("taskpost").setLevel(logging.ERROR)  # the server keeps no file, and should not
        settings = Settings(redis_url=f"redis://{HOST}:{port}/0")
        return cls(await Store.open(settings, 30), port)

    async def close(self) -> None:
        self.admin.close()
        await self.store.close()

    async def put(self, task: Any, many: int = 1) -> None:
        """Submit *task* so many times."""
        for start in range(0, many, A_CALL):
            await self.store.tasks.submit_call(0, [task] * min(A_CALL, many - start))

    async def lease(self, room: int, finished: Any = ()) -> list[Leased]:
        stepped = await self.worker.step(0, finished, [("default", "async", room)], lease_ms=LEASE_MS)
        return stepped.leased

    def endings(self, tasks: list[Leased]) -> list[list[bytes]]:
        return [self.worker.ending(task, Ending("succeeded", b"5")) for task in tasks]

    async def drain(self, many: int, a_call: int, note: Callable[[list[Leased]], Any] = len) -> None:
        """Lease and finish *many* tasks; *note* gets what each call took. Raises RuntimeError when there are fewer."""
        finished: list[list[bytes]] = []
        while many:
            taken = await self.lease(min(a_call, many), finished)
            if not taken:
                raise RuntimeError(f"{many} tasks are missing")
            note(taken)
            finished, many = self.endings(taken), many - len(taken)
        await self.lease(0, finished)

    def cpu_us(self) -> float:
        """Processor time of the thread that carries out commands."""
        used = self.admin.info("cpu")
        return sum(float(used[name]) for name in MAIN) * 1e6

    async def round(self, many: int, a_call: int) -> dict[str, float]:
        """Tasks a second, and Redis' processor time of lease and finish for each, of *many* without ties."""
        await self.put(new(), many)
        began, began_us = time.perf_counter(), self.cpu_us()
        await self.drain(many, a_call)
        return {"a_second": many / (time.perf_counter() - began), "cpu_us": (self.cpu_us() - began_us) / many}


async def answer(port: int) -> None:
    drainer = await Drainer.open(port)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.buffer.write(orjson.dumps(await drainer.round(**orjson.loads(line))) + b"\n")
            sys.stdout.buffer.flush()
    finally:
        await drainer.close()


if __name__ == "__main__":
    asyncio.run(answer(int(sys.argv[1])))
