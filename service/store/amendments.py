"""
Changes of tasks that wait: when they are due, and their priorities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.store.tasks import Tasks

CHANGED, RUNS, HAS_ENDED, TOO_OFTEN, UNKNOWN = b"1", b"2", b"3", b"4", b"0"


@dataclass(slots=True)
class Amendment:
    """What to change of a waiting task; None leaves it. *due_ms* in the past means now."""

    id: bytes
    due_ms: int | None = None
    priority: int | None = None

    def packed(self) -> bytes:
        what = (self.due_ms is not None) + 2 * (self.priority is not None)
        return b"%b%c%b%d" % (self.id, what, (self.due_ms or 0).to_bytes(6, "big"), self.priority or 0)


async def amend(tasks: Tasks, shard: int, changes: Sequence[Amendment]) -> bytes:
    """
    Change tasks of *shard*, up to 128: one byte each, CHANGED, RUNS, HAS_ENDED, TOO_OFTEN (255 times) or UNKNOWN.

    Raises:
        StoreUnavailable: no answer; the same call again is safe.
    """
    statuses: bytes = await tasks.scripts.call(shard, "amend", *[change.packed() for change in changes])
    return statuses
