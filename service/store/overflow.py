"""
Lets go of what a queue holds over its length, when its settings say that the oldest give way.

The fact to know: they are cancelled as by a user, callbacks included, right behind the submission that was too much;
should this process die in between, the next submission lets go of them too.
"""

from __future__ import annotations

import contextlib

from service.errors import StoreUnavailable
from service.store.endings import NO_TOKEN, Ending, Origin
from service.store.outside import ending_report
from service.store.tasks import MOST_A_CALL, Tasks
from service.store.workers import HandlerBook
from service.task import split_queue

DROPPED = "QueueFull"


class Overflow:
    """One for each `Store`."""

    def __init__(self, tasks: Tasks, book: HandlerBook) -> None:
        self.tasks, self.book = tasks, book

    async def drop(self, shard: int, stored: str, many: int) -> None:
        """Cancel the *many* tasks of the queue *stored* that have waited for longest, up to 128."""
        with contextlib.suppress(StoreUnavailable):  # the submission was taken in, and that is what counts
            ids = await self.tasks.scripts.call(shard, "yielding", stored, min(many, MOST_A_CALL))
            found = await self.tasks.read(ids)
            _, queue = split_queue(stored)
            message = f"newer tasks took its place: the queue {queue} was full, and drops its oldest"
            reports = []
            for task in found:
                if task is None or task.record.has_ended or (task.run is not None and task.run.is_held):
                    continue
                run, record = task.run, task.record
                origin = Origin(
                    task.id, task.raw, record.submission, NO_TOKEN, run.attempt if run else 0,
                    run.crashes if run else 0, run.started_ms if run else 0, run.worker if run else "",
                )  # fmt: skip
                ending = Ending("cancelled", error={"type": DROPPED, "message": message, "traceback": None})
                reports.append(ending_report(self.tasks, self.book, self.tasks.settings, origin, record, ending))
            if reports:
                await self.tasks.end(shard, reports)
