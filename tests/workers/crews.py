"""
Process pools for tests: real executors, without Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.context import Context
from workers.outcome import Outcome
from workers.pools.process import ProcessPool
from workers.registry import Registry

DEADLINE_SECONDS = 60.0
MAX_RESULT_BYTES = 1024 * 1024


class Crew:
    """A pool, and the ways in which tests use it."""

    def __init__(self, pool: ProcessPool, registry: Registry) -> None:
        self.pool, self.registry = pool, registry

    async def call(
        self, name: str, timeout: float = DEADLINE_SECONDS, soft: float | None = None, ctx: Context | None = None,
        **args: Any,
    ) -> Outcome:  # fmt: skip
        handler = self.registry.find(name)
        assert handler is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.pool.call(handler, args, ctx or Context(id="0" * 26, name=name), timeout, soft)

    def start(self, name: str, **given: Any) -> asyncio.Task[Outcome]:
        return asyncio.create_task(self.call(name, **given))


Hire = Callable[..., Crew]


async def until(claim: Callable[[], Any], what: str) -> None:
    """Wait until *claim* holds."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not claim():
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def noted(path: Path) -> list[int]:
    """The process ids that a handler wrote to *path*."""
    await until(lambda: path.exists() and path.read_text(), f"{path} is written")
    return [int(word) for word in path.read_text().split()]
