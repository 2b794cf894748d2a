"""What a handler says of how far it is, on its way to Redis."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from workers.progress import ProgressReporter


class Tasks:
    """Stands where the store is, and remembers what came."""

    def __init__(self) -> None:
        self.clock = SimpleNamespace(now_ms=lambda: 0)
        self.notes: list[bytes] = []

    def closed(self, _task: Any, _field: bytes, json: bytes) -> bytes:
        return json

    async def note_progress(self, _shard: int, notes: list[tuple[bytes, bytes, bytes]]) -> None:
        self.notes += [token for _, token, _ in notes]


def attempt(token: bytes) -> Any:
    return SimpleNamespace(task=SimpleNamespace(id=b"one", token=token), progress=None)


async def test_the_last_words_of_an_attempt_that_is_over_are_not_sent() -> None:
    """They go with its outcome. Those of another attempt of the same task are sent."""
    tasks = Tasks()
    reporter = ProgressReporter(tasks, 0)
    late, now = attempt(b"late"), attempt(b"now")
    reporter.of(late)(1, 2, None)
    reporter.forget(late.task)
    assert not reporter.said
    reporter.of(now)(1, 2, None)
    reporter.forget(late.task)
    assert reporter.sender is not None
    await asyncio.wait_for(reporter.sender, 30)
    assert [b"now"] == tasks.notes
