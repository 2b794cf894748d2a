"""Intervals, calendar intervals, single times, bounds and jitter."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recurrence.occurrences import CREATED, faults, occurrences, timing

START = "2026-03-28T12:00:00+00:00"


@given(st.integers(1, 10**7), st.integers(0, 10**9))
def test_an_interval_does_not_drift(every_ms, after_s):
    """Each occurrence is a whole number of intervals after the anchor, and the first one that is later."""
    after = CREATED + timedelta(seconds=after_s)
    every = timedelta(milliseconds=every_ms)
    found = timing(every_seconds=every_ms / 1000).next_after(after)
    assert (found - CREATED) % every == timedelta(0)
    assert found - every <= after < found


def test_an_interval_starts_at_its_anchor():
    """The anchor itself is the first occurrence when it lies ahead."""
    found = occurrences(START, 2, every_seconds=5400, anchor_at="2026-03-28T12:10:00Z")
    assert ["2026-03-28T12:10:00+00:00", "2026-03-28T13:40:00+00:00"] == found


def test_a_month_without_such_a_day_uses_its_last_one_and_comes_back():
    """From 31 January monthly: nothing is left out, nothing drifts to the 28th."""
    found = occurrences("2026-01-31T12:00:00+00:00", 4, calendar={"months": 1, "anchor": "2026-01-31T09:00:00"})
    assert ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"] == [one[:10] for one in found]


def test_a_leap_day_is_kept_yearly():
    """The 28th in the years between."""
    found = occurrences("2024-03-01T00:00:00+00:00", 4, calendar={"years": 1, "anchor": "2024-02-29T00:00:00"})
    assert ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"] == [one[:10] for one in found]


def test_a_whole_number_may_be_written_with_a_point():
    """JSON has one kind of numbers, and some clients write 1.0."""
    asked = {"anchor": "2026-01-31T09:00:00", "months": 1, "days": 1}
    expected = occurrences("2026-01-31T12:00:00+00:00", 3, calendar=asked)
    asked |= {"months": 1.0, "days": 1.0}
    assert expected == occurrences("2026-01-31T12:00:00+00:00", 3, calendar=asked)


@given(st.integers(0, 30), st.integers(0, 400), st.integers(0, 14 * 365 * 86_400))
def test_the_next_calendar_occurrence_is_the_first_later_one(months, days, after_s):
    """Found by bisection, it is the one that counting would find."""
    if not months + days:
        days = 1
    kind = timing(calendar={"months": months, "days": days, "anchor": "2026-01-31T09:00:00"}).kinds[0]
    moment = CREATED + timedelta(seconds=after_s)
    found = kind.next_after(moment)
    counted = next(one for n in range(10**5) if (one := kind.occurrence(n)) > moment)
    assert counted == found


def test_single_times_are_local_unless_they_say_otherwise():
    """A local one of the zone, one with an offset; both fire, in order, and then never again."""
    given_at = ["2026-12-24T18:00:00", "2026-12-24T16:00:00Z"]
    found = occurrences(START, 5, at=given_at, timezone="Europe/Berlin")
    assert ["2026-12-24T17:00:00+01:00", "2026-12-24T18:00:00+01:00"] == found


def test_nothing_fires_before_the_start_or_after_the_end():
    """Both bounds are included."""
    bounds = {"start_at": "2027-01-01T03:00:00Z", "end_at": "2027-01-03T03:00:00Z"}
    found = occurrences(START, 9, cron="0 3 * * *", **bounds)
    assert ["2027-01-01", "2027-01-02", "2027-01-03"] == [one[:10] for one in found]


def test_jitter_is_the_same_whoever_asks_and_stays_in_bounds():
    """Two schedulers agree on when an occurrence fires; occurrences are spread."""
    one, other = timing(cron="0 * * * *", jitter_seconds=600), timing(cron="0 * * * *", jitter_seconds=600)
    found = list(one.between(CREATED, CREATED + timedelta(days=10)))
    shares = [one.due_at(occurrence) - occurrence for occurrence in found]
    assert shares == [other.due_at(occurrence) - occurrence for occurrence in found]
    assert all(timedelta(0) <= share < timedelta(seconds=600) for share in shares)
    assert len(set(shares)) > 200
    assert "up to 600 s later" in one.explain()


WRONG = [
    ({}, "", "says not when"),
    ({"cron": "0 3 * * *", "timezone": "Europe/Berln"}, "/timezone", "did you mean Europe/Berlin?"),
    ({"cron": "0 3 * * *", "timezone": "shanghai"}, "/timezone", "did you mean Asia/Shanghai?"),
    ({"cron": "0 3 * * *", "timezone": "../etc/passwd"}, "/timezone", "is no time zone"),
    ({"calendar": {}}, "/calendar", "needs at least one of years"),
    ({"calendar": {"days": 1, "anchor": "soon"}}, "/calendar/anchor", "'soon' is no time"),
    ({"at": []}, "/at", "is empty"),
    ({"at": ["2026-12-24T18:00:00", "x"]}, "/at/1", "'x' is no time"),
    ({"every_seconds": 60, "anchor_at": "x"}, "/anchor_at", "'x' is no time"),
    ({"cron": "0 3 * * *", "start_at": "2027-01-02T00:00", "end_at": "2027-01-01T00:00"}, "/end_at", "before start_at"),
    ({"cron": "0 3 * * *", "start_at": "2027-01-01T04:00", "end_at": "2027-01-01T12:00"}, "/end_at", "can never fire"),
    ({"every_seconds": 60, "anchor_at": "0001-01-01T00:00:00+14:00"}, "/anchor_at", "needs one from 2 to 9000"),
    ({"at": ["9999-12-31T23:59:59"], "timezone": "America/New_York"}, "/at/0", "is of the year 9999"),
    ({"at": ["0001-01-01T00:00:00"], "timezone": "Asia/Shanghai"}, "/at/0", "is of the year 1:"),
    ({"cron": "0 3 * * *", "start_at": "9999-12-31T23:59:59Z"}, "/start_at", "is of the year 9999"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "pointer", "said"), WRONG)
def test_a_wrong_field_is_named_with_what_is_needed(fields, pointer, said):
    """A pointer to the field, and words."""
    found = faults(**fields)
    assert [pointer] == [where for where, _ in found]
    assert said in found[0][1]


def test_every_fault_is_named():
    """Across fields."""
    wrong = {"cron": "61 * * * *", "timezone": "Nowhere", "calendar": {}, "at": ["x"], "start_at": "y"}
    assert {"/cron", "/timezone", "/calendar", "/at/0", "/start_at"} == {where for where, _ in faults(**wrong)}


@pytest.mark.parametrize("fields", [{"cron": "0 0 29 2 *"}, {"every_seconds": 315_360_000}, {"calendar": {"years": 1}}])
def test_occurrences_end_with_the_year_9000(fields):
    """Looking far ahead comes to an end, and never to a fault."""
    found = occurrences("8960-01-01T00:00:00+00:00", 1000, **fields)
    assert found
    assert "9001" > max(found)
