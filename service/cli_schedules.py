"""
`taskpost schedules`: lists schedules, shows one whole, adds, changes, pauses, runs, previews, makes up for and deletes
them.

Owns which option means which field of a definition. Refuses to judge times: the API does, and says what is wrong.
"""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from service import cli_values as values
from service.cli_backfills import ACTIONS as BACKFILLS
from service.cli_backfills import check_backfill, define_backfill, run_backfill
from service.cli_schedule_show import show_preview, show_runs, show_schedule, show_schedules
from service.cli_screen import Screen, one_line
from service.cli_submit import define_effort, define_labels, define_target, target, task_options
from service.cli_tasks import add_api, client, for_each, print_list
from service.client.blocking import Taskpost
from service.client.errors import StateConflict
from service.client.schedules import Schedule

ACTIONS = ("list", "show", "runs", "add", "change", "pause", "resume", "run", "preview", "delete", *BACKFILLS)
WITH_TASK = ("add", "change")
WITH_TIMES = (*WITH_TASK, "preview")
PAGE, NEXT = 50, 5
EPILOG = """\
times: several kinds fire at the times of each. cron has five fields (minute hour day-of-month month day-of-week), or
    six with seconds in front; @daily, L, MON#2 and H (spread by the name) too. Local times are those of --tz.
what to do is said as with `taskpost submit`. {{ fire_time }}, {{ previous_fire_time }} and {{ schedule }} in it are
    filled in, times by a filter if need be: {{ fire_time | date }}, time, local, epoch.

examples:
  taskpost schedules                                  all, with their next and last run
  taskpost schedules add nightly --cron '0 3 * * *' --tz Asia/Shanghai report:daily day='{{ fire_time | date }}'
  taskpost schedules add sync --every 5m --overlap skip --url https://example.com/sync
  taskpost schedules add party --at '2026-12-24 18:00' --tz Europe/Berlin email:send to=all@example.com
  taskpost schedules change nightly --cron '0 4 * * MON-FRI' --retries 5
  taskpost schedules preview --cron '0 9 L * *' --tz America/New_York
  taskpost schedules backfill nightly --from 2026-11-01 --to 2026-11-08 --dry-run
  taskpost schedules show nightly
  taskpost wait $(taskpost schedules run nightly --quiet)"""
NOTHING = "no schedules; `taskpost schedules add --help` shows how to make one"
USAGE = """taskpost schedules [list] [--limit N | --all]
       taskpost schedules show|runs NAME
       taskpost schedules add NAME [times] HANDLER [key=value …] | --url URL
       taskpost schedules change NAME [times] [what to do]
       taskpost schedules pause|resume|run|delete NAME …
       taskpost schedules preview NAME | [times]
       taskpost schedules backfill NAME --from TIME [--to TIME] | backfills NAME | abort NAME ID"""


def define(parser: ArgumentParser) -> None:
    parser.description = "List schedules, show one, or add, change, pause, run, preview and delete them."
    parser.usage, parser.epilog = USAGE, EPILOG
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", metavar="ACTION", help=SUPPRESS)
    parser.add_argument("words", nargs="*", help=SUPPRESS)
    amount = parser.add_argument_group("what to show")
    amount.add_argument("--limit", metavar="N", type=int, default=PAGE, help=f"list: so many at the most ({PAGE})")
    amount.add_argument("--all", action="store_true", help="list: all of them")
    amount.add_argument("--count", metavar="N", type=int, default=NEXT, help=f"preview: so many occurrences ({NEXT})")
    amount.add_argument("-q", "--quiet", action="store_true", help="run: print only the id of its task")
    define_times(parser)
    define_policies(parser)
    define_backfill(parser)
    define_target(parser)
    define_effort(parser)
    define_labels(parser)
    add_api(parser)


