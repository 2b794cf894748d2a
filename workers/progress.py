"""
Progress on its way to Redis: what handlers say in quick succession goes out together, the last word winning.
"""

from __future__ import annotations

import asyncio
import logging

import orjson

from service.errors import TaskpostError
from service.store.records import PROGRESS
from service.store.tasks import MOST_A_CALL, Tasks
from service.task import Leased, rfc3339
from workers.context import ReportProgress
from workers.run import Attempt

log = logging.getLogger("taskpost.worker")

PAUSE_SECONDS = 0.1


class ProgressReporter:
    """Collects progress of one shard's attempts; the first word goes out at once, the next after a pause."""

    def __init__(self, tasks: Tasks, shard: int) -> None:
        self.tasks, self.shard = tasks, shard
        self.said: dict[bytes, tuple[Leased, bytes]] = {}
        self.sender: asyncio.Task[None] | None = None

    def of(self, attempt: Attempt) -> ReportProgress:
        """What this attempt's context calls."""

        def report(current: float, total: float | None, message: str | None) -> None:
            at = rfc3339(self.tasks.clock.now_ms())
            attempt.progress = {"current": current, "total": total, "message": message, "at": at}
            self.said[attempt.task.id] = (attempt.task, orjson.dumps(attempt.progress))
            if self.sender is None:
                self.sender = asyncio.create_task(self.send())

        return report

    def forget(self, task: Leased) -> None:
        """The attempt is over; its last progress goes with its outcome."""
        said = self.said.get(task.id)
        if said is not None and said[0] is task:  # another attempt of the same task may have spoken since
            del self.said[task.id]

    async def send(self) -> None:
        """Send until nothing was said for a pause. Progress that cannot be sent is dropped: more will come."""
        try:
            while self.said:
                taken = [self.said.pop(id_) for id_ in list(self.said)[:MOST_A_CALL]]
                notes = [(task.id, task.token, self.tasks.closed(task, PROGRESS, json)) for task, json in taken]
                try:
                    await self.tasks.note_progress(self.shard, notes)
                except TaskpostError as exc:
                    log.warning("progress of %d tasks was not noted: %s", len(notes), exc)
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self.sender = None
