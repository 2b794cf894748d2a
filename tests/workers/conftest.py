"""What tests of workers share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.faults import child_handlers
from tests.workers.crews import MAX_RESULT_BYTES, Crew, Hire
from workers.pools import nursery
from workers.pools.executor import Bounds, Executor
from workers.pools.process import ProcessPool
from workers.registry import default_registry


@pytest.fixture
async def hire() -> AsyncIterator[Hire]:
    """Makes pools: `hire(size, max_tasks=2, …)`."""
    pools: list[ProcessPool] = []
    assert child_handlers is not None

    def make(size: int = 2, *, max_tasks: int = 0, max_memory_mb: int = 0, **given: Any) -> Crew:
        bounds = Bounds(MAX_RESULT_BYTES, max_tasks, max_memory_mb * 1024 * 1024)
        door = nursery.start(lambda line, desk: Executor(default_registry, bounds, line, desk).run())
        pools.append(ProcessPool(door, size, max_tasks=max_tasks, **{"grace_seconds": 0.2, **given}))
        return Crew(pools[-1], default_registry)

    yield make
    for pool in pools:
        await pool.close(5)