def define_times(parser: ArgumentParser) -> None:
    when = parser.add_argument_group("times (add, change, preview)")
    when.add_argument("--cron", metavar="'M H D M W'", action="append", help="cron expression; repeatable")
    when.add_argument("--every", metavar="TIME", type=values.duration, help="interval; does not drift")
    when.add_argument("--anchor", metavar="TIME", type=values.moment, help="from when --every counts (creation)")
    when.add_argument(
        "--calendar", metavar="STEPS", type=calendar, help="years, months, weeks, days, anchor: 'months=1 anchor=…'"
    )
    when.add_argument("--at", metavar="TIME", action="append", help="single time, a local one of --tz; repeatable")
    when.add_argument("--tz", metavar="ZONE", help="IANA zone of local times (that of the deployment)")
    when.add_argument("--start", metavar="TIME", type=values.moment, help="no occurrence before this time")
    when.add_argument("--end", metavar="TIME", type=values.moment, help="no occurrence after this time")
    when.add_argument("--jitter", metavar="TIME", type=values.duration, help="put each off by a part of this")


def define_policies(parser: ArgumentParser) -> None:
    policies = parser.add_argument_group("policies (add, change)")
    overlaps = "while its last task has not ended: allow, skip, queue_one, cancel_running (allow)"
    policies.add_argument("--overlap", metavar="WHAT", help=overlaps)
    policies.add_argument("--misfire", metavar="WHAT", help="occurrences that come too late: skip, once, all (once)")
    policies.add_argument("--grace", metavar="TIME", type=values.duration, help="when they are too late (1m)")
    policies.add_argument("--max-runs", metavar="N", type=int, help="fire so many occurrences, then no more")
    policies.add_argument("--description", metavar="TEXT", help="for people")
    policies.add_argument("--paused", action="store_true", default=None, help="add: do not fire until it is resumed")
    policies.add_argument("--replace", action="store_true", help="add: in the place of one of that name, if there is")


def calendar(text: str) -> dict[str, Any]:
    """`months=1 anchor=2026-01-31T09:00`, or JSON."""
    if text.startswith(("{", "@")):
        return values.mapping(text)
    steps = dict(values.pair(one) for one in text.split())
    if not steps:
        raise ArgumentTypeError("--calendar needs steps, such as 'months=1 anchor=2026-01-31T09:00'")
    return steps


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    check_options(options)
    with client(options, env) as api:
        if options.action in ("pause", "resume", "run", "delete"):
            options.ids = options.words
            return for_each(options, screen, lambda name: act(options, screen, api, name))
        if options.action in BACKFILLS:
            return run_backfill(options, screen, api)
        if options.action == "list":
            return print_all(options, screen, api)
        if options.action == "runs":
            found = api.schedule_runs(options.words[0])
            return print_list(options, screen, found, lambda: show_runs(screen, found, now()), "it has not fired yet")
        if options.action == "preview":
            print_preview(options, screen, api)
        elif options.action == "show":
            print_whole(options, screen, api, api.schedule(options.words[0]))
        else:
            schedule = saved(options, api)
            print_whole(options, screen, api, schedule)
    return 0


def check_options(options: Namespace) -> None:
    """Raises ArgumentTypeError for what is missing, or belongs to another action."""
    action = options.action
    if action != "list" and not options.words and not (action == "preview" and times_of(options)):
        which = "which times? taskpost schedules preview NAME, or --cron, --every, --at …" if action == "preview" else (
            f"which schedule? taskpost schedules {action} NAME; `taskpost schedules` lists them"
        )  # fmt: skip
        raise ArgumentTypeError(which)
    check_backfill(options)
    if action in ("show", "runs", "preview", "backfill", "backfills") and len(options.words) > 1:
        raise ArgumentTypeError(f"{action} takes one name; {' '.join(options.words[1:])!r} is too much")
    if action == "list" and options.words:
        raise ArgumentTypeError(f"list takes no name; did you mean taskpost schedules show {options.words[0]}?")
    if times_of(options) and action not in WITH_TIMES:
        raise ArgumentTypeError("times go with add, change and preview: taskpost schedules change NAME --cron …")
    given = [*policies_of(options), *(name for name, one in task_options(options).items() if one is not None)]
    given += [name for name in ("url", "args") if getattr(options, name) is not None]
    if given and action not in WITH_TASK:
        raise ArgumentTypeError(f"{', '.join(given)}: goes with add and change")
    if options.replace and action != "add":
        raise ArgumentTypeError("--replace goes with add: taskpost schedules add NAME --replace …")


# ---------------------------------------------------------------- what is said of a schedule


