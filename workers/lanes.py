"""
The pools of one worker process, by lane, and how many tasks each lane takes at once.

`start_nursery` comes first, before the process has a loop, threads or connections; `Lanes` on the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from service.settings import Settings
from workers.pools import Pool, nursery
from workers.pools.executor import Bounds, Executor
from workers.pools.loop import LoopPool
from workers.pools.nursery import Door
from workers.pools.process import ProcessPool
from workers.pools.thread import ThreadPool
from workers.registry import Registry

MIB = 1024 * 1024


def start_nursery(settings: Settings, registry: Registry, inherited: Sequence[int]) -> Door | None:
    """
    Fork the nursery from which executors come; answers the way to it, None when no handler needs one.

    *inherited* are descriptors of this process that no other may hold open.
    """
    if not any(handler.lane == "process" for handler in registry):
        return None
    bounds = Bounds(settings.max_result_bytes, settings.max_tasks, settings.max_memory_mb * MIB)
    return nursery.start(lambda line, desk: Executor(registry, bounds, line, desk).run(), inherited)


class Lanes:
    """*pools* by lane, each with the *sizes* of its own; *capacity* of each lane; *busy* and *ahead*: see `Slots`."""

    def __init__(self, settings: Settings, sizes: Mapping[str, int], nursery_door: Door | None) -> None:
        size = settings.max_result_bytes
        self.capacity = dict(sizes)
        self.threads = ThreadPool(sizes["thread"], max_result_bytes=size)
        self.pools: dict[str, Pool] = {"async": LoopPool(max_result_bytes=size)}
        self.busy: dict[str, Callable[[], int]] = {"thread": lambda: self.threads.busy}
        self.ahead: dict[str, Callable[[], int]] = {}
        self.children: ProcessPool | None = None
        if nursery_door is not None:
            self.children = children = ProcessPool(
                nursery_door,
                sizes["process"],
                max_tasks=settings.max_tasks,
                grace_seconds=settings.kill_grace_seconds,
            )
            self.busy["process"] = lambda: children.busy
            self.ahead["process"] = lambda: children.ahead
        self.offer()

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Run up to so many at once, by lane. What runs goes on; child processes and threads end when they are idle."""
        self.capacity = dict(sizes)
        self.offer()
        self.threads.resize(sizes["thread"])
        if self.children is not None:
            self.children.resize(sizes["process"])

    def offer(self) -> None:
        """A pool without room takes no call, not even that of a task which was leased in another lane."""
        own: dict[str, Pool | None] = {"thread": self.threads, "process": self.children}
        for lane, pool in own.items():
            if pool is not None and self.capacity[lane] > 0:
                self.pools[lane] = pool
            else:
                self.pools.pop(lane, None)

    @property
    def executors(self) -> list[tuple[int, int]]:
        """Process number of each child process, and how many tasks it has run or runs."""
        return self.children.executors if self.children is not None else []

    def watch(self, on_free: Callable[[], None]) -> list[asyncio.Future[None]]:
        """Call *on_free* when there may be room again; answers futures that fail when a pool is beyond help."""
        if self.children is None:
            return []
        self.children.on_free = on_free
        return [self.children.failed]

    async def close(self) -> None:
        """Let go of the child processes, and of all that handlers started in them."""
        if self.children is not None:
            await self.children.close()
