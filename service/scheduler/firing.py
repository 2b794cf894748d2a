"""
What an occurrence of a schedule becomes: which one it is, whether it is too late, and its task.

Owns the misfire policy. Refuses to know the clock, which is given, and overlap, which fire.lua decides where it is
fired.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime, timedelta
from typing import Any

from service.recurrence.timing import Timing
from service.schedule import Schedule, moment, ms_of
from service.settings import Settings
from service.store.schedules import Shot
from service.store.workers import HandlerBook
from service.submission import pack, with_whole_numbers
from service.task import DEFAULT_QUEUE, options_of, rfc3339
from service.templates import Firing, filled

log = logging.getLogger("taskpost.scheduler")

MOST_COUNTED = 1000
LATE_MS = 3_600_000
LETTERS = {"allow": b"a", "skip": b"s", "queue_one": b"q", "cancel_running": b"c"}
SPANS = tuple(timedelta(seconds=seconds) for seconds in (60, 3600, 86_400, 32 * 86_400, 366 * 86_400, 3660 * 86_400))


class Builder:
    """Makes tasks of occurrences."""

    def __init__(self, book: HandlerBook, settings: Settings) -> None:
        self.book, self.settings = book, settings

    def submission(self, schedule: Schedule, timing: Timing, nominal_ms: int) -> dict[str, Any]:
        """The submission of the occurrence, its templates filled in."""
        previous = moment(schedule.last_ms) if schedule.last_ms else None
        firing = Firing(schedule.name, moment(nominal_ms), previous, timing.zone)
        made = filled(schedule.definition["task"], firing)
        made["schedule"] = {"name": schedule.name, "fire_time": rfc3339(nominal_ms)}
        return made

    def load(self, shot: Shot, timing: Timing, shard: int, now_ms: int) -> Shot:
        """Give *shot* its task."""
        schedule, nominal_ms = shot.schedule, shot.nominal_ms
        submission = self.submission(schedule, timing, nominal_ms)
        handler = self.book.known(schedule.namespace, submission.get("name", ""))
        target = handler or schedule.definition.get("target", {})
        options = options_of(submission, handler, self.settings)
        with_whole_numbers(submission)
        packed = pack(
            submission,
            schedule.namespace,
            queue=target.get("queue") or DEFAULT_QUEUE,
            lane="url" if "url" in submission else target.get("lane", "async"),
            max_crashes=min(options["max_crashes"], 100),
            now_ms=now_ms,
        )
        due_ms = ms_of(timing.due_at(moment(nominal_ms)))
        # A task counts its time from its id: one that comes very late must not have used up its retries by then.
        born_ms = due_ms if 0 <= now_ms - due_ms < LATE_MS else now_ms
        shot.id, shot.record = id_of(schedule.member, nominal_ms, born_ms, shard, shot.kind), packed.record
        return shot


def id_of(member: str, nominal_ms: int, born_ms: int, shard: int, kind: bytes) -> bytes:
    """The id of an occurrence's task, the same whoever fires it."""
    text = f"{member}\0{nominal_ms}\0{kind.decode()}"
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
        resume = resumed(schedule, timing, now_ms)
        if resume != nominal:
            missed = missed_between(timing, nominal, resume)
            return Shot(schedule, b"m", nominal, resume, due_ms_of(timing, resume), missed=missed)
    following = next_ms_after(timing, nominal)
    return Shot(schedule, b"f", nominal, following, due_ms_of(timing, following), overlap=LETTERS[schedule.overlap])


def resumed(schedule: Schedule, timing: Timing, now_ms: int) -> int:
    """Where a schedule that is too late goes on: `skip` at what is not too late, `once` at the last that was missed."""
    if schedule.misfire == "skip":
        return next_ms_after(timing, max(schedule.next_ms, now_ms - schedule.grace_ms - 1))
    now = moment(now_ms)
    for span in SPANS:
        start = max(now - span, moment(schedule.next_ms) - timedelta(milliseconds=1))
        newest = None
        for occurrence in timing.between(start, now):
            if timing.due_at(occurrence) <= now:
                newest = occurrence
        if newest is not None:
            return ms_of(newest)
    return schedule.next_ms


def missed_between(timing: Timing, first_ms: int, until_ms: int) -> int:
    """How many occurrences lie from *first_ms* up to *until_ms* and without it; counted up to a thousand."""
    count, occurrence = 0, first_ms
    while occurrence and (occurrence < until_ms or not until_ms) and count < MOST_COUNTED:
        count += 1
        occurrence = next_ms_after(timing, occurrence)
    return count


def next_ms_after(timing: Timing, after_ms: int) -> int:
    """The occurrence after that of *after_ms*, in ms; 0 when there is none."""
    found = timing.next_after(precise(after_ms))
    return ms_of(found) if found is not None else 0


def precise(ms: int) -> datetime:
    """The last moment that reads as *ms*: an occurrence between two milliseconds must not come twice."""
    return moment(ms) + timedelta(microseconds=999)


def due_ms_of(timing: Timing, nominal_ms: int) -> int:
    """When the occurrence fires, with its jitter; 0 for none."""
    return ms_of(timing.due_at(moment(nominal_ms))) if nominal_ms else 0
