"""
Tasks, workers and handlers as `cli_screen` shows them.

Owns which facts are shown, and in what order. Refuses to fetch anything.
The fact to know: what is long is cut here for people; `--json` shows everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from service.cli_screen import Column, Screen, clean, clock, one_line, relative, span
from service.client.calls import MADE_UP_KEY
from service.client.types import Handler, Task, TaskError, Worker
from service.terminal import signature

MOST_LINES = 20
TASK_COLUMNS = (
    Column("ID"),
    Column("STATE"),
    Column("TASK", shrinks=True),
    Column("QUEUE", shrinks=True),
    Column("TRY", is_right=True),
    Column("WHEN"),
)


def show_task(screen: Screen, task: Task, now: datetime) -> None:
    """Everything that matters about one task; what failed last, if it did, comes at the end."""
    screen.line(f"{screen.state(task.state)}  {task.id}  {one_line(task.what)}")
    rows = [*what_it_is(screen, task), *how_it_goes(task, now), *what_comes_after(screen, task)]
    if task.error is not None:
        rows.append(("error", error_text(screen, task.error)))
    screen.fields(rows)


def what_it_is(screen: Screen, task: Task) -> list[tuple[str, str]]:
    rows = [("unreadable", one_line(task.unreadable))] if task.unreadable else []
    rows += [("args", json_text(screen, task.args))] if task.args else []
    rows += [("headers", json_text(screen, task.headers))] if task.headers else []
    rows += [("body", json_text(screen, task.body))] if task.body is not None else []
    rows += [("queue", f"{task.queue}, priority {task.priority}")]
    rows += [("tags", one_line(", ".join(task.tags)))] if task.tags else []
    rows += [("metadata", json_text(screen, task.metadata))] if task.metadata else []
    rows += [("unique", json_text(screen, task.unique))] if task.unique is not None else []
    rows += [("debounce", json_text(screen, task.debounce))] if task.debounce is not None else []
    rows += [("this is", "an earlier task, which stands for what was submitted")] if task.deduplicated else []
    key = task.idempotency_key or ""
    # A key that the client made up means nothing to people.
    rows += [("key", one_line(key))] if key and not key.startswith(MADE_UP_KEY) else []
    return rows


def how_it_goes(task: Task, now: datetime) -> list[tuple[str, str]]:
    crashes = f", {task.crashes} lost worker{'s' * (task.crashes > 1)}" if task.crashes else ""
    rows = [("attempt", f"{task.attempt} of {task.retries + 1}{crashes}")] if task.attempt else []
    if task.created_at is not None:
        rows.append(("submitted", f"{clock(task.created_at)} ({relative(task.created_at, now)})"))
    if task.state == "scheduled" and task.run_at is not None:
        rows.append(("due", f"{clock(task.run_at)} ({relative(task.run_at, now)})"))
    if task.expires_at is not None and not task.is_ended:
        rows.append(("expires", f"{clock(task.expires_at)} ({relative(task.expires_at, now)})"))
    if task.started_at is not None:
        late = (task.started_at - task.run_at).total_seconds() if task.run_at else -1.0
        waited = f", {span(late)} after it was due" if late >= 0 else ""
        rows.append(("started", f"{clock(task.started_at)} ({relative(task.started_at, now)}{waited})"))
    if task.finished_at is not None:
        took = f", took {span((task.finished_at - task.started_at).total_seconds())}" if task.started_at else ""
        rows.append(("finished", f"{clock(task.finished_at)} ({relative(task.finished_at, now)}{took})"))
    if task.progress is not None and not task.is_ended:
        rows.append(("progress", progress_text(task)))
    if task.checkpoint is not None:
        size = f"{task.checkpoint.bytes:,} bytes"
        rows.append(("checkpoint", f"{clock(task.checkpoint.at)} ({relative(task.checkpoint.at, now)}), {size}"))
    if task.worker:
        rows.append(("worker", one_line(task.worker)))
    return rows


def what_comes_after(screen: Screen, task: Task) -> list[tuple[str, str]]:
    rows = []
    if task.callback is not None:
        sent = f", task {task.callback['task_id']}" if task.callback.get("task_id") else ""
        on = ", ".join(map(str, task.callback.get("on", [])))
        rows.append(("callback", one_line(f"{task.callback.get('url')} on {on}{sent}")))
    if task.replay_of:
        rows.append(("replay of", one_line(task.replay_of)))
    if task.callback_of:
        rows.append(("callback of", one_line(task.callback_of)))
    if task.parent:
        rows.append(("part of", one_line(task.parent)))
    if task.has_result:
        rows.append(("result", json_text(screen, task.result)))
    elif task.succeeded and not task.unreadable:
        rows.append(("result", "not kept"))
    return rows


def progress_text(task: Task) -> str:
    """`4 of 10, step 4`."""
    if task.progress is None:
        return ""
    done, total, message = task.progress.current, task.progress.total, task.progress.message
    text = f"{done:g} of {total:g}" if total else f"{done:g}"
    return one_line(f"{text}, {message}" if message else text)


def json_text(screen: Screen, value: Any) -> str:
    """A value on one line where it fits, else indented, and cut after 20 lines."""
    short = orjson.dumps(value).decode()
    if len(short) <= (screen.width or 120) - 16:
        return clean(short)
    if isinstance(value, str):
        return first_lines(value)
    return first_lines(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def first_lines(text: str) -> str:
    lines = clean(text).split("\n")
    more = len(lines) - MOST_LINES
    shown = [line if len(line) <= 1000 else f"{line[:1000]}…" for line in lines[:MOST_LINES]]
    return "\n".join([*shown, f"… {more:,} more lines; --json shows all"] if more > 0 else shown)


def error_text(screen: Screen, error: TaskError) -> str:
    """Type and message, and the end of the traceback, where the fault is."""
    text = clean(f"{error.type}: {error.message}" if error.message else error.type)
    if not error.traceback:
        return text
    lines = clean(error.traceback).rstrip().split("\n")
    if len(lines) > MOST_LINES:
        lines = [f"… {len(lines) - MOST_LINES:,} lines before; --json shows all", *lines[-MOST_LINES:]]
    return "\n".join([text, *(screen.faint(line) for line in lines)])


# ---------------------------------------------------------------- tables


def show_tasks(screen: Screen, tasks: Sequence[Task], now: datetime) -> None:
    rows = [
        (
            task.id,
            screen.state(task.state),
            one_line(task.what),
            one_line(task.queue),
            f"{task.attempt}/{task.retries + 1}" if task.attempt else "",
            when(task, now),
        )
        for task in tasks
    ]
    screen.table(TASK_COLUMNS, rows)


def when(task: Task, now: datetime) -> str:
    """The time that matters in the task's state: when it ended, began, or is due."""
    if task.is_ended:
        return relative(task.finished_at, now)
    if task.state in ("running", "cancelling"):
        return relative(task.started_at, now)
    return relative(task.run_at, now)


