"""
`taskpost bulk`: cancels, replays, reschedules or deletes all tasks that a filter means, and shows how far that is.

The fact to know: what is meant is counted and shown first; nothing is done before somebody has said yes.
"""

from __future__ import annotations

import sys
import time
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from service import cli_values as values
from service.cli_screen import Column, Screen, one_line, relative
from service.cli_search import add_edits, add_filters, edits, filters
from service.cli_show import show_tasks
from service.cli_tasks import add_api, client, for_each, print_list
from service.client.blocking import Taskpost
from service.client.bulk import Bulk, BulkCount
from service.client.search import Filters

WORK = ("cancel", "replay", "reschedule", "priority", "delete")
ACTIONS = ("list", "show", "abort", *WORK)
LOOK_SECONDS = 0.5
ABORTED = 1
EPILOG = """\
Without --yes the tasks are counted, some are shown, and you are asked. Only tasks that are there when it begins are
meant. The scheduler does the work: it goes on when this command is gone, and `taskpost bulk abort ID` stops it.

examples:
  taskpost bulk cancel --queue mail --created-after 2h
  taskpost bulk replay --name 'email:*' --status 5xx --canary 10 --rate 50
  taskpost bulk replay --error ValueError --arg locale=de --yes
  taskpost bulk reschedule --queue reports --delay 1h
  taskpost bulk priority --tag customer-42 --priority 9
  taskpost bulk delete --state succeeded --finished-before 1d --yes --detach
  taskpost bulk                                     what is under way, and what was"""
USAGE = """taskpost bulk [list]
       taskpost bulk show|abort ID …
       taskpost bulk cancel|replay|reschedule|priority|delete [which tasks] [how]"""
NOTHING = "nothing has been done to many tasks; `taskpost bulk --help` shows how"


