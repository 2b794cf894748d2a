"""
`taskpost tail`: what happens to tasks, a line each, as it happens.

The fact to know: a connection that breaks is made again and goes on behind the last event; what could not be had is
said on standard error.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from service.cli_screen import Screen, aligned, clean, cut, one_line
from service.cli_search import states
from service.cli_tasks import add_api, client
from service.client.blocking import Taskpost
from service.client.errors import ClientError
from service.client.live import Event, EventFilters
from service.client.types import Progress
from service.task import ENDED

SUCCEEDED, ENDED_OTHERWISE = 0, 1
FILTERS = ("state", "queue", "name", "tag", "parent", "schedule", "rate")
NAME_COLUMNS = 24

EPILOG = """\
examples:
  taskpost tail                            everything
  taskpost tail --state failed --json      failures, for a program
  taskpost tail --queue mail --name 'email:*' --rate 5
  taskpost tail ID                         one task with its log, to its end; exit status 0: it succeeded"""


def define(parser: ArgumentParser) -> None:
    parser.description = "Show what happens to tasks, as it happens."
    parser.epilog = EPILOG
    parser.add_argument("ids", metavar="ID", nargs="*", help="only these tasks; of one its log too, to its end")
    which = parser.add_argument_group("which events; all that is given must hold")
    which.add_argument("--state", metavar="STATE", type=states, help="by which a task came into it; several by comma")
    which.add_argument("--queue", help="of tasks of this queue")
    which.add_argument("--name", metavar="NAME", help="for the handler of this name; * for any text: 'email:*'")
    which.add_argument("--tag", help="of tasks with this tag")
    which.add_argument("--parent", metavar="ID", help="of parts of this task")
    which.add_argument("--schedule", metavar="NAME", help="of tasks that this schedule made")
    which.add_argument("--no-progress", action="store_true", help="nothing of how far tasks are")
    parser.add_argument("--rate", type=float, metavar="N", help="at most so many a second; the others are counted")
    add_api(parser)


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    last: Event | None = None
    with client(options, env) as api:
        for event in followed(api, options, screen):
            show(event, screen, options.json)
            last = event if event.kind == "task" else last
            if screen.is_gone:
                break
    if last is None or last.state not in ENDED:
        return SUCCEEDED
    return SUCCEEDED if last.state == "succeeded" else ENDED_OTHERWISE


def followed(api: Taskpost, options: Namespace, screen: Screen) -> Iterator[Event]:
    """The events that are asked for."""

    def when_broken(exc: ClientError) -> None:
        screen.note(f"{exc}; trying again")

    given: dict[str, Any] = {name: getattr(options, name) for name in FILTERS if getattr(options, name) is not None}
    if len(options.ids) == 1 and not given and not options.no_progress:
        return api.follow(options.ids[0], when_broken=when_broken)
    # The names are those of EventFilters, which mypy does not see.
    filters: EventFilters = {**given, "id": options.ids or None}  # type: ignore[typeddict-item]
    if options.no_progress:
        filters["progress"] = False
    return api.events(when_broken=when_broken, **filters)


def show(event: Event, screen: Screen, is_json: bool) -> None:
    if is_json:
        screen.json(event.raw)
    elif event.kind == "omitted":
        counts = ", ".join(f"{count:,} {what}" for what, count in (event.states or {}).items())
        screen.line(screen.faint(f"{'':12}  … and {event.count:,} more: {counts}"))
    elif event.kind in ("gap", "closing"):
        screen.note(f"{event.detail or event.reason}")
    else:
        screen.line(line_of(event, screen))


def line_of(event: Event, screen: Screen) -> str:
    """Time, id, name, state, and what there is to say of it."""
    at = (event.at or datetime.now().astimezone()).astimezone()
    start = f"{at:%H:%M:%S}.{at.microsecond // 1000:03}  {clean(event.id)}"
    if event.kind == "log":
        level = clean(event.level or "")
        return f"{start}  {screen.answers.painted(level, f'{level:8}')}  {clean(event.message or '')}"
    name = aligned(cut(one_line(event.name or event.url or ""), NAME_COLUMNS), NAME_COLUMNS)
    words = [start, name, aligned(screen.state(event.state), 12)]
    if event.attempt:
        words.append(f"attempt {event.attempt}")
    if event.progress is not None:
        words.append(progress_words(event.progress))
    if event.error is not None:
        words.append(screen.answers.painted("failed", one_line(f"{event.error.type}: {event.error.message}")))
    return "  ".join(words).rstrip()


def progress_words(progress: Progress) -> str:
    """How far, and what it is doing: `30% attachments`."""
    far = f"{progress.current / progress.total:.0%}" if progress.total else f"{progress.current:g}"
    return f"{far} {one_line(progress.message)}" if progress.message else far
