"""What may be typed for durations, times and values, and what is said about the rest."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service import cli_values as values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("250ms", 0.25),
        ("90s", 90),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5 min", 90),
        ("7d", 604_800),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds == values.duration(text)


@pytest.mark.parametrize("text", ["", "3x", "-1", "h", "nan", "inf", "1h3", "soon"])
def test_what_is_no_duration_is_named_with_the_need(text: str) -> None:
    """Given and needed stand in one sentence."""
    with pytest.raises(ArgumentTypeError, match="is no duration: needs seconds or a sum such as 90s"):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("-2.5", -2.5),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("ada", "ada"),
        ('"2"', "2"),
        ("", ""),
    ],
)
def test_a_value_is_json_or_else_text(text: str, value: Any) -> None:
    assert (type(value), value) == (type(values.value(text)), values.value(text))


def test_an_argument_may_hold_equals_signs() -> None:
    assert ("query", "a=b") == values.pair("query=a=b")
    with pytest.raises(ArgumentTypeError, match="needs key=value"):
        values.pair("=a")


def test_a_time_of_day_is_the_next_one() -> None:
    """18:30 said at 19:00 is tomorrow's."""
    now = datetime(2026, 11, 22, 19, 0, tzinfo=UTC).astimezone()
    at = now - timedelta(minutes=30)
    assert now + timedelta(hours=23, minutes=30) == values.moment(f"{at:%H:%M}", now)


def test_a_time_with_a_zone_means_that_moment() -> None:
    assert datetime(2026, 12, 1, 7, tzinfo=UTC) == values.moment("2026-12-01T08:00:00+01:00")
    with pytest.raises(ArgumentTypeError, match="is no time: needs one such as"):
        values.moment("tomorrow")


def test_a_file_can_be_named_instead_of_a_value(tmp_path: Path) -> None:
    """`@file` is read; one that cannot be is named."""
    (tmp_path / "args.json").write_text('{"a": 2}')
    assert {"a": 2} == values.mapping(f"@{tmp_path / 'args.json'}")
    with pytest.raises(ArgumentTypeError, match="cannot be read"):
        values.body(f"@{tmp_path / 'none'}")
    with pytest.raises(ArgumentTypeError, match="is no JSON object"):
        values.mapping("[1]")


@pytest.mark.parametrize(
    ("text", "backoff"), [("1,5s,1m", [1, 5, 60]), ("linear", {"kind": "linear"}), ('{"factor": 3}', {"factor": 3})]
)
def test_a_backoff_is_waits_a_kind_or_json(text: str, backoff: Any) -> None:
    assert backoff == values.backoff(text)


def test_a_bare_wait_may_stand_before_anything() -> None:
    """`--wait demo.add` does not take the handler for a duration; `--wait 10` and `--wait=10` are told."""
    assert ["--wait=inf", "demo.add"] == values.spelled_out(["--wait", "demo.add"], "--wait", "inf")
    assert ["a", "--wait=inf"] == values.spelled_out(["a", "--wait"], "--wait", "inf")
    assert ["--wait", "1h30m"] == values.spelled_out(["--wait", "1h30m"], "--wait", "inf")
    assert ["--wait=5"] == values.spelled_out(["--wait=5"], "--wait", "inf")
