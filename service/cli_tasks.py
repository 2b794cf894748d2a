"""
`taskpost get | wait | cancel | delete | list | handlers`: the API, readably.

The fact to know: `--json` prints what the API says, one object a line, lists too (NDJSON), as programs like to read it.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

import orjson

from service import cli_values as values
from service.cli_screen import Screen, clean
from service.cli_search import add_edits, add_filters, edits, filters
from service.cli_show import show_handlers, show_task, show_tasks
from service.cli_wait import FAULT, wait
from service.client.blocking import Taskpost
from service.client.errors import ApiError
from service.client.types import Task, View
from service.settings import ClientSettings

PAGE = 50
RETRIES = 2  # people see sooner than programs that nobody answers


def add_api(parser: ArgumentParser) -> None:
    """The options of every command that asks the API."""
    api = parser.add_argument_group("the API")
    api.add_argument("--api", metavar="URL", help="where it is (TASKPOST_URL, else http://127.0.0.1:8080)")
    api.add_argument("--json", action="store_true", help="print what it says as JSON, one object a line")


def client(options: Namespace, env: Mapping[str, str]) -> Taskpost:
    settings = ClientSettings.from_env(env, url=options.api)
    return Taskpost(settings.url, settings.api_key, retries=RETRIES)


def add_ids(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", metavar="ID", help="id of a task")


def for_each(options: Namespace, screen: Screen, do: Callable[[str], None]) -> int:
    """Do it for each id; a fault of one is told, and does not keep the others from it."""
    status = 0
    for id_ in options.ids:
        try:
            do(id_)
        except ApiError as exc:
            if len(options.ids) == 1:
                raise
            screen.note(f"{id_}: {exc}")
            status = FAULT
    return status


# ---------------------------------------------------------------- one task


def define_get(parser: ArgumentParser) -> None:
    parser.description = "Show tasks: state, times, attempts, result or error."
    parser.epilog = "examples:\n  taskpost get 01M819EKHX02FJFH0TDFHXG001\n  taskpost get $ID --json | jq .result"
    add_ids(parser)
    add_api(parser)


def run_get(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    with client(options, env) as api:
        return for_each(options, screen, lambda id_: print_task(options, screen, api.get(id_)))


def define_wait(parser: ArgumentParser) -> None:
    parser.description = "Wait until a task has ended, with its progress, and show it."
    parser.epilog = (
        "exit status: 0 succeeded; 1 failed, cancelled or expired; 124 still going on after --timeout; 2 anything else"
        "\n\nexamples:\n  taskpost wait $ID --timeout 5m && echo done\n  taskpost wait $ID --quiet > result.json"
    )
    parser.add_argument("id", metavar="ID", help="id of the task")
    parser.add_argument(
        "--timeout", metavar="TIME", type=values.duration, default=math.inf, help="90s, 5m, …; else without end"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the result")
    add_api(parser)


def run_wait(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    with client(options, env) as api:
        task, status = wait(api, screen, api.get(options.id), options.timeout)
    if options.quiet and not options.json:
        print_result(screen, task)
    else:
        print_task(options, screen, task)
    return status


def say_each(options: Namespace, screen: Screen, env: Mapping[str, str], act: Callable[[Taskpost, str], Task]) -> int:
    """*act* with each task, and a line of how it stands then."""

    def say(id_: str) -> None:
        task = act(api, id_)
        screen.json(task.raw) if options.json else screen.line(f"{screen.state(task.state)}  {task.id}")

    with client(options, env) as api:
        return for_each(options, screen, say)


def define_cancel(parser: ArgumentParser) -> None:
    parser.description = "Cancel tasks. One that waits is cancelled at once, one that runs is told to stop."
    add_ids(parser)
    add_api(parser)


def run_cancel(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    return say_each(options, screen, env, Taskpost.cancel)


def define_replay(parser: ArgumentParser) -> None:
    parser.description = "Do ended tasks once more, each as a new task; a callback is delivered again."
    parser.epilog = "`taskpost bulk replay` does so with all that a filter means."
    add_ids(parser)
    add_edits(parser)
    add_api(parser)


def run_replay(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    given = edits(options)
    return say_each(options, screen, env, lambda api, id_: api.replay(id_, **given))


def define_run(parser: ArgumentParser) -> None:
    parser.description = "Let tasks start now that wait for their time, or for a retry."
    add_ids(parser)
    add_api(parser)


def run_run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    return say_each(options, screen, env, Taskpost.run)


def define_reschedule(parser: ArgumentParser) -> None:
    parser.description = "Change when waiting tasks start, their priority, or both."
    parser.epilog = "examples:\n  taskpost reschedule ID --delay 2h\n  taskpost reschedule ID --priority 9"
    add_ids(parser)
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--delay", metavar="TIME", type=values.duration, help="start no earlier than in this time")
    when.add_argument("--at", metavar="TIME", type=values.moment, help="start no earlier than at this time")
    parser.add_argument("--priority", type=int, metavar="0-9", help="9 goes first, 0 last")
    add_api(parser)


def run_reschedule(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    def change(id_: str) -> None:
        task = api.reschedule(id_, delay_seconds=options.delay, run_at=options.at, priority=options.priority)
        told = (
            f"{screen.state(task.state)}  {task.id}  priority {task.priority}  due {task.run_at:%Y-%m-%d %H:%M:%S} UTC"
        )
        screen.json(task.raw) if options.json else screen.line(told)

    with client(options, env) as api:
        return for_each(options, screen, change)


def define_delete(parser: ArgumentParser) -> None:
    parser.description = "Delete tasks that have ended, with their results and attempts."
    add_ids(parser)
    add_api(parser)


def run_delete(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    def delete(id_: str) -> None:
        api.delete(id_)
        screen.json({"id": id_, "deleted": True}) if options.json else screen.line(f"deleted  {id_}")

    with client(options, env) as api:
        return for_each(options, screen, delete)


def print_task(options: Namespace, screen: Screen, task: Task) -> None:
    screen.json(task.raw) if options.json else show_task(screen, task, datetime.now(UTC))


def print_result(screen: Screen, task: Task) -> None:
    """The result alone: text as it is, anything else as JSON. Without one, why, on standard error."""
    if task.has_result:
        is_text = isinstance(task.result, str)
        screen.line(clean(task.result) if is_text else orjson.dumps(task.result).decode())
    elif task.error is not None:
        screen.note(f"task {task.id} has no result, it {task.state}: {task.error.type}: {task.error.message}")
    else:
        screen.note(f"task {task.id} has no result; its state is {task.state}")


# ---------------------------------------------------------------- lists


def define_list(parser: ArgumentParser) -> None:
    parser.description = (
        "List tasks: queued ones by their place in the queue, scheduled ones by due time, all others newest first. "
        "States in which tasks have ended go by the time of their end."
    )
    parser.epilog = (
        "examples:\n  taskpost list --state failed --queue mail\n"
        "  taskpost list --state failed --status 5xx --finished-after 2h\n"
        "  taskpost list --name 'email:*' --error 'Http*' --created-after '2026-11-22 03:00'\n"
        "  taskpost list --tag customer-42 --all --json | jq -r .id"
    )
    add_filters(parser)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--limit", metavar="N", type=int, default=PAGE, help=f"so many at the most ({PAGE})")
    amount.add_argument("--all", action="store_true", help="all of them")
    add_api(parser)


def run_list(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    limit = None if options.all else options.limit
    wanted = filters(options)
    with client(options, env) as api:
        # One more than is shown tells whether there are more.
        tasks = api.list(**wanted, limit=None if limit is None else limit + 1)
        if options.json:
            for one in islice(tasks, limit):
                screen.json(one.raw)
                if screen.is_gone:
                    break
            return 0
        shown = list(islice(tasks, limit))
        has_more = next(tasks, None) is not None
    if not shown:
        screen.note("no tasks" if not wanted else "no tasks match")
        return 0
    show_tasks(screen, shown, datetime.now(UTC))
    if has_more:
        screen.note("There are more: --limit N or --all shows them.")
    return 0


def define_plain(description: str) -> Callable[[ArgumentParser], None]:
    """The definition of a command without options of its own."""

    def define(parser: ArgumentParser) -> None:
        parser.description = description
        add_api(parser)

    return define


define_handlers = define_plain("List the handlers that workers have published, with their arguments.")


def run_handlers(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    with client(options, env) as api:
        found = api.handlers()
    nothing = "no worker has published a handler; start one with `taskpost worker --handlers module`"
    return print_list(options, screen, found, lambda: show_handlers(screen, found), nothing)


def print_list(
    options: Namespace, screen: Screen, found: Sequence[View], show: Callable[[], None], nothing: str
) -> int:
    if options.json:
        for one in found:
            screen.json(one.raw)
    elif found:
        show()
    else:
        screen.note(nothing)
    return 0
