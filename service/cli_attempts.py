"""
`taskpost attempts`: how each run of a task went, and what it logged.

Owns the look of an attempt. The fact to know: the whole log is shown, since it is bounded; `--json` prints an attempt
a line.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from service.cli_screen import Screen, clean, clock, one_line, relative, span
from service.cli_show import error_text
from service.cli_tasks import add_api, client
from service.client.types import Attempt, LogLine


def define_attempts(parser: ArgumentParser) -> None:
    parser.description = "Show how each run of a task went, oldest first: times, outcome, error, log."
    parser.epilog = (
        "examples:\n  taskpost attempts 01M819EKHX02FJFH0TDFHXG001\n"
        "  taskpost attempts $ID --json | jq -r '.log[].message'"
    )
    parser.add_argument("id", metavar="ID", help="id of the task")
    add_api(parser)


def run_attempts(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    with client(options, env) as api:
        found = api.attempts(options.id)
    if options.json:
        for one in found:
            screen.json(one.raw)
    elif found:
        show_attempts(screen, found, datetime.now(UTC))
    else:
        screen.note(f"task {options.id} has not been tried yet")
    return 0


def show_attempts(screen: Screen, attempts: Sequence[Attempt], now: datetime) -> None:
    for place, one in enumerate(attempts):
        if place:
            screen.line()
        screen.line(f"{screen.state(one.outcome or 'running')}  attempt {one.attempt}")
        rows = [("started", f"{clock(one.started_at)} ({relative(one.started_at, now)})")]
        if one.finished_at is not None:
            took = span((one.finished_at - one.started_at).total_seconds())
            rows.append(("finished", f"{clock(one.finished_at)} ({relative(one.finished_at, now)}, took {took})"))
        if one.retry_at is not None:
            rows.append(("next", f"{clock(one.retry_at)} ({relative(one.retry_at, now)})"))
        rows += [("worker", one_line(one.worker))] if one.worker else []
        rows += [("answer", f"HTTP {one.http['status']}")] if one.http and "status" in one.http else []
        rows += [("error", error_text(screen, one.error))] if one.error is not None else []
        rows += [("log", log_text(screen, one.log))] if one.log else []
        screen.fields(rows)


def log_text(screen: Screen, log: Sequence[LogLine]) -> str:
    """A line each, with the time of day in the zone of this machine; what a message has more stands below it."""
    shown: list[str] = []
    for line in log:
        first, *more = clean(line.message).split("\n")
        at = f"{line.at.astimezone():%H:%M:%S}.{line.at.microsecond // 1000:03d}"
        level = f"{one_line(line.level):8}"
        shown.append(f"{screen.faint(at)}  {screen.answers.painted(line.level, level)}  {first}")
        shown += [f"{'':24}{screen.faint(other)}" for other in more]
    return "\n".join(shown)
