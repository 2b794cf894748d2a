"""
Schedules as `cli_screen` shows them: all in a table, one with what comes next and what has been.

Owns which facts are shown, and in what order. Refuses to fetch anything.
The fact to know: times of a schedule are shown in its own zone, as its author thinks of them, with UTC beside where
there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from service.cli_screen import Column, Screen, clock, one_line, relative, span
from service.cli_show import json_text
from service.client.schedules import Owner, Preview, Schedule, ScheduleRun

WIDE = 120
MOST_RUNS = 10
TASK_FIELDS = ("args", "method", "headers", "body", "body_text", "metadata", "tags", "callback")


def show_schedules(screen: Screen, found: Sequence[Schedule], now: datetime) -> None:
    """A line each; what it does only where there is room."""
    columns = [Column("SCHEDULE", shrinks=True), Column("STATE"), Column("WHEN", shrinks=True)]
    columns += [Column("NEXT RUN"), Column("LOCAL TIME"), Column("ZONE", shrinks=True)]
    columns += [Column("LAST RUN")]
    has_room = screen.width is None or screen.width >= WIDE
    columns += [Column("TASK", shrinks=True)] if has_room else []
    rows = [
        [
            one_line(one.name),
            screen.state(one.state),
            one_line(one.explanation.removesuffix(f", {one.timezone}")),
            relative(one.next_run_at, now),
            local_text(one.next_run_local, now),
            one_line(one.timezone),
            last_text(screen, one, now),
        ]
        + ([one_line(one.what)] if has_room else [])
        for one in found
    ]
    screen.table(columns, rows)


def local_text(local: str | None, now: datetime) -> str:
    """A local time without its offset, as short as it is still plain: `Tue 03:00`, `24 Dec 18:00`, `2027-01-31`."""
    if not local:
        return ""
    at = datetime.fromisoformat(local)
    if at - now < timedelta(days=6):
        return f"{at:%a %H:%M}"
    return f"{at:%d %b %H:%M}" if at.year == now.year else f"{at:%Y-%m-%d}"


def last_text(screen: Screen, schedule: Schedule, now: datetime) -> str:
    if schedule.last_run is None:
        return ""
    # A task that is no longer kept has no state.
    mark = f"{screen.mark(schedule.last_run.state)} " if schedule.last_run.state else ""
    return f"{mark}{relative(schedule.last_run.fire_time, now)}"


# ---------------------------------------------------------------- one schedule


def show_schedule(
    screen: Screen, schedule: Schedule, preview: Preview, runs: Sequence[ScheduleRun], now: datetime
) -> None:
    """The definition, the next occurrences, the last ones."""
    screen.line(f"{screen.state(schedule.state)}  {one_line(schedule.name)}")
    screen.fields([*when_it_fires(schedule), *what_it_does(screen, schedule), *how_it_goes(screen, schedule, now)])
    if schedule.state != "ended" and preview.items:
        screen.line("")
        if schedule.state == "paused":
            screen.line(screen.faint("It is paused; resumed, it would fire next:"))
        show_preview(screen, preview, now)
    if runs:
        screen.line("")
        show_runs(screen, runs[:MOST_RUNS], now)
        if len(runs) > MOST_RUNS:
            screen.note(f"There are more: taskpost schedules runs {schedule.name}")


def when_it_fires(schedule: Schedule) -> list[tuple[str, str]]:
    rows = [("when", one_line(schedule.explanation))]
    rows += [("description", one_line(schedule.description))] if schedule.description else []
    rows += [("cron", "\n".join(map(one_line, schedule.cron.splitlines())))] if schedule.cron else []
    rows += [("zone", one_line(schedule.timezone))]
    if schedule.start_at or schedule.end_at:
        start = f"from {clock(schedule.start_at)}" if schedule.start_at else ""
        end = f"until {clock(schedule.end_at)}" if schedule.end_at else ""
        rows.append(("within", f"{start} {end}".strip()))
    rows += [("jitter", f"up to {span(schedule.jitter_seconds)}")] if schedule.jitter_seconds else []
    return rows


def what_it_does(screen: Screen, schedule: Schedule) -> list[tuple[str, str]]:
    task = schedule.task
    rows = [("task", one_line(schedule.what))]
    rows += [(name.replace("_", " "), json_text(screen, task[name])) for name in TASK_FIELDS if name in task]
    others = {name: one for name, one in task.items() if name not in (*TASK_FIELDS, "name", "url")}
    rows += [("options", json_text(screen, others))] if others else []
    late = f"{schedule.misfire}, when over {span(schedule.misfire_grace_seconds)} late"
    return [*rows, ("misfire", late), ("overlap", schedule.overlap)]


def how_it_goes(screen: Screen, schedule: Schedule, now: datetime) -> list[tuple[str, str]]:
    most = f" of {schedule.max_runs:,}" if schedule.max_runs else ""
    rows = [("runs", f"{schedule.runs:,}{most}")]
    if schedule.last_run is not None:
        state = screen.state(schedule.last_run.state) if schedule.last_run.state else "no longer kept"
        rows.append(("last task", f"{schedule.last_run.task_id}  {state}"))
    if schedule.owner is not None:
        rows.append(("declared by", owner_text(schedule.owner)))
    if schedule.also_declared_by is not None:
        rows.append(("and by", f"{owner_text(schedule.also_declared_by)}, which does not get the name"))
    if schedule.updated_at is not None:
        rows.append(("changed", f"{clock(schedule.updated_at)} ({relative(schedule.updated_at, now)})"))
    return rows


def owner_text(owner: Owner) -> str:
    return one_line(f"{owner.application} {owner.version}")


def show_preview(screen: Screen, preview: Preview, now: datetime) -> None:
    """Occurrences to come, in UTC and as local times with their offset."""
    if not preview.items:
        screen.note("no occurrence is to come")
        return
    columns = [Column("NEXT, UTC"), Column("LOCAL"), Column("", is_right=False)]
    rows = [
        (f"{one.run_at:%Y-%m-%d %H:%M:%S}", one_line(one.local_time.replace("T", " ")), relative(one.run_at, now))
        for one in preview.items
    ]
    screen.table(columns, rows)


def show_runs(screen: Screen, runs: Sequence[ScheduleRun], now: datetime) -> None:
    """What became of occurrences, with the tasks: theirs, or those that were in their way."""
    columns = [Column("OCCURRENCE, UTC", shrinks=True), Column("OUTCOME"), Column("WHEN"), Column("TASK")]
    columns += [Column("STATE")]
    rows = [
        (
            f"{one.fire_time:%Y-%m-%d %H:%M:%S}",
            screen.state(one.outcome) + (f", {one.missed:,} of them" if (one.missed or 0) > 1 else ""),
            relative(one.at, now),
            one.task_id or "",
            screen.state(one.task_state) if one.task_state else "",
        )
        for one in runs
    ]
    screen.table(columns, rows)
