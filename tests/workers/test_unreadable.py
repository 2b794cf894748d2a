"""What a worker does with a task that it cannot open."""

from __future__ import annotations

import os
from typing import Any

import pytest

from service.errors import PayloadUnreadable
from service.settings import Settings
from service.store.decisions import Again, Decision
from service.store.endings import Ending
from service.task import Leased
from workers.registry import Registry
from workers.run import DEAF, UNREADABLE_SECONDS, Pipeline

NOW_MS = 1_790_000_000_000


async def decided(lane: str, is_missing: bool) -> Decision:
    """What becomes of a task of *lane*, of which nothing but its id is known."""
    nothing: Any = None
    pipeline = Pipeline(Registry(), {}, nothing, Settings(), "w1")
    fault = PayloadUnreadable("it does not open", is_missing=is_missing)
    id_ = NOW_MS.to_bytes(6, "big") + os.urandom(10)
    task = Leased(id_, b"t" * 12, b"", {}, "q", "default", 5, lane, 1, 0, NOW_MS, unreadable=fault)
    return await pipeline.run_attempt(pipeline.prepare(task, 0), DEAF, lambda: NOW_MS)


@pytest.mark.parametrize("lane", ["url", "async"])
async def test_a_task_whose_key_is_missing_is_put_off_and_one_that_was_changed_fails(lane: str) -> None:
    """Another worker may have the key; nobody runs what somebody wrote into Redis."""
    put_off, failed = await decided(lane, is_missing=True), await decided(lane, is_missing=False)
    assert isinstance(put_off, Again)
    assert (b"D", True) == (put_off.kind, put_off.is_repeated)
    assert UNREADABLE_SECONDS * 500 <= put_off.delay_ms <= UNREADABLE_SECONDS * 1500
    assert isinstance(failed, Ending)
    assert ("failed", "PayloadUnreadable", "it does not open") == (
        failed.state, (failed.error or {})["type"], (failed.error or {})["message"],
    )  # fmt: skip
