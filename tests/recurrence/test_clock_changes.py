"""What schedules do on the days when clocks change, in five zones with different habits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.recurrence.zones import instant_of
from tests.recurrence.occurrences import occurrences

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Shanghai")

# zone, the day before, cron, what fires: the first is the day of the change
FORWARD = [
    ("Europe/Berlin", "2026-03-28T12:00:00+01:00", "30 2 * * *",
     ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
    ("America/New_York", "2026-03-07T12:00:00-05:00", "30 2 * * *",
     ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]),
    ("Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", "15 2 * * *",
     ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]),
    ("Pacific/Apia", "2011-12-29T12:00:00-10:00", "0 9 * * *",  # the whole of 30 December was left out
     ["2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"]),
    ("Asia/Shanghai", "1986-05-03T12:00:00+08:00", "30 2 * * *",
     ["1986-05-04T03:00:00+09:00", "1986-05-05T02:30:00+09:00"]),
]  # fmt: skip
BACK = [
    ("Europe/Berlin", "2026-10-24T12:00:00+02:00", "30 2 * * *",
     ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
    ("America/New_York", "2026-10-31T12:00:00-04:00", "30 1 * * *",
     ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]),
    ("Australia/Lord_Howe", "2026-04-04T12:00:00+11:00", "45 1 * * *",
     ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"]),
    ("Pacific/Apia", "2021-04-03T12:00:00+14:00", "30 3 * * *",
     ["2021-04-04T03:30:00+14:00", "2021-04-05T03:30:00+13:00"]),
    ("Asia/Shanghai", "1986-09-13T12:00:00+09:00", "30 1 * * *",
     ["1986-09-14T01:30:00+09:00", "1986-09-15T01:30:00+08:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "before", "cron", "expected"), FORWARD, ids=[row[0] for row in FORWARD])
def test_a_daily_time_that_is_skipped_fires_once_right_after_the_gap(zone, before, cron, expected):
    """Nobody's nightly report is left out in spring."""
    assert expected == occurrences(before, 2, cron=cron, timezone=zone)


@pytest.mark.parametrize(("zone", "before", "cron", "expected"), BACK, ids=[row[0] for row in BACK])
def test_a_daily_time_that_comes_twice_fires_once(zone, before, cron, expected):
    """Nobody's nightly invoice run goes out twice in autumn."""
    assert expected == occurrences(before, 2, cron=cron, timezone=zone)


@pytest.mark.parametrize(("zone", "before", "cron", "expected"), FORWARD + BACK)
def test_the_second_field_keeps_the_rule_of_the_five(zone, before, cron, expected):
    """Asking for second 0 by name changes nothing."""
    assert expected == occurrences(before, 2, cron=f"0 {cron}", timezone=zone)


@pytest.mark.parametrize(("zone", "before", "cron", "expected"), FORWARD + BACK)
def test_calendar_intervals_and_single_times_keep_the_same_rule(zone, before, cron, expected):
    """A local time means the same instant in every kind."""
    minute, hour = cron.split()[:2]
    named = datetime.fromisoformat(expected[0])
    day = named.date() if named.hour == int(hour) else (datetime.fromisoformat(before) + timedelta(days=1)).date()
    local = f"{day}T{int(hour):02}:{int(minute):02}:00"
    assert expected[:1] == occurrences(before, 1, at=[local], timezone=zone)
    assert expected[:1] == occurrences(before, 1, calendar={"days": 1, "anchor": local}, timezone=zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("year", [1986, 2011, 2021, 2026])
def test_every_hour_fires_once_an_hour_of_real_time(zone, year):
    """Stars follow real time: an hour that comes twice has two occurrences, one that is left out has none."""
    first = datetime(year, 1, 1, tzinfo=UTC)
    found = [
        datetime.fromisoformat(one) for one in occurrences(first.isoformat(), 24 * 365, cron="0 * * * *", timezone=zone)
    ]
    gaps = {later - earlier for earlier, later in pairwise(found)}
    # Lord Howe's clocks move by half an hour, so that two full hours are then half an hour nearer or further.
    allowed = {timedelta(hours=1)} | ({timedelta(minutes=30), timedelta(minutes=90)} if "Lord" in zone else set())
    assert gaps <= allowed


@pytest.mark.parametrize("zone", ZONES)
def test_an_interval_knows_no_clock_changes(zone):
    """Every 12 hours is every 12 hours."""
    found = [
        datetime.fromisoformat(one)
        for one in occurrences("2026-01-31T09:00:00Z", 730, every_seconds=43_200, timezone=zone)
    ]
    assert {timedelta(hours=12)} == {later - earlier for earlier, later in pairwise(found)}


@given(st.sampled_from(ZONES), st.integers(0, 45 * 365 * 86_400))
def test_a_local_time_that_exists_is_the_earliest_instant_that_shows_it(zone, seconds):
    """No local time is ever answered with a second, later instant."""
    local = datetime.fromisoformat("1985-01-01T00:00:00") + timedelta(seconds=seconds)
    info = ZoneInfo(zone)
    instant = instant_of(local, info)
    shown = instant.astimezone(info).replace(tzinfo=None, fold=0)
    assert shown >= local
    if shown == local:
        earlier = (instant - timedelta(hours=1), instant - timedelta(minutes=30))
        assert all(one.astimezone(info).replace(tzinfo=None, fold=0) != local for one in earlier)
    else:  # in a gap: one moment earlier, the clock showed less than what was asked
        just_before = (instant - timedelta(microseconds=1)).astimezone(info).replace(tzinfo=None, fold=0)
        assert just_before < local
