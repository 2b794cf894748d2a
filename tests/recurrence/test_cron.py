"""Cron expressions: their meaning against a plain reading of the fields, and what is said of wrong ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recurrence.occurrences import faults, occurrences, timing

START = "2026-03-28T12:00:00+00:00"

MEANINGS = [
    ("0 3 * * *", "At 03:00 every day, UTC", ["2026-03-29T03:00", "2026-03-30T03:00"]),
    ("@hourly", "At the start of every hour, UTC", ["2026-03-28T13:00", "2026-03-28T14:00"]),
    ("@daily", "At 00:00 every day, UTC", ["2026-03-29T00:00", "2026-03-30T00:00"]),
    ("@weekly", "At 00:00 on Sunday, UTC", ["2026-03-29T00:00", "2026-04-05T00:00"]),
    ("@monthly", None, ["2026-04-01T00:00", "2026-05-01T00:00"]),
    ("@yearly", "At 00:00 on January 1, UTC", ["2027-01-01T00:00", "2028-01-01T00:00"]),
    ("0 0 * * 0", "At 00:00 on Sunday, UTC", ["2026-03-29T00:00", "2026-04-05T00:00"]),
    ("0 0 * * 7", "At 00:00 on Sunday, UTC", ["2026-03-29T00:00", "2026-04-05T00:00"]),
    ("0 0 13 * FRI", "At 00:00 on the 13th day of month and on Friday, UTC", ["2026-04-03T00:00", "2026-04-10T00:00"]),
    ("0 0 */2 * MON", None, ["2026-04-13T00:00", "2026-04-27T00:00"]),
    ("0 0 L * *", "At 00:00 on the last day of every month, UTC", ["2026-03-31T00:00", "2026-04-30T00:00"]),
    ("0 0 * * 5L", "At 00:00 on the last Friday of the month, UTC", ["2026-04-24T00:00", "2026-05-29T00:00"]),
    ("0 0 * * MON#2", "At 00:00 on the second Monday of the month, UTC", ["2026-04-13T00:00", "2026-05-11T00:00"]),
    ("0 0 29 2 *", "At 00:00 on February 29, UTC", ["2028-02-29T00:00", "2032-02-29T00:00"]),
    ("0 12 * JAN,JUL *", None, ["2026-07-01T12:00", "2026-07-02T12:00"]),
    ("*/20 * * * * *", "At seconds 0, 20, and 40 of every minute, UTC", ["2026-03-28T12:00:20", "2026-03-28T12:00:40"]),
    ("30 0 3 * * *", "At 03:00:30 every day, UTC", ["2026-03-29T03:00:30", "2026-03-30T03:00:30"]),
]  # fmt: skip


@pytest.mark.parametrize(("cron", "said", "expected"), MEANINGS, ids=[row[0] for row in MEANINGS])
def test_an_expression_means_what_cron_means(cron, said, expected):
    """It fires when cron would, and says so in plain English."""
    wanted = [datetime.fromisoformat(one).replace(tzinfo=UTC).isoformat() for one in expected]
    assert wanted == occurrences(START, 2, cron=cron)
    if said:
        assert said == timing(cron=cron).explain()


@st.composite
def fields(draw: st.DrawFn, least: int, most: int) -> tuple[str, set[int]]:
    """A field and the values that it names."""
    low = draw(st.integers(least, most))
    high = draw(st.integers(low, most))
    step = draw(st.integers(1, most))
    return draw(
        st.sampled_from([
            ("*", set(range(least, most + 1))),
            (str(low), {low}),
            (f"{low}-{high}", set(range(low, high + 1))),
            (f"{low}-{high}/{step}", set(range(low, high + 1, step))),
            (f"*/{step}", set(range(least, most + 1, step))),
            (f"{low},{high}", {low, high}),
        ])
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), fields(0, 6), st.integers(0, 365 * 1440))
def test_no_minute_is_missed_and_none_is_made_up(minutes, hours, days, months, weekdays, start):
    """Minute by minute over three days, against a plain reading of each field."""
    expression = " ".join(field for field, _ in (minutes, hours, days, months, weekdays))
    either = not days[0].startswith("*") and not weekdays[0].startswith("*")
    first = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=start)

    def fires(moment: datetime) -> bool:
        in_days, in_week = moment.day in days[1], moment.isoweekday() % 7 in weekdays[1]
        day = (in_days or in_week) if either else (in_days and in_week)
        return day and moment.month in months[1] and moment.hour in hours[1] and moment.minute in minutes[1]

    span = timedelta(days=3)
    expected = [one for n in range(1, 3 * 1440 + 1) if fires(one := first + timedelta(minutes=n))]
    if faults(cron=expression):  # such as a 30th of February
        assert not expected
        return
    assert expected == list(timing(cron=expression).between(first, first + span))


def test_several_expressions_and_kinds_fire_at_the_union():
    """A line each, and an interval beside them; an instant that two name fires once."""
    found = occurrences(START, 4, cron="0 15 * * *\n0 15 * * SAT\n\n30 15 * * *", every_seconds=86_400)
    assert ["15:00:00", "15:30:00", "09:00:00", "15:00:00"] == [one[11:19] for one in found]


def test_a_hash_is_always_the_same_for_a_name_and_spreads_names():
    """A thousand daily schedules do not start at the same minute, and none moves by a restart."""
    minutes = [occurrences(START, 1, cron="H H * * *", seed=f"schedule {n}")[0][11:16] for n in range(1000)]
    assert minutes == [occurrences(START, 1, cron="H H * * *", seed=f"schedule {n}")[0][11:16] for n in range(1000)]
    assert len(set(minutes)) > 600


@pytest.mark.parametrize(
    ("cron", "number", "span"), [("H/15 * * * *", 4, 60), ("H(0-29)/10 * * * *", 3, 60), ("H H(1-4) * * *", 1, 1440)]
)
def test_a_hash_takes_steps_and_ranges(cron, number, span):
    """As Jenkins reads them."""
    for seed in map(str, range(50)):
        first = datetime(2026, 3, 28, tzinfo=UTC)
        found = list(
            timing(cron=cron, seed=seed).between(first - timedelta(minutes=1), first + timedelta(minutes=span - 1))
        )
        assert number == len(found), (seed, found)
        if "(0-29)" in cron:
            assert all(one.minute <= 29 for one in found)
        if "(1-4)" in cron:
            assert 1 <= found[0].hour <= 4


WRONG = [
    ("60 * * * *", "minute: '60' cannot be read, 60 is not within 0-59"),
    ("* 24 * * *", "hour: '24' cannot be read, 24 is not within 0-23"),
    ("* * 0 * *", "day of month: '0' cannot be read, 0 is not within 1-31"),
    ("* * * 13 *", "month: '13' cannot be read, 13 is not within 1-12"),
    ("* * * * 8", "day of week: '8' cannot be read, 8 is not within 0-7"),
    ("* * * * FUN", "day of week: 'FUN' cannot be read: needs 0-7 or SUN-SAT"),
    ("60 * * * * *", "second: '60' cannot be read"),
    ("0 22-2 * * *", "(write 22-23,0-2)"),
    ("*/0 * * * *", "a step of 0"),
    ("* * ? * *", "Quartz"),
    ("0 0 1W * *", "only LW"),
    ("* * *", "has 3 fields: needs 5"),
    ("@dayly", "is no macro: needs one of @yearly"),
    ("H(50-70) * * * *", "must lie within 0-59"),
    ("HH * * * *", "needs H, H(0-59) or H/15"),
    ("H/0 * * * *", "the step of 'H/0'"),
    ("0 0 30 2 *", "can never fire"),
    ("0 0 31 4,6 *", "can never fire"),
]


@pytest.mark.parametrize(("cron", "said"), WRONG, ids=[row[0] for row in WRONG])
def test_a_wrong_expression_says_which_field_and_why(cron, said):
    """One fault, named, with what is needed."""
    found = faults(cron=cron)
    assert ["/cron"] == [pointer for pointer, _ in found]
    assert said in found[0][1]


def test_every_wrong_field_is_named():
    """Not only the first one."""
    assert ["minute", "hour", "day of month", "month", "day of week"] == [
        detail.split(":")[0] for _, detail in faults(cron="60 25 0 13 8")
    ]
