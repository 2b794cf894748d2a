"""Schedules in code and in a file: what they mean, and what is said about one that cannot be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.errors import InvalidHandler, InvalidSetting
from service.settings import Settings
from workers import Policy, Registry, calendar, cron, every
from workers.recurring import declared_by


def registry(schedule: Any = None, **options: Any) -> Registry:
    made = Registry()

    options |= {} if schedule is None else {"schedule": schedule}

    @made.task("report:daily", queue="slow", **options)
    def report(day: str, copies: int = 1) -> None: ...

    return made


def definitions(made: Registry, **settings: Any) -> dict[str, dict[str, Any]]:
    return {one.name: one.definition for one in declared_by(made, Settings(**settings))}


def test_a_schedule_in_code_is_one_of_the_contract() -> None:
    """Named after its handler, with arguments and whatever else a task may have."""
    schedule = cron(
        "0 3 * * *", tz="Asia/Shanghai", args={"day": "{{ fire_time | date }}"}, task={"priority": 7},
        overlap="skip", jitter=30, start_at=datetime(2026, 1, 1, tzinfo=UTC), misfire_grace=5,
    )  # fmt: skip
    expected = {
        "cron": "0 3 * * *", "timezone": "Asia/Shanghai", "overlap": "skip", "jitter_seconds": 30,
        "start_at": "2026-01-01T00:00:00+00:00", "misfire_grace_seconds": 5,
        "task": {"name": "report:daily", "priority": 7, "args": {"day": "{{ fire_time | date }}"}},
    }  # fmt: skip
    assert {"report:daily": expected} == definitions(registry(schedule))
    [one] = declared_by(registry(schedule), Settings())
    assert {"queue": "slow", "lane": "process"} == one.target


def test_several_have_names_of_their_own() -> None:
    day = {"day": "x"}
    several = [
        every(timedelta(minutes=5), args=day, anchor="2026-01-01T00:00:00Z"),
        every(300, args=day, name="own"),
        calendar(months=1, anchor="2026-01-31T09:00:00", args=day),
    ]
    found = definitions(registry(several))
    assert ["report:daily:1", "own", "report:daily:3"] == list(found)
    first = found["report:daily:1"]
    assert (300, "2026-01-01T00:00:00Z") == (first["every_seconds"], first["anchor_at"])
    assert {"months": 1, "anchor": "2026-01-31T09:00:00"} == found["report:daily:3"]["calendar"]


def test_a_policy_may_hold_one() -> None:
    policy = Policy(schedule=every(60, args={"day": "x"}))
    assert ["report:daily"] == list(definitions(registry(policy=policy)))


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("0 3 * * *", 'needs cron("0 3'),
        (cron("61 * * * *", args={"day": "x"}), "/cron"),
        (cron("0 3 * * *", tz="Mars/Base", args={"day": "x"}), "Mars/Base"),
        (cron("0 3 * * *"), "/task/args/day: this argument is required"),
        (cron("0 3 * * *", args={"day": "x", "copies": "many"}), "/task/args/copies"),
        (cron("0 3 * * *", args={"day": "{{ now }}"}), "fire_time"),
        (cron("0 3 * * *", args={"day": "x"}, task={"delay_seconds": 5}), "/task/delay_seconds"),
        (cron("0 3 * * *", args={"day": "x"}, overlap="never"), "/overlap"),  # type: ignore[arg-type]
        ([every(60, name="x"), every(61, name="x")], "two schedules are called 'x'"),
        (every(60, name="a b"), "needs 1 to 128"),
        (every(0.1, args={"day": "x"}), "/every_seconds"),
    ],
)
def test_one_that_cannot_be_stops_the_worker(schedule: Any, says: str) -> None:
    """Before it takes any work; the text names the schedule, the place and the need."""
    with pytest.raises(InvalidHandler) as refused:
        declared_by(registry(schedule), Settings())
    assert says in str(refused.value)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(InvalidHandler, match="did you mean 'jitter'"):
        cron("0 3 * * *", jiter=5)  # type: ignore[call-arg]


def test_a_file_declares_too(tmp_path: Path) -> None:
    """URLs and handlers; a time without quotes is a time."""
    path = tmp_path / "schedules.yaml"
    path.write_text(
        "sync:\n  every_seconds: 300\n  start_at: 2026-01-01T00:00:00Z\n  task: {url: 'https://example.com/sync'}\n"
        "report:daily:\n  cron: '@daily'\n  task: {name: other.handler}\n"
    )
    found = definitions(registry(), schedules=str(path))
    assert ["sync", "report:daily"] == list(found)
    assert "2026-01-01T00:00:00+00:00" == found["sync"]["start_at"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n", "needs names"),
        ("a: [", "is no YAML"),
        ("a: {cron: '61 * * * *', task: {name: x}}", "/cron"),
        ("a: {cron: '0 3 * * *'}", "task"),
        ("a: {cron: '0 3 * * *', task: {nam: x}}", "/task/nam"),
        ("a: {cron: '0 3 * * *', task: {name: 'report:daily', args: {dya: x}}}", "did you mean 'day'"),
        ("report:daily: {cron: '0 3 * * *', task: {name: x}}", "declared twice"),
    ],
)
def test_a_fault_in_the_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "schedules.yaml"
    path.write_text(text)
    with pytest.raises((InvalidHandler, InvalidSetting)) as refused:
        declared_by(registry(every(60, args={"day": "x"})), Settings(schedules=str(path)))
    assert says in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidSetting, match=r"TASKPOST_SCHEDULES=nowhere\.yaml: cannot be read"):
        declared_by(Registry(), Settings(schedules="nowhere.yaml"))


def test_an_empty_file_declares_nothing(tmp_path: Path) -> None:
    path = tmp_path / "schedules.yaml"
    path.write_text("# none yet\n")
    assert [] == declared_by(Registry(), Settings(schedules=str(path)))
