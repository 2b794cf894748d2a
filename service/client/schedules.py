"""
Schedules as the client says and hands them out: definitions made into the contract's JSON, and typed views.

Refuses to judge: what an expression means, and whether it can ever fire, is for the API to say.
The fact to know: a time of `at` without a zone is a local time of the schedule's zone; all others need one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypedDict
from urllib.parse import quote

import msgspec

from service.client.options import Seconds, Submission
from service.client.submission import document, in_utc
from service.client.types import View

Misfire = Literal["skip", "once", "all"]
Overlap = Literal["allow", "skip", "queue_one", "cancel_running"]


class Times(TypedDict, total=False):
    """
    When a schedule fires, with the contract's own names; several kinds fire at the times of each.

    Where the contract says seconds a timedelta will do, and for a time a datetime; `cron` may be a list of expressions.
    """

    cron: str | Sequence[str] | None
    every_seconds: Seconds | None
    anchor_at: datetime | str | None
    calendar: Mapping[str, Any] | None
    at: Iterable[datetime | str] | None
    timezone: str | None
    start_at: datetime | str | None
    end_at: datetime | str | None
    jitter_seconds: Seconds | None


class Definition(Times, total=False):
    """A schedule as its user writes it, but for its name."""

    description: str | None
    task: Submission | None
    misfire: Misfire | None
    misfire_grace_seconds: Seconds | None
    overlap: Overlap | None
    max_runs: int | None
    paused: bool | None


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """The occurrence that fired last. *state* is that of its task, None when that is no longer kept."""

    fire_time: datetime
    task_id: str
    state: str | None = None


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The application whose code declares a schedule, and the version of it that did so last."""

    application: str
    version: str = ""


class Schedule(View, frozen=True, kw_only=True):
    """A schedule as it stood when it was read. *next_run_at* is None when it does not fire any more, or is paused."""

    name: str
    state: str
    task: dict[str, Any]
    explanation: str = ""
    description: str | None = None
    cron: str | None = None
    every_seconds: float | None = None
    anchor_at: datetime | None = None
    calendar: dict[str, Any] | None = None
    at: list[str] | None = None
    timezone: str = "UTC"
    start_at: datetime | None = None
    end_at: datetime | None = None
    jitter_seconds: float | None = None
    misfire: str = "once"
    misfire_grace_seconds: float = 60
    overlap: str = "allow"
    max_runs: int | None = None
    paused: bool = False
    next_run_at: datetime | None = None
    next_run_local: str | None = None
    last_run: LastRun | None = None
    runs: int = 0
    owner: Owner | None = None
    also_declared_by: Owner | None = None
    version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<Schedule {self.name} {self.state}: {self.explanation}>"

    @property
    def what(self) -> str:
        """The handler of its tasks, or the method and URL that they call."""
        name = self.task.get("name")
        return str(name) if name is not None else f"{self.task.get('method') or 'POST'} {self.task.get('url')}"


class Occurrence(View, frozen=True, kw_only=True):
    """An occurrence to come. *run_at* is *fire_time* put off by its jitter, *local_time* that in its zone."""

    fire_time: datetime
    run_at: datetime
    local_time: str


class Preview(View, frozen=True, kw_only=True):
    """Occurrences to come, and in plain English what they follow."""

    explanation: str
    items: list[Occurrence]


class ScheduleRun(View, frozen=True, kw_only=True):
    """
    What became of an occurrence. *outcome*: fired, run_by_hand, backfilled, skipped, put_off, missed. *task_id* is its
    task, or the one that was in its way; *missed* is how many were missed from *fire_time* on.
    """

    outcome: str
    fire_time: datetime
    at: datetime
    task_id: str | None = None
    task_state: str | None = None
    missed: int | None = None


class BackfillCount(View, frozen=True, kw_only=True):
    """How many occurrences a range has. *total* is a bound where *is_exact* is False: there are more."""

    total: int
    is_exact: bool
    first_fire_time: datetime | None = None
    last_fire_time: datetime | None = None


class Backfill(View, frozen=True, kw_only=True):
    """A past range that is made up for. *state*: running, done, aborted; *done* of *total* occurrences have fired."""

    id: str
    state: str
    start_at: datetime
    end_at: datetime
    rate_per_second: float
    overlap: str
    total: int
    done: int
    last_fire_time: datetime | None = None
    last_task_id: str | None = None
    created_at: datetime
    ended_at: datetime | None = None


def schedule_path(name: str, action: str = "") -> str:
    if not name:
        raise ValueError("the name of a schedule is needed, not an empty text")
    return f"/v1/schedules/{quote(name, safe='')}{action}"


def definition_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The contract's definition; what is None is left out. Raises ValueError for a time without a zone."""
    return {key: field(key, value) for key, value in given.items() if value is not None}


def patch_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The contract's change; what is None is removed. Raises ValueError for a time without a zone."""
    return {key: None if value is None else field(key, value) for key, value in given.items()}


def field(key: str, value: Any) -> Any:
    """One field of a definition as JSON has it."""
    match value:
        case timedelta():
            return value.total_seconds()
        case datetime():
            return in_utc(key, value)
    if key == "task":
        return document(value)
    if key == "cron" and not isinstance(value, str):
        return "\n".join(value)
    if key == "at":
        return [local_or_utc(one) for one in ([value] if isinstance(value, str) else value)]
    if key == "calendar" and isinstance(anchor := value.get("anchor"), datetime):
        return {**value, "anchor": local_or_utc(anchor)}
    return value


def local_or_utc(moment: datetime | str) -> str:
    """A time as it is written: local without an offset, else in UTC."""
    if isinstance(moment, str):
        return moment
    return moment.isoformat() if moment.tzinfo is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
