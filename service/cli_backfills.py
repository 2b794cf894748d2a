"""
`taskpost schedules backfill | backfills | abort`: a past range of a schedule, counted, begun, watched, aborted.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime

from service import cli_values as values
from service.cli_screen import Column, Screen, one_line, relative
from service.cli_tasks import print_list
from service.client.blocking import Taskpost
from service.client.schedules import Backfill, BackfillCount

ACTIONS = ("backfill", "backfills", "abort")


def define_backfill(parser: ArgumentParser) -> None:
    past = parser.add_argument_group("a past range (backfill)")
    past.add_argument("--from", dest="since", metavar="TIME", type=values.moment, help="its first moment")
    past.add_argument("--to", dest="until", metavar="TIME", type=values.moment, help="its last moment (now)")
    past.add_argument("--dry-run", action="store_true", help="count the occurrences, and fire none")
    past.add_argument("--rate", metavar="N", type=float, help="so many tasks a second (10)")
    past.add_argument("--one-by-one", action="store_true", help="each only when the task before it has ended")


def check_backfill(options: Namespace) -> None:
    """Raises ArgumentTypeError for what is missing, or belongs to another action."""
    has_options = options.since or options.until or options.dry_run or options.rate or options.one_by_one
    if has_options and options.action != "backfill":
        raise ArgumentTypeError(
            "--from, --to, --dry-run, --rate, --one-by-one go with backfill: taskpost schedules backfill NAME --from …"
        )
    if options.action == "backfill" and options.since is None:
        raise ArgumentTypeError(f"from when on? taskpost schedules backfill {options.words[0]} --from 2026-11-01")
    if options.action == "abort" and len(options.words) != 2:
        raise ArgumentTypeError("abort needs the schedule and the backfill: taskpost schedules abort NAME ID")


def run_backfill(options: Namespace, screen: Screen, api: Taskpost) -> int:
    name = options.words[0]
    if options.action == "backfills":
        found = api.backfills(name)
        return print_list(options, screen, found, lambda: show_backfills(screen, found), "there was no backfill yet")
    if options.action == "abort":
        print_backfill(options, screen, api.abort_backfill(name, options.words[1]))
    elif options.dry_run:
        print_count(options, screen, api.count_backfill(name, options.since, options.until))
    else:
        begun = api.backfill_schedule(
            name,
            options.since,
            options.until,
            rate_per_second=options.rate,
            overlap="one_by_one" if options.one_by_one else None,
        )
        print_backfill(options, screen, begun)
        if not options.json:
            screen.note(f"taskpost schedules backfills {name} shows how far it is, abort {name} {begun.id} ends it.")
    return 0


def print_count(options: Namespace, screen: Screen, count: BackfillCount) -> None:
    if options.json:
        screen.json(count.raw)
        return
    more = "" if count.is_exact else "more than "
    screen.line(f"{more}{count.total:,} {'occurrence' if count.total == 1 else 'occurrences'}")
    if count.first_fire_time and count.last_fire_time:
        screen.fields([("first", f"{count.first_fire_time:%Y-%m-%d %H:%M:%S} UTC"),
                       ("last", f"{count.last_fire_time:%Y-%m-%d %H:%M:%S} UTC")])  # fmt: skip


def print_backfill(options: Namespace, screen: Screen, backfill: Backfill) -> None:
    if options.json:
        screen.json(backfill.raw)
    else:
        progress = f"{backfill.done:,} of {backfill.total:,}"
        screen.line(f"{screen.state(backfill.state)}  {one_line(backfill.id)}  {progress}")


def show_backfills(screen: Screen, found: Sequence[Backfill]) -> None:
    now = datetime.now(UTC)
    columns = [Column("BACKFILL"), Column("STATE"), Column("DONE", is_right=True), Column("FROM, UTC")]
    columns += [Column("TO, UTC"), Column("A SECOND", is_right=True), Column("BEGUN")]
    rows = [
        (
            one_line(one.id),
            screen.state(one.state),
            f"{one.done:,} of {one.total:,}",
            f"{one.start_at:%Y-%m-%d %H:%M}",
            f"{one.end_at:%Y-%m-%d %H:%M}",
            f"{one.rate_per_second:g}",
            relative(one.created_at, now),
        )
        for one in found
    ]
    screen.table(columns, rows)
