"""
The kinds beside cron: an interval, a calendar interval, and single times.

Both intervals are counted from their anchor, never from the last occurrence, so they do not drift.
"""

from __future__ import annotations

import calendar
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from service.recurrence.zones import instant_of

UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
LAST_YEAR = 9000


@dataclass(frozen=True, slots=True)
class Interval:
    """Every *every* since *anchor* (UTC), the anchor itself included."""

    every: timedelta
    anchor: datetime

    def next_after(self, after: datetime) -> datetime | None:
        """The first occurrence later than *after*."""
        if after < self.anchor:
            return self.anchor
        return self.anchor + ((after - self.anchor) // self.every + 1) * self.every

    def explain(self) -> str:
        """`Every 5 minutes`, `Every 1 hour 30 minutes`."""
        left = self.every.total_seconds()
        said: list[str] = []
        for unit, seconds in UNITS:
            number: float = left // seconds if seconds > 1 else left
            left -= number * seconds
            if number:
                said.append(plural(number, unit))
        return "Every " + (" ".join(said).removeprefix("1 ") if len(said) == 1 else " ".join(said))


@dataclass(frozen=True, slots=True)
class CalendarInterval:
    """
    Every so many months and days since *anchor*, a local time of *zone*, at the anchor's time of day.

    A month that has no such day has the occurrence on its last one: from 31 January monthly come 28 February and
    31 March, since each is counted from the anchor.
    """

    months: int
    days: int
    anchor: datetime
    zone: ZoneInfo

    def next_after(self, after: datetime) -> datetime | None:
        """The first occurrence later than *after*; None past the end of the calendar."""
        most = 1
        while (found := self.occurrence(most)) is not None and found <= after:
            most *= 2
        least = 0 if most == 1 else most // 2
        while least < most:  # the first that is later
            middle = (least + most) // 2
            found = self.occurrence(middle)
            if found is not None and found <= after:
                least = middle + 1
            else:
                most = middle
        return self.occurrence(least)

    def occurrence(self, number: int) -> datetime | None:
        """The occurrence of that *number*, the anchor being 0, in UTC."""
        month = self.anchor.month - 1 + self.months * number
        year, month = self.anchor.year + month // 12, month % 12 + 1
        if year > LAST_YEAR or self.days * number > 365 * LAST_YEAR:
            return None
        day = min(self.anchor.day, calendar.monthrange(year, month)[1])
        try:
            local = self.anchor.replace(year=year, month=month, day=day) + timedelta(days=self.days * number)
            return instant_of(local, self.zone)
        except OverflowError:
            return None

    def explain(self) -> str:
        """`Every 2 months at 09:00, counted from 2026-01-31`."""
        years, months = divmod(self.months, 12)
        weeks, days = divmod(self.days, 7)
        counted = ((years, "year"), (months, "month"), (weeks, "week"), (days, "day"))
        said = [plural(number, unit) for number, unit in counted if number]
        every = " ".join(said).removeprefix("1 ") if len(said) == 1 else " ".join(said)
        return f"Every {every} at {clock(self.anchor)}, counted from {self.anchor:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Once:
    """At single *instants* (UTC, ascending)."""

    instants: tuple[datetime, ...]
    zone: ZoneInfo

    def next_after(self, after: datetime) -> datetime | None:
        """The first instant later than *after*; None when all have been."""
        place = bisect_right(self.instants, after)
        return self.instants[place] if place < len(self.instants) else None

    def explain(self) -> str:
        """`Once at 2026-12-24 18:00`, or the first of several and their number."""
        first = self.instants[0].astimezone(self.zone)
        said = f"Once at {first:%Y-%m-%d} {clock(first)}"
        return said if len(self.instants) == 1 else f"{said} and {len(self.instants) - 1} more times"


def plural(number: float, unit: str) -> str:
    """`1 hour`, `2 hours`, `2.5 seconds`."""
    return f"{number:g} {unit}" if number == 1 else f"{number:g} {unit}s"


def clock(moment: datetime) -> str:
    """`09:00`, with seconds where there are some."""
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"
