"""
Ends the attempt of a task that overstayed its time limit and was killed with its process.

Done by the parent, in the words with which the process itself would have: the attempt failed by its time limit, and
another follows while retries are left.
"""

from __future__ import annotations

import os
import random

from service.settings import Settings
from service.store import Store
from service.store.decisions import Decision, decide, report_of, row_of
from service.store.endings import Ending
from service.store.replies import leased_of
from service.task import options_of, shard_of
from workers.held import Held
from workers.outcome import Cancelled, TimeLimitExceeded, failed


async def end_overstayer(store: Store, settings: Settings, worker: str, held: Held) -> None:
    """
    Report the attempt of *held* as failed by its time limit; does nothing when it is somebody else's by now.

    Raises:
        StoreUnavailable: Redis did not answer. The task's lease ends by itself then.
    """
    tasks = store.tasks
    [snapshot] = await tasks.read([held.id])
    raw, packed = await tasks.raw(held.id), await tasks.packed_run(held.id)
    if snapshot is None or snapshot.run is None or raw is None or packed is None or packed[:12] != held.token:
        return
    task = leased_of(held.id + packed[12:17] + raw, held.token, snapshot.run.started_ms)
    handler = store.handlers.known(task.namespace, task.submission.get("name", ""))
    options = options_of(task.submission, handler, settings)
    message = (
        f"the attempt took longer than its time limit of {options['timeout_seconds']:g} s and could not be "
        "interrupted; its worker process was ended"
    )
    now_ms = tasks.clock.now_ms()
    outcome = failed(TimeLimitExceeded.__name__, message, retry=True)
    decision: Decision = decide(task, outcome, options, now_ms, worker, random.random)
    cancelled = Ending("cancelled", row=row_of(task, Cancelled(message), "cancelled", now_ms, worker))
    session = os.urandom(8)
    for number, one in enumerate((decision, cancelled), 1):
        if isinstance(one, Ending):
            one.progress = snapshot.progress
        report = report_of(task, one, options, settings, worker, now_ms)
        token = session + number.to_bytes(4, "big")
        stepped = await tasks.step(shard_of(task.id), token, worker, lease_ms=settings.lease_ms, finished=[report])
        if stepped.statuses != b"2":  # 2: it was to run again, but cancellation was asked for in the meantime
            return
