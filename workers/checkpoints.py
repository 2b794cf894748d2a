"""
Checkpoints on their way to Redis, under the lease token of their attempts.

What arrives while a call is in flight goes out together in the next one. Who waits for a checkpoint goes on when it is
in Redis: a call that got no answer is sent again until it is answered. The number of each says which is the newer, so
that one that was sent again changes nothing when it comes late.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from service.errors import StoreFull, StoreUnavailable, TaskpostError
from service.ids import encode_id
from service.outcome import LOST
from service.store.records import CHECKPOINT
from service.store.tasks import MOST_A_CALL, MOST_BYTES_A_CALL, Tasks
from service.task import Leased

if TYPE_CHECKING:
    from workers.context import KeepCheckpoint
    from workers.run import Attempt

log = logging.getLogger("taskpost.worker")


class Note(NamedTuple):
    """One checkpoint; *kept* is the future of who waits for it."""

    task: Leased
    number: int
    json: bytes
    kept: asyncio.Future[None]


class CheckpointKeeper:
    """Keeps the checkpoints of one shard's attempts; *lose* is told of tasks whose leases turn out to be lost."""

    def __init__(self, tasks: Tasks, shard: int, lose: Callable[[Leased], None]) -> None:
        self.tasks, self.shard, self.lose = tasks, shard, lose
        self.waiting: deque[Note] = deque()
        self.sender: asyncio.Task[None] | None = None

    def of(self, attempt: Attempt) -> KeepCheckpoint:
        """What this attempt's context calls."""
        return partial(self.keep, attempt.task)

    def keep(self, task: Leased, json: bytes) -> asyncio.Future[None]:
        """A future that is done when *json* is stored for the task's next attempt; cancelled if the lease is lost."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task.checkpoint_number += 1
        self.waiting.append(Note(task, task.checkpoint_number, json, kept))
        if self.sender is None:
            self.sender = asyncio.create_task(self.send())
        return kept

    async def send(self) -> None:
        """Send until nothing waits."""
        try:
            while self.waiting:
                notes = self.take()
                try:
                    statuses = await self.stored(notes)
                except TaskpostError as exc:  # Redis refuses it, and would again
                    for note in notes:
                        if not note.kept.done():
                            note.kept.set_exception(exc)
                    continue
                for note, status in zip(notes, statuses, strict=True):
                    self.tell(note, status)
        finally:
            self.sender = None

    def take(self) -> list[Note]:
        """What one call can carry of what waits."""
        notes: list[Note] = []
        size = 0
        while self.waiting and len(notes) < MOST_A_CALL:
            size += len(self.waiting[0].json)
            if notes and size > MOST_BYTES_A_CALL:
                break
            notes.append(self.waiting.popleft())
        return notes

    async def stored(self, notes: list[Note]) -> bytes:
        """A status each, once Redis has answered."""
        sent = [
            (note.task.id, note.task.token, note.number, self.tasks.closed(note.task, CHECKPOINT, note.json))
            for note in notes
        ]
        pause = 0.1
        while True:
            try:
                return await self.tasks.note_checkpoints(self.shard, sent)
            except (StoreUnavailable, StoreFull) as exc:
                log.warning("shard %d: checkpoints (%d) wait: %s Trying again.", self.shard, len(notes), exc)
                await asyncio.sleep(pause * (0.5 + random.random() / 2))
                pause = min(pause * 2, 2.0)

    def tell(self, note: Note, status: int) -> None:
        """What Redis said to *note*."""
        if status != ord("1"):
            if not note.kept.done():  # else its attempt is over, or knows
                log.warning("%s: its lease was lost, so its checkpoint is dropped", encode_id(note.task.id))
            self.lose(note.task)
            note.kept.cancel(LOST)
        elif not note.kept.done():
            note.kept.set_result(None)
