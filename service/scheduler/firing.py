"""
What an occurrence of a schedule becomes: which one it is, whether it is too late, and its task.

Owns the misfire policy. Refuses to know the clock, which is given, and overlap, which fire.lua decides where it is
fired.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.ids import new_ids
from service.occurrences import counted_between, due_ms_of, first_not_late, newest_due, next_ms_after
from service.packing import Packed, pack, with_whole_numbers
from service.recurrence.timing import Timing
from service.schedule import Schedule, moment, ms_of
from service.settings import Settings
from service.sharing import shared_of
from service.store import Store
from service.store.schedules import Shot
from service.task import DEFAULT_QUEUE, options_of, rfc3339
from service.templates import Firing, filled

log = logging.getLogger("taskpost.scheduler")

LATE_MS = 3_600_000
LETTERS = {"allow": b"a", "skip": b"s", "queue_one": b"q", "cancel_running": b"c"}


class Builder:
    """Makes tasks of occurrences."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.book, self.queues, self.settings = store.handlers, store.queue_book, settings
        self.shards = store.shards

    def packed(
        self, schedule: Schedule, timing: Timing, nominal_ms: int, previous: datetime | None, now_ms: int
    ) -> Packed:
        """The task of an occurrence, its templates filled in."""
        firing = Firing(schedule.name, moment(nominal_ms), previous, timing.zone)
        submission = filled(schedule.definition["task"], firing)
        submission["schedule"] = {"name": schedule.name, "fire_time": rfc3339(nominal_ms)}
        handler = self.book.known(schedule.namespace, submission.get("name", ""))
        target = handler or schedule.definition.get("target", {})
        options = options_of(submission, handler, self.settings)
        if handler is not None:
            submission |= self.shared(schedule, handler, submission)
        with_whole_numbers(submission)
        queue = self.queues.queue_for(submission, schedule.namespace, target.get("queue") or DEFAULT_QUEUE)
        self.queues.complete(submission, schedule.namespace, queue)
        return pack(
            submission,
            schedule.namespace,
            queue=queue,
            lane="url" if "url" in submission else target.get("lane", "async"),
            max_crashes=min(options["max_crashes"], 100),
            now_ms=now_ms,
        )

    def shared(self, schedule: Schedule, handler: Mapping[str, Any], submission: Mapping[str, Any]) -> dict[str, Any]:
        """
        What *handler* adds: its group, and where there is one shard its flow key; with more, a task lives where its
        schedule does. What is there once at a time is for `overlap` to say.
        """
        added, faults = shared_of(handler, submission)
        for fault in faults:
            log.error("the schedule %s: its task has no key of its handler: %s", schedule.name, fault["detail"])
        names = () if faults else ("group", "flow") if self.shards == 1 else ("group",)
        return {name: added[name] for name in names if name in added}

    def load(self, shot: Shot, timing: Timing, shard: int, now_ms: int) -> Shot:
        """Give *shot* its task."""
        schedule, nominal_ms = shot.schedule, shot.nominal_ms
        previous = moment(schedule.last_ms) if schedule.last_ms else None
        packed = self.packed(schedule, timing, nominal_ms, previous, now_ms)
        shot.record, shot.flow = packed.record, packed.flow
        if shot.kind == b"r":  # as often as somebody asks
            (shot.id,) = new_ids(shard, 1, now_ms)
            return shot
        due_ms = ms_of(timing.due_at(moment(nominal_ms)))
        # A task counts its time from its id: one that comes very late must not have used up its retries by then.
        born_ms = due_ms if 0 <= now_ms - due_ms < LATE_MS else now_ms
        shot.id = id_of(schedule.member, nominal_ms, born_ms, shard)
        return shot


def id_of(place: str, nominal_ms: int, born_ms: int, shard: int) -> bytes:
    """The id of an occurrence's task, the same whoever fires it. *place*: of the schedule, or of a backfill of it."""
    text = f"{place}\0{nominal_ms}"
    return born_ms.to_bytes(6, "big") + bytes((shard,)) + hashlib.blake2b(text.encode(), digest_size=9).digest()


def shot_of(schedule: Schedule, timing: Timing, now_ms: int, *, has_looked: bool = False) -> Shot | None:
    """
    What is to be done for a schedule that is due at *now_ms*; None for nothing yet. Without its task: see `Builder`.

    An occurrence that waits for its turn comes first, unless somebody *has looked*, and it must wait on.
    """
    if schedule.pending_ms and not has_looked:
        return Shot(schedule, b"p", schedule.pending_ms, schedule.next_ms, due_ms_of(timing, schedule.next_ms))
    if not schedule.next_ms or due_ms_of(timing, schedule.next_ms) > now_ms:
        return None
    nominal = schedule.next_ms
    late_ms = now_ms - due_ms_of(timing, nominal)
    if late_ms > schedule.grace_ms and schedule.misfire != "all":
        if schedule.misfire == "skip":
            resume = first_not_late(timing, nominal, now_ms - schedule.grace_ms)
        else:
            resume = newest_due(timing, nominal, now_ms)
        if resume != nominal:
            missed = counted_between(timing, nominal, resume)
            return Shot(schedule, b"m", nominal, resume, due_ms_of(timing, resume), missed=missed)
    following = next_ms_after(timing, nominal)
    return Shot(schedule, b"f", nominal, following, due_ms_of(timing, following), overlap=LETTERS[schedule.overlap])
