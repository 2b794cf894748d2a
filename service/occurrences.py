"""
Occurrences in milliseconds: which comes next, which was last, when each is due, how many there are.

Pure. Owns the step from a `Timing`, which counts in microseconds, to what is stored, which counts in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from service.recurrence.timing import INSTANT, Timing
from service.schedule import moment, ms_of

MOST_COUNTED = 1000
MOST_WALKED = 1000
SPANS = tuple(timedelta(seconds=seconds) for seconds in (60, 3600, 86_400, 32 * 86_400, 366 * 86_400, 3660 * 86_400))


def precise(ms: int) -> datetime:
    """The last moment that reads as *ms*: an occurrence between two milliseconds must not come twice."""
    return moment(ms) + timedelta(microseconds=999)


def next_ms_after(timing: Timing, after_ms: int) -> int:
    """The occurrence after that of *after_ms*, in ms; 0 when there is none."""
    found = timing.next_after(precise(after_ms))
    return ms_of(found) if found is not None else 0


def due_ms_of(timing: Timing, nominal_ms: int) -> int:
    """When the occurrence fires, with its jitter; 0 for none."""
    return ms_of(timing.due_at(moment(nominal_ms))) if nominal_ms else 0


def previous_of(timing: Timing, nominal_ms: int) -> datetime | None:
    """The occurrence before that of *nominal_ms*; None when there is none within ten years."""
    until = moment(nominal_ms) - INSTANT
    found = (timing.latest_until(until, until - span) for span in SPANS)
    return next((one for one in found if one is not None), None)


def newest_due(timing: Timing, first_ms: int, now_ms: int) -> int:
    """The last occurrence from *first_ms* on that is due at *now_ms*; that of *first_ms* if there is no later one."""
    now, first = moment(now_ms), moment(first_ms)
    newest = timing.latest_until(now - timing.jitter, first - INSTANT) or first
    for occurrence in few_between(timing, newest, now):  # of these each may be due or not
        if timing.due_at(occurrence) <= now:
            newest = occurrence
    return ms_of(newest)


def first_not_late(timing: Timing, after_ms: int, from_ms: int) -> int:
    """The first occurrence after that of *after_ms* that is due at *from_ms* or later; 0 when there is none."""
    wanted = moment(from_ms)
    start = max(precise(after_ms), wanted - timing.jitter - INSTANT)
    for occurrence in few_between(timing, start, wanted):
        if timing.due_at(occurrence) >= wanted:
            return ms_of(occurrence)
    return next_ms_after(timing, max(after_ms, from_ms - 1))


def few_between(timing: Timing, after: datetime, until: datetime) -> Iterator[datetime]:
    """The occurrences later than *after* up to *until*, at most a thousand."""
    for _, occurrence in zip(range(MOST_WALKED), timing.between(after, until), strict=False):
        yield occurrence


def counted_between(timing: Timing, first_ms: int, until_ms: int) -> int:
    """How many occurrences lie from *first_ms* up to *until_ms* (0: all) and without it; counted up to a thousand."""
    count, occurrence = 0, first_ms
    while occurrence and (occurrence < until_ms or not until_ms) and count < MOST_COUNTED:
        count += 1
        occurrence = next_ms_after(timing, occurrence)
    return count
