"""
The timing fields of a schedule, read, and what they mean together.

The fields may be combined: the occurrences are those of all kinds that are given, each instant once.

    cron             one expression, or several, a line each
    every_seconds    an interval, counted from `anchor_at` (else from the schedule's creation)
    calendar         `{years, months, weeks, days, anchor}`, at the time of day of the local time `anchor`
    at               single times: local ones of the zone, or with an offset of their own
    timezone         an IANA zone
    start_at, end_at the first and the last moment at which there may be occurrences
    jitter_seconds   each occurrence is put off by a share of this, decided by the schedule's name and the occurrence
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

from service.recurrence.cron import InvalidCron, cron_of
from service.recurrence.kinds import LAST_YEAR, CalendarInterval, Interval, Once
from service.recurrence.zones import instant_of, zone_of

T = TypeVar("T")

KINDS = ("cron", "every_seconds", "calendar", "at")
INSTANT = timedelta(microseconds=1)
FIRST_YEAR = 2  # the first and the last that every zone, and what is counted from them, keeps within the calendar


class Recurrence(Protocol):
    """What every kind answers."""

    def next_after(self, after: datetime) -> datetime | None:
        """The first occurrence later than *after*, in UTC."""

    def explain(self) -> str:
        """In plain English, without the zone."""


class InvalidTiming(ValueError):
    """Timing fields that cannot be used; *errors* holds a `{pointer, detail}` for each fault."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(error["detail"] for error in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule fires. Occurrences are nominal instants in UTC; `due_at` adds the jitter of each."""

    kinds: tuple[Recurrence, ...]
    zone: ZoneInfo
    seed: str
    start_at: datetime | None
    end_at: datetime | None
    jitter: timedelta

    def next_after(self, after: datetime) -> datetime | None:
        """The first occurrence later than *after*; None when there is none any more."""
        if self.start_at is not None and after < self.start_at:
            after = self.start_at - INSTANT
        found = min((one for kind in self.kinds if (one := kind.next_after(after)) is not None), default=None)
        if found is None or found.year > LAST_YEAR or (self.end_at is not None and found > self.end_at):
            return None
        return found

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The occurrences later than *after*, up to *until* and with it, in order."""
        found = self.next_after(after)
        while found is not None and found <= until:
            yield found
            found = self.next_after(found)

    def latest_until(self, until: datetime, since: datetime) -> datetime | None:
        """The last occurrence up to *until* and with it, of those later than *since*; None when there is none."""
        low, high = self.next_after(since), until
        if low is None or low > until:
            return None
        while (found := self.next_after(low)) is not None and found <= until:
            middle = low + (high - low) / 2
            later = self.next_after(middle)
            if later is not None and later <= until:
                low = later
            else:
                low, high = found, middle
        return low

    def due_at(self, occurrence: datetime) -> datetime:
        """When *occurrence* is to fire: itself, or later by its jitter, which is the same whoever asks."""
        if not self.jitter:
            return occurrence
        seed = f"{self.seed}\0{occurrence.timestamp()}".encode()
        share = int.from_bytes(hashlib.sha256(seed).digest()[:6], "big") / 2**48
        return occurrence + timedelta(milliseconds=int(self.jitter / timedelta(milliseconds=1) * share))

    def explain(self) -> str:
        """In plain English: `At 03:00 every day, Asia/Shanghai`."""
        said = "; ".join(kind.explain() for kind in self.kinds)
        if any(not isinstance(kind, Interval) for kind in self.kinds):
            said += f", {self.zone.key}"
        if self.jitter:
            said += f", up to {self.jitter.total_seconds():g} s later"
        return said


def timing_of(fields: Mapping[str, Any], *, seed: str, created_at: datetime, zone: str) -> Timing:
    """
    The timing that *fields* describe; *zone* is the one of a schedule that names none.

    The fields have the types that the contract asks for; whether they mean something is decided here.

    Raises:
        InvalidTiming: with every fault.
    """
    return _Reading(fields, seed, created_at, zone).timing()


class _Reading:
    """One reading of timing fields: collects faults on the way, and raises them together."""

    def __init__(self, fields: Mapping[str, Any], seed: str, created_at: datetime, zone: str) -> None:
        self.fields = fields
        self.seed = seed
        self.created_at = created_at
        self.errors: list[dict[str, str]] = []
        name = fields.get("timezone") or zone
        self.zone = self.attempt("/timezone", lambda: zone_of(name)) or ZoneInfo("UTC")

    def timing(self) -> Timing:
        """The timing; raises what was found wrong."""
        start_at, end_at = self.instant("start_at"), self.instant("end_at")
        if start_at and end_at and end_at < start_at:
            self.fault("/end_at", f"{self.fields['end_at']} is before start_at, {self.fields['start_at']}")
        readers = (self.crons, self.interval, self.calendar, self.once)
        kinds = tuple(kind for name, read in zip(KINDS, readers, strict=True) if self.given(name) for kind in read())
        if not kinds and not self.errors:
            self.fault("", f'says not when: needs at least one of {", ".join(KINDS)}, such as "cron": "0 3 * * *"')
        if self.errors:
            raise InvalidTiming(self.errors)
        jitter = timedelta(seconds=self.fields.get("jitter_seconds") or 0)
        timing = Timing(kinds, self.zone, self.seed, start_at, end_at, jitter)
        self.refuse_never(timing)
        return timing

    def refuse_never(self, timing: Timing) -> None:
        """A schedule with no occurrence at all between its start and its end is a slip."""
        if timing.end_at is None and not self.given("at") and not self.given("calendar"):
            return  # an expression that can fire, and an interval, always do again
        if timing.next_after(datetime(1970, 1, 2, tzinfo=UTC)) is None:
            pointer = "/end_at" if timing.end_at else ""
            raise InvalidTiming([{"pointer": pointer, "detail": "can never fire: no occurrence lies before its end"}])

    def crons(self) -> Iterator[Recurrence]:
        for line in self.fields["cron"].splitlines():
            if not line.strip():
                continue
            try:
                yield cron_of(line, self.zone, self.seed)
            except InvalidCron as exc:
                for fault in exc.faults:
                    self.fault("/cron", fault)

    def interval(self) -> Iterator[Recurrence]:
        every = timedelta(seconds=self.fields["every_seconds"])
        anchor = self.instant("anchor_at") or self.created_at
        yield Interval(every, anchor)

    def calendar(self) -> Iterator[Recurrence]:
        given = self.fields["calendar"]
        months = int(12 * (given.get("years") or 0) + (given.get("months") or 0))  # 2.0 is an integer to JSON
        days = int(7 * (given.get("weeks") or 0) + (given.get("days") or 0))
        if not months and not days:
            self.fault("/calendar", "needs at least one of years, months, weeks and days above 0")
        anchor = self.attempt("/calendar/anchor", lambda: self.local(given.get("anchor")))
        if anchor is None:
            anchor = self.created_at.astimezone(self.zone).replace(tzinfo=None)
        yield CalendarInterval(months, days, anchor.replace(microsecond=0, fold=0), self.zone)

    def once(self) -> Iterator[Recurrence]:
        found: set[datetime] = set()
        for index, text in enumerate(self.fields["at"]):
            moment = self.attempt(f"/at/{index}", partial(parsed, text))
            if moment is not None:
                found.add(moment.astimezone(UTC) if moment.tzinfo else instant_of(moment, self.zone))
        if not found and not self.errors:
            self.fault("/at", "is empty: needs at least one time, such as 2026-12-24T18:00:00")
        if found:
            yield Once(tuple(sorted(found)), self.zone)

    def local(self, text: str | None) -> datetime | None:
        """A local time of the zone; one with an offset is moved into it."""
        if text is None:
            return None
        moment = parsed(text)
        return moment.astimezone(self.zone).replace(tzinfo=None) if moment.tzinfo else moment

    def instant(self, name: str) -> datetime | None:
        """The time in field *name*, in UTC; a local one is one of the zone."""
        if not self.given(name):
            return None
        moment = self.attempt(f"/{name}", lambda: parsed(self.fields[name]))
        if moment is None:
            return None
        return moment.astimezone(UTC) if moment.tzinfo else instant_of(moment, self.zone)

    def given(self, name: str) -> bool:
        return self.fields.get(name) is not None

    def fault(self, pointer: str, detail: str) -> None:
        self.errors.append({"pointer": pointer, "detail": detail})

    def attempt(self, pointer: str, read: Callable[[], T]) -> T | None:
        """What *read* answers; None when it refused, which is then noted."""
        try:
            return read()
        except ValueError as exc:
            self.fault(pointer, str(exc))
            return None


def parsed(text: str) -> datetime:
    """
    A time as ISO 8601 writes it, with or without an offset.

    Raises:
        ValueError: it is none, or lies at an end of the calendar.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: needs one such as 2026-12-24T18:00:00 (of the schedule's zone), "
            "or 2026-12-24T17:00:00Z"
        ) from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"{text!r} is of the year {moment.year}: needs one from {FIRST_YEAR} to {LAST_YEAR}")
    return moment