def define(parser: ArgumentParser) -> None:
    parser.description = "Cancel, replay, reschedule or delete all tasks that a filter means."
    parser.usage, parser.epilog = USAGE, EPILOG
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", metavar="ACTION", help=SUPPRESS)
    parser.add_argument("ids", nargs="*", help=SUPPRESS)
    add_filters(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--yes", action="store_true", help="do it without asking")
    how.add_argument("--count", action="store_true", help="count and show some, and do nothing")
    how.add_argument("--detach", action="store_true", help="do not wait for its end")
    how.add_argument("--rate", metavar="N", type=float, help="to so many a second at most")
    how.add_argument("--canary", metavar="N", type=int, help="replay: the first so many run before the others follow")
    how.add_argument("--max-failures", metavar="N", type=int, help="replay: so many canaries may fail (0)")
    how.add_argument("--delay", metavar="TIME", type=values.duration, help="reschedule: not before this time is over")
    how.add_argument("--at", metavar="TIME", type=values.moment, help="reschedule: not before this time")
    add_edits(parser)
    add_api(parser)


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    check_options(options)
    with client(options, env) as api:
        if options.action == "list":
            found = api.bulks()
            return print_list(options, screen, found, lambda: show_all(screen, found), NOTHING)
        if options.action in ("show", "abort"):
            read = api.bulk if options.action == "show" else api.abort_bulk
            return for_each(options, screen, lambda id_: print_bulk(options, screen, read(id_)))
        return carry(options, screen, api, options.action, filters(options), asked(options))


def check_options(options: Namespace) -> None:
    """Raises ArgumentTypeError for what is missing, or belongs to another action."""
    action = options.action
    if action in ("show", "abort") and not options.ids:
        raise ArgumentTypeError(f"which work? taskpost bulk {action} ID; `taskpost bulk` lists it")
    if action not in ("show", "abort") and options.ids:
        raise ArgumentTypeError(f"{one_line(options.ids[0])!r} is too much: which tasks is said by --queue, --tag …")
    if action in WORK and not filters(options):
        raise ArgumentTypeError("which tasks? --state, --queue, --name, --tag …; `taskpost bulk --help` has all")
    if action == "priority" and options.priority is None:
        raise ArgumentTypeError("which priority? taskpost bulk priority --priority 9 …")
    if action == "reschedule" and options.delay is None and options.at is None:
        raise ArgumentTypeError("when? taskpost bulk reschedule --delay 1h … or --at 18:30")
    given = {"--canary": options.canary, "--max-failures": options.max_failures}
    given |= {f"--{name}": value for name, value in edits(options).items() if name != "priority"}
    for name in [name for name, value in given.items() if value is not None]:
        if action != "replay":
            raise ArgumentTypeError(f"{name.replace('--args', '--arg')} goes with replay")


def asked(options: Namespace) -> dict[str, Any]:
    """What is asked for beside the filter."""
    given: dict[str, Any] = {"rate_per_second": options.rate}
    if options.action == "replay":
        given["edits"] = edits(options) or None
        if options.canary is not None:
            given["canary"] = {"tasks": options.canary, "max_failures": options.max_failures or 0}
    elif options.action == "priority":
        given["priority"] = options.priority
    elif options.action == "reschedule":
        given |= {"delay_seconds": options.delay, "run_at": options.at}
    return given


def carry(
    options: Namespace, screen: Screen, api: Taskpost, action: str, wanted: Filters, given: Mapping[str, Any]
) -> int:
    """Count what is *wanted*, ask, begin the *action*, wait."""
    if options.count or not options.yes:
        count = api.count_bulk(action, wanted, **given)
        show_count(options, screen, count)
        if options.count or not count.matched or not confirmed(action, screen, count):
            return 0
    bulk = api.begin_bulk(action, wanted, **given)
    if options.detach:
        print_bulk(options, screen, bulk)
        return 0
    while not bulk.is_over:
        time.sleep(LOOK_SECONDS)
        bulk = api.bulk(bulk.id)
        if not options.json and not bulk.is_over:
            screen.note(progress(bulk))
    print_bulk(options, screen, bulk)
    return ABORTED if bulk.state == "aborted" else 0


def confirmed(action: str, screen: Screen, count: BulkCount) -> bool:
    """Whether somebody says yes."""
    if not sys.stdin.isatty():
        screen.note("nothing was done; --yes does it without asking")
        return False
    screen.note(f"{action} {told(count)}? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def told(count: BulkCount) -> str:
    least = "" if count.is_exact else "at least "
    return f"{least}{count.matched:,} task{'s' * (count.matched != 1)}"


def show_count(options: Namespace, screen: Screen, count: BulkCount) -> None:
    if options.json:
        if options.count:
            screen.json(count.raw)
        return
    if count.sample:
        show_tasks(screen, count.sample, datetime.now(UTC))
    rest = "" if len(count.sample) == count.matched and count.is_exact else ", of which these are the first"
    screen.line(f"{told(count)} would be meant{rest if count.sample else ''}")


def progress(bulk: Bulk) -> str:
    share = min(100, 100 * bulk.examined // max(1, bulk.to_examine))
    skipped = f", {bulk.skipped:,} left as they were" if bulk.skipped else ""
    return f"{share} %: {bulk.done:,} done{skipped}"


def print_bulk(options: Namespace, screen: Screen, bulk: Bulk) -> None:
    if options.json:
        screen.json(bulk.raw)
        return
    why = f"  {one_line(bulk.reason)}" if bulk.reason else ""
    screen.line(f"{screen.state(bulk.state)}  {bulk.id}  {bulk.action}  {progress(bulk)}{why}")


def show_all(screen: Screen, found: list[Bulk]) -> None:
    now = datetime.now(UTC)
    columns = (
        Column("STATE"), Column("ID"), Column("ACTION"), Column("WHICH", shrinks=True), Column("DONE", is_right=True),
        Column("BEGUN"), Column("WHY", shrinks=True),
    )  # fmt: skip
    rows = [
        (
            screen.state(one.state), one.id, one.action,
            one_line(" ".join(f"{name}={value}" for name, value in one.filter.items())), f"{one.done:,}",
            relative(one.created_at, now), one_line(one.reason or ""),
        )
        for one in found
    ]  # fmt: skip
    screen.table(columns, rows)