def show_workers(screen: Screen, workers: Sequence[Worker], now: datetime) -> None:
    columns = [
        Column("WORKER", shrinks=True),
        Column("STATE"),
        Column("RUNNING", is_right=True),
        Column("PROCESSES", is_right=True),
    ]
    columns += [Column("SLOTS", shrinks=True), Column("QUEUES", shrinks=True), Column("STARTED"), Column("SEEN")]
    rows = [
        (
            one_line(one.id),
            screen.state(one.state),
            f"{one.running:,}",
            f"{one.processes:,}",
            one_line(", ".join(f"{lane} {slots}" for lane, slots in one.slots.items())),
            one_line(", ".join(one.queues) or "all"),
            relative(one.started_at, now),
            relative(one.seen_at, now),
        )
        for one in workers
    ]
    screen.table(columns, rows)


def show_handlers(screen: Screen, handlers: Sequence[Handler]) -> None:
    columns = [Column("HANDLER", shrinks=True), Column("RUNS AS"), Column("QUEUE", shrinks=True)]
    columns += [Column("WORKERS", is_right=True), Column("WHAT IT DOES", shrinks=True)]
    rows = [
        (
            one_line(signature(one.raw)),
            one_line(one.lane),
            one_line(one.queue),
            f"{one.workers:,}" if one.workers else "none",
            one_line(one.description or ""),
        )
        for one in handlers
    ]
    screen.table(columns, rows)
