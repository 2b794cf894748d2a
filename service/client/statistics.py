"""
Statistics as the client hands them out: what tasks did in a time, and how everything is now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict
from urllib.parse import quote, urlencode

import msgspec

from service.client.calls import Calls, Request, Steps
from service.client.options import Seconds
from service.client.submission import in_utc
from service.client.types import View


class Window(TypedDict, total=False):
    """
    Of what time, and of what: from *since*, or *last* seconds before *until*, which is now if left out; an hour when
    nothing is said. *queue* and *name* restrict it, *top* is how many of each are listed.
    """

    since: datetime | None
    until: datetime | None
    last: Seconds | None
    queue: str | None
    name: str | None
    top: int | None


class Period(Window, total=False):
    """A window in steps of *step* seconds, which are chosen if left out."""

    step: Seconds | None


class Times(msgspec.Struct, frozen=True):
    """How long something took; None when nothing was measured."""

    count: int
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    p99_seconds: float | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted. *submitted* is None of one name."""

    submitted: int | None = None
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    retried: int = 0
    deferred: int = 0
    released: int = 0
    crashed: int = 0
    slow: int = 0
    ended_per_second: float = 0
    error_rate: float | None = None
    wait: Times
    run: Times


class ErrorCount(msgspec.Struct, frozen=True):
    """How many attempts ended by errors of a type."""

    type: str
    count: int


class Point(msgspec.Struct, frozen=True):
    """A step of a series; how much there was is None where nobody looked."""

    begins_at: datetime
    queued: int | None
    scheduled: int | None
    running: int | None
    figures: Figures


class QueueFigures(msgspec.Struct, frozen=True):
    """A queue as it is now, and what it did in that time."""

    name: str
    queued: int
    scheduled: int
    running: int
    oldest_seconds: float | None
    figures: Figures


class NameFigures(msgspec.Struct, frozen=True):
    """What the tasks of one handler or endpoint did."""

    name: str
    figures: Figures
    errors: Sequence[ErrorCount] = ()


class Statistics(View, frozen=True, kw_only=True):
    """What tasks did from *begins_at* to *ends_at*, in all and in steps of *step_seconds*."""

    begins_at: datetime
    ends_at: datetime
    step_seconds: float
    totals: Figures
    series: Sequence[Point] = ()
    queues: Sequence[QueueFigures] = ()
    names: Sequence[NameFigures] = ()
    failing: Sequence[NameFigures] = ()
    errors: Sequence[ErrorCount] = ()


class SlowAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """
    An attempt that ran longer than its threshold, and where its time went: due before its lease, held before it began,
    and computing while it ran. None is what is not known. *times* are those of a URL's call, by their names.
    """

    task_id: str
    name: str
    queue: str
    attempt: int
    outcome: str
    worker: str
    ended_at: datetime
    threshold_seconds: float
    run_seconds: float
    wait_seconds: float | None = None
    hold_seconds: float | None = None
    busy_seconds: float | None = None
    report_seconds: float | None = None
    times: Mapping[str, float | None] | None = None


class SlowAttempts(View, frozen=True, kw_only=True):
    """The slowest attempts from *begins_at* to *ends_at*, the slowest first."""

    begins_at: datetime
    ends_at: datetime
    items: Sequence[SlowAttempt] = ()


class TasksNow(msgspec.Struct, frozen=True):
    """The tasks of all queues that have not ended."""

    queued: int
    scheduled: int
    running: int
    oldest_seconds: float | None = None


class QueueNow(msgspec.Struct, frozen=True):
    """A queue that holds tasks."""

    name: str
    queued: int
    scheduled: int
    running: int
    oldest_seconds: float | None = None


class WorkersNow(msgspec.Struct, frozen=True):
    """The live workers, summed up."""

    live: int
    quiet: int
    slots: Mapping[str, int]
    running: int


class RedisNow(msgspec.Struct, frozen=True):
    """The servers that hold everything; None is what they do not tell."""

    server: str
    servers: int
    used_bytes: int | None = None
    most_bytes: int | None = None
    is_append_only: bool | None = None
    evicts: bool | None = None


class Overview(View, frozen=True, kw_only=True):
    """How everything is now; *warnings* say what should be mended."""

    version: str
    shards: int
    now_at: datetime
    tasks: TasksNow
    queues: Sequence[QueueNow] = ()
    workers: WorkersNow
    redis: RedisNow
    warnings: Sequence[str] = ()


class StatisticsCalls:
    """The operations that read how tasks went, and how everything is."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def stats(self, period: Period) -> Steps[Statistics]:
        return (yield from self._calls.read(Statistics, Request("GET", "/v1/stats" + asked_of(period))))

    def slow(self, window: Window) -> Steps[SlowAttempts]:
        return (yield from self._calls.read(SlowAttempts, Request("GET", "/v1/stats/slow" + asked_of(window))))

    def overview(self) -> Steps[Overview]:
        return (yield from self._calls.read(Overview, Request("GET", "/v1/overview")))


def asked_of(period: Window) -> str:
    """*period* as what stands behind a path."""
    asked = urlencode(query_of(period), quote_via=quote)
    return f"?{asked}" if asked else ""


def query_of(period: Window) -> dict[str, str]:
    """*period* as the API asks for it. Raises ValueError: a time without a zone."""
    found: dict[str, str] = {}
    for name, key in (("since", "from"), ("until", "to"), ("last", "last_seconds"), ("step", "step_seconds"),
                      ("queue", "queue"), ("name", "name"), ("top", "top")):  # fmt: skip
        match period.get(name):
            case None:
                continue
            case datetime() as at:
                found[key] = in_utc(name, at)
            case timedelta() as span:
                found[key] = f"{span.total_seconds():.0f}"
            case float() as seconds:
                found[key] = f"{seconds:.0f}"
            case other:
                found[key] = str(other)
    return found
