"""
Zones, and the instant that a local time means in one.

The fact to know: `zoneinfo` answers something for every local time, also for one that the zone's clocks skip; only a
way to UTC and back shows that it did.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

STEP = timedelta(minutes=1)


@cache
def zone_names() -> frozenset[str]:
    """Every zone of this machine's database, or of the package tzdata."""
    return frozenset(available_timezones())


def zone_of(name: str) -> ZoneInfo:
    """
    The IANA zone *name*.

    Raises:
        ValueError: there is none of that name; says which were meant, perhaps.
    """
    if name in zone_names():
        return ZoneInfo(name)
    cities = {city.rsplit("/", 1)[-1].lower(): city for city in sorted(zone_names())}
    asked = name.rsplit("/", 1)[-1].lower().replace(" ", "_")
    near = [cities[city] for city in get_close_matches(asked, cities, n=3, cutoff=0.75)]
    hint = f"; did you mean {' or '.join(near)}?" if near else ", such as Europe/Berlin or UTC"
    raise ValueError(f"{name!r} is no time zone: needs the name of an IANA zone{hint}")


def instant_of(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the clocks of *zone* show *local*, by the one rule of this package."""
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None, fold=0) == local:
        return first
    return _end_of_gap(local, zone)


def _end_of_gap(local: datetime, zone: ZoneInfo) -> datetime:
    """The first moment after the gap in which *local* lies: where the zone's distance from UTC changes."""
    # In a gap, fold 0 reads with the distance from before it and fold 1 with that from after it, so that the change
    # lies between the two.
    late = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    early = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=(late - early) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)
