"""
Ends tasks that still wait when they expire.

Any number of schedulers may do so at once: what has ended, started or been put off by then is left as it is by end.lua.
"""

from __future__ import annotations

import logging

from service.settings import Settings
from service.store import keys
from service.store.endings import NO_TOKEN, Ending, Origin
from service.store.outside import ending_report
from service.store.tasks import MOST_BYTES_A_CALL, Tasks
from service.store.workers import HandlerBook
from service.task import Snapshot

log = logging.getLogger("taskpost.store")

MOST_A_LOOK = 64


async def expire(tasks: Tasks, book: HandlerBook, settings: Settings, shard: int) -> int:
    """
    End the tasks of *shard* that wait past their time, and answer how many.

    Raises:
        StoreUnavailable: no answer; the next time does it.
    """
    done = passed_over = 0  # those that run stand among them until they end
    while True:
        bounds = ("-inf", tasks.clock.now_ms(), "LIMIT", passed_over, MOST_A_LOOK)
        ids: list[bytes] = await tasks.scripts.command("ZRANGEBYSCORE", keys.expiring(shard), *bounds)
        found = [task for task in await tasks.read(ids) if task is not None and task.state in ("scheduled", "queued")]
        ended = await end(tasks, shard, [report(tasks, book, settings, task) for task in found])
        done, passed_over = done + ended, passed_over + len(ids) - ended
        if len(ids) < MOST_A_LOOK:
            break
    if done:
        log.info("%d tasks expired while they waited", done)
    return done


def report(tasks: Tasks, book: HandlerBook, settings: Settings, task: Snapshot) -> list[bytes]:
    """The report by which *task* ends as expired."""
    run = task.run
    origin = Origin(
        task.id, task.raw, task.record.submission, NO_TOKEN, run.attempt if run else 0, run.crashes if run else 0,
        run.started_ms if run else 0, run.worker if run else "",
    )  # fmt: skip
    return ending_report(tasks, book, settings, origin, task.record, Ending("expired"))


async def end(tasks: Tasks, shard: int, reports: list[list[bytes]]) -> int:
    """End tasks by *reports*, in calls that Redis can bear; how many that was done to."""
    done, part, size = 0, list[list[bytes]](), 0
    for one in reports:
        bytes_ = sum(map(len, one))
        if part and size + bytes_ > MOST_BYTES_A_CALL:
            done += (await tasks.end(shard, part)).count(b"1")
            part, size = [], 0
        part.append(one)
        size += bytes_
    return done + ((await tasks.end(shard, part)).count(b"1") if part else 0)
