"""
The logs of attempts on their way to Redis: lines go out together, the first at once, the next after a pause.

What an attempt said last goes with the report of its end, so a short one needs no call of its own. The fact to know: a
line is held here until Redis has said that it has it, and lines are numbered, so that one which is sent twice, in a
call and in a report, is kept once.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from functools import partial
from threading import RLock, get_ident
from typing import TYPE_CHECKING

from service.attempts import MOST_BYTES, MOST_LINES, pack_line, pack_lines
from service.errors import TaskpostError
from service.store.attempts import LogNote
from service.store.tasks import MOST_A_CALL, MOST_BYTES_A_CALL
from workers.said import tell

if TYPE_CHECKING:
    from service.store import Store
    from workers.run import Attempt
    from workers.task_log import ReportLog

PAUSE_SECONDS = 0.1


class Unsent:
    """The lines of one attempt that Redis may not have; never more than it would keep."""

    __slots__ = ("first", "is_over", "lines", "noted_bytes", "size")

    def __init__(self) -> None:
        self.first = 0  # number of the first of *lines*: how many are noted, or were left out
        self.lines: deque[bytes] = deque()
        self.size = self.noted_bytes = 0
        self.is_over = False  # nothing is added: the attempt has ended, or its lease is lost

    def add(self, line: bytes) -> None:
        self.lines.append(line)
        self.size += len(line)
        while len(self.lines) > MOST_LINES or self.size > MOST_BYTES:
            self.drop()

    def drop(self) -> int:
        """Let go of the first line; its size."""
        size = len(self.lines.popleft())
        self.size -= size
        self.first += 1
        return size

    def note(self, until: int) -> None:
        """Redis has the lines before number *until*."""
        while self.lines and self.first < until:
            self.noted_bytes = min(self.noted_bytes + self.drop(), MOST_BYTES)

    def batch(self) -> bytes:
        """The lines as a report carries them."""
        return pack_lines(self.first, self.lines) if self.lines else b""


class LogSender:
    """Collects what one shard's attempts log. Made and sent from on the event loop; lines come from any thread."""

    def __init__(self, store: Store, shard: int) -> None:
        self.store, self.shard = store, shard
        self.lock, self.process = RLock(), os.getpid()
        self.waiting: dict[bytes, Attempt] = {}
        self.sender: asyncio.Task[None] | None = None

    def of(self, attempt: Attempt) -> ReportLog:
        """What this attempt's context calls."""
        return partial(self.say, asyncio.get_running_loop(), get_ident(), attempt)

    def say(
        self, loop: asyncio.AbstractEventLoop, thread: int, attempt: Attempt, said_ms: float, level: str, message: str
    ) -> None:
        if os.getpid() != self.process:  # in one that a handler forked: neither loop nor Redis are there
            return
        line = pack_line(int(said_ms + self.store.tasks.clock.offset_ms), level, message)
        with self.lock:
            if attempt.log is None:
                attempt.log = Unsent()
            if attempt.log.is_over:
                return
            attempt.log.add(line)
            is_first = not self.waiting
            self.waiting[attempt.task.id] = attempt
        if not is_first:
            return
        if get_ident() == thread:
            self.start()
        else:
            tell(loop, self.start)

    def close(self, attempt: Attempt) -> None:
        """The attempt is over; its last lines go with its outcome."""
        if attempt.log is not None:
            with self.lock:
                attempt.log.is_over = True
                if self.waiting.get(attempt.task.id) is attempt:
                    del self.waiting[attempt.task.id]

    def start(self) -> None:
        if self.sender is None and self.waiting:
            self.sender = asyncio.create_task(self.send())

    async def send(self) -> None:
        """Send until nothing was said for a pause. Lines that could not be sent are sent again."""
        try:
            while self.waiting:
                taken = self.take()
                notes = [note for _, note in taken]
                try:
                    statuses = await self.store.attempts.note_log(self.shard, notes)
                except TaskpostError:  # the lease loop says so
                    statuses = b""
                self.settle(taken, statuses)
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self.sender = None

    def take(self) -> list[tuple[Attempt, LogNote]]:
        """What one call carries."""
        taken: list[tuple[Attempt, LogNote]] = []
        size = 0
        with self.lock:
            while self.waiting and len(taken) < MOST_A_CALL and size < MOST_BYTES_A_CALL:
                id_ = next(iter(self.waiting))
                attempt = self.waiting.pop(id_)
                if attempt.log is not None and attempt.log.lines:
                    note = LogNote(
                        id_, attempt.task.token, attempt.log.first, list(attempt.log.lines), attempt.task.namespace
                    )
                    taken.append((attempt, note))
                    size += attempt.log.size
        return taken

    def settle(self, taken: list[tuple[Attempt, LogNote]], statuses: bytes) -> None:
        """What Redis said; without an answer all of it goes again."""
        with self.lock:
            for place, (attempt, note) in enumerate(taken):
                log = attempt.log
                if log is None or log.is_over:
                    continue
                if not statuses:
                    self.waiting[note.id] = attempt
                elif statuses[place] == ord("1"):
                    log.note(note.first + len(note.lines))
                else:
                    log.is_over = True
                    self.waiting.pop(note.id, None)