def times_of(options: Namespace) -> dict[str, Any]:
    """The times that are given, by the names of the contract."""
    given = {
        "cron": options.cron,
        "every_seconds": options.every,
        "anchor_at": options.anchor,
        "calendar": options.calendar,
        "at": options.at,
        "timezone": options.tz,
        "start_at": options.start,
        "end_at": options.end,
        "jitter_seconds": options.jitter,
    }
    return {name: value for name, value in given.items() if value is not None}


def policies_of(options: Namespace) -> dict[str, Any]:
    given = {
        "misfire": options.misfire,
        "misfire_grace_seconds": options.grace,
        "overlap": options.overlap,
        "max_runs": options.max_runs,
        "description": options.description,
        "paused": options.paused,
    }
    return {name: value for name, value in given.items() if value is not None}


def saved(options: Namespace, api: Taskpost) -> Schedule:
    """The schedule that was added or changed. Raises ArgumentTypeError when it is not said what it is to do."""
    name, *options.words = options.words
    definition = times_of(options) | policies_of(options)
    task = {key: value for key, value in task_options(options).items() if value is not None}
    handler, url, args = changed_target(options) if options.action == "change" else target(options)
    task |= {key: value for key, value in (("name", handler), ("url", url), ("args", args)) if value}
    if task:
        definition["task"] = task
    if options.action == "change":
        if not definition:
            raise ArgumentTypeError("what is to be changed? Give times, policies, or what to do")
        return api.update_schedule(name, **definition)
    if options.replace:
        return api.put_schedule(name, **definition)
    try:
        return api.create_schedule(name, **definition)
    except StateConflict as exc:
        hint = f"--replace puts this one in its place, taskpost schedules change {name} changes it"
        raise ArgumentTypeError(f"there is a schedule {name}: {hint}") from exc


def changed_target(options: Namespace) -> tuple[str | None, str | None, dict[str, Any]]:
    """As `target`, but what stays as it is may be left out."""
    names_none = options.url is None and all("=" in word for word in options.words)
    if not names_none:
        return target(options)
    return None, None, {**(options.args or {}), **dict(values.pair(one) for one in options.words)}


# ---------------------------------------------------------------- what is done and shown


def act(options: Namespace, screen: Screen, api: Taskpost, name: str) -> None:
    """Pause, resume, run or delete one."""
    if options.action == "delete":
        api.delete_schedule(name)
        screen.json({"name": name, "deleted": True}) if options.json else screen.line(f"deleted  {one_line(name)}")
    elif options.action == "run":
        task = api.run_schedule(name)
        line = task.id if options.quiet else f"{screen.state(task.state)}  {task.id}  {one_line(task.what)}"
        screen.json(task.raw) if options.json else screen.line(line)
    else:
        schedule = api.pause_schedule(name) if options.action == "pause" else api.resume_schedule(name)
        screen.json(schedule.raw) if options.json else screen.line(f"{screen.state(schedule.state)}  {schedule.name}")


def print_all(options: Namespace, screen: Screen, api: Taskpost) -> int:
    limit = None if options.all else options.limit
    found = api.schedules(limit=None if limit is None else limit + 1)
    if options.json:
        for one in islice(found, limit):
            screen.json(one.raw)
            if screen.is_gone:
                break
        return 0
    shown = list(islice(found, limit))
    print_list(options, screen, shown, lambda: show_schedules(screen, shown, now()), NOTHING)
    if next(found, None) is not None:
        screen.note("There are more: --limit N or --all shows them.")
    return 0


def print_preview(options: Namespace, screen: Screen, api: Taskpost) -> None:
    times = times_of(options)
    if times:
        preview = api.preview_times(options.words[0] if options.words else None, count=options.count, **times)
    else:
        preview = api.preview_schedule(options.words[0], count=options.count)
    if options.json:
        for one in preview.items:
            screen.json(one.raw)
    else:
        screen.line(one_line(preview.explanation))
        show_preview(screen, preview, now())


def print_whole(options: Namespace, screen: Screen, api: Taskpost, schedule: Schedule) -> None:
    if options.json:
        screen.json(schedule.raw)
        return
    preview = api.preview_schedule(schedule.name, count=NEXT)
    show_schedule(screen, schedule, preview, api.schedule_runs(schedule.name), now())


def now() -> datetime:
    return datetime.now(UTC)
