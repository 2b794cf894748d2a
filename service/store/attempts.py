"""
What is kept of a task's attempts: how each went, and what it logged.

A row is written by the script that ends the attempt; a log grows while the attempt runs, under the token of its lease,
and is part of the row from then on. A task that logs nothing costs nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.attempts import pack_lines
from service.ids import shard_of
from service.store.records import opened_line, opened_row, sealed_lines
from service.store.replies import snapshot_of
from service.store.tasks import Tasks
from service.task import Snapshot

KEPT_MS = 7 * 86_400_000  # the log of an attempt that runs, since its last line


@dataclass(slots=True)
class LogNote:
    """
    Lines of the attempt that holds *token*, of a task of *namespace*. *first* is the number of the first one: see
    `service.attempts`.
    """

    id: bytes
    token: bytes
    first: int
    lines: Sequence[bytes]
    namespace: str


@dataclass(slots=True)
class History:
    """A task with its attempts at one instant: *rows* of those that ended, the log so far of the one that runs."""

    snapshot: Snapshot
    rows: list[dict[str, Any]]
    said: int
    lines: list[list[Any]]


class Attempts:
    """All about attempts. One for each `Store`."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks

    async def note_log(self, shard: int, notes: Sequence[LogNote]) -> bytes:
        """
        Keep lines that running attempts logged. One byte each: 1 kept, 0 lease lost.

        Lines that are there already, by their numbers, are not added again. Keep to 128 notes and 1 MiB a call.

        Raises:
            StoreUnavailable: no answer. Sending the same lines again is safe, but for those that carry no number.
        """
        args: list[bytes] = []
        for note in notes:
            batch = pack_lines(note.first, note.lines)
            args += (note.id + note.token, sealed_lines(self.tasks.keyring, note.namespace, note.id, batch))
        statuses: bytes = await self.tasks.scripts.call(shard, "log", KEPT_MS, *args)
        return statuses

    async def history(self, id_: bytes) -> History | None:
        """The attempts of a task; None when there is no such task. Raises StoreUnavailable."""
        if shard_of(id_) >= self.tasks.shards:
            return None
        now_ms, raw, run, outcome, log, rows = await self.tasks.scripts.call(shard_of(id_), "attempts", id_)
        self.tasks.clock.hear(now_ms)
        keyring = self.tasks.keyring
        snapshot = snapshot_of(keyring, id_, now_ms, raw, run, outcome, None)
        if snapshot is None:
            return None
        said = int.from_bytes(log[0][:4], "big") if log else 0
        place = keyring, snapshot.record.namespace, id_
        lines = [opened_line(*place, orjson.loads(line)) for line in log[1:]]
        return History(snapshot, [opened_row(*place, row) for row in rows], said, lines)
