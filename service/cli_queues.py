"""
`taskpost queues`: lists what waits, shows a queue, pauses, drains, resumes, purges, deletes it and sets it up; and
`taskpost routes`: to which queues tasks go that name none.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from service import cli_values as values
from service.cli_bulk import carry
from service.cli_screen import Column, Screen, clock, one_line, relative, span
from service.cli_tasks import add_api, client, print_list
from service.client.blocking import Taskpost
from service.client.queues import Queue, Route
from service.client.search import Filters

ACTIONS = ("list", "show", "set", "pause", "resume", "drain", "purge", "delete", "scale")
DEFAULT = "default"
EPILOG = """\
A number, a time or `default`, which takes a setting away. RATE is 500/1h, 10/s or 5 (a second).

examples:
  taskpost queues                                              what waits where
  taskpost queues show mail
  taskpost queues set mail --concurrency 10 --rate 500/1h      ten at once, 500 an hour, over all workers
  taskpost queues set mail --retries 5 --timeout 30s --max-length 100000
  taskpost queues pause mail --reason 'the provider is down'   what runs goes on, nothing else starts
  taskpost queues resume mail
  taskpost queues drain mail                                   take no more in, and run empty
  taskpost queues purge mail                                   count, ask, cancel what waits
  taskpost queues scale mail --tasks-per-worker 50             how many workers it needs"""
ROUTES_EPILOG = """\
The first route whose MATCH is the name of the handler, or the URL that is called, decides; * stands for any characters.

examples:
  taskpost routes                                                      those that there are
  taskpost routes set 'email:*=mail' 'https://slow.example.com/*=slow:2'   replace all; :2 is a priority
  taskpost routes set                                                  have none"""


def define(parser: ArgumentParser) -> None:
    parser.description = "List queues; show one, set it up, pause, resume, drain, purge, delete or scale it."
    parser.epilog = EPILOG
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help="list if left out")
    parser.add_argument("queue", nargs="?", metavar="QUEUE", help="which one")
    parser.add_argument("--reason", metavar="TEXT", help="pause, drain: why")
    parser.add_argument("--by", metavar="NAME", help="pause, drain: who says so")
    group = parser.add_argument_group("set; what is left out stays as it is")
    for option, (metavar, read, about) in SETTINGS.items():
        group.add_argument(f"--{option}", metavar=metavar, type=read, default=..., help=about)
    group = parser.add_argument_group("purge")
    group.add_argument("--yes", action="store_true", help="do it without asking")
    group.add_argument("--count", action="store_true", help="count and show some, and do nothing")
    group.add_argument("--detach", action="store_true", help="do not wait for its end")
    group.add_argument("--pace", metavar="N", type=float, help="cancel so many a second at most")
    group = parser.add_argument_group("scale")
    group.add_argument("--tasks-per-worker", metavar="N", type=int, help="how many one worker runs at once (100)")
    group.add_argument("--min", metavar="N", type=int, help="no fewer workers (0)")
    group.add_argument("--max", metavar="N", type=int, help="no more workers (100)")
    add_api(parser)


def or_default(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A value that *read* reads, or None for `default`."""

    def found(text: str) -> Any:
        return None if text == DEFAULT else read(text)

    found.__name__ = read.__name__
    return found


def rate(text: str) -> tuple[float, float]:
    """`500/1h`, `10/s`, `5`: how many, in how many seconds."""
    many, slash, period = text.partition("/")
    try:
        return float(many), values.duration(period if period[:1].isdigit() else f"1{period}") if slash else 1.0
    except ValueError as exc:
        raise ArgumentTypeError(f"{text!r}: needs a rate such as 500/1h, 10/s or 5") from exc


SETTINGS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "description": ("TEXT", or_default(str), "what it is for"),
    "concurrency": ("N", or_default(int), "tasks at once, over all workers"),
    "rate": ("RATE", or_default(rate), "tasks that start in a time"),
    "burst": ("N", or_default(int), "how many of them may start at once"),
    "max-length": ("N", or_default(int), "tasks that may wait in it"),
    "when-full": ("HOW", or_default(str), "over that: reject, or drop_oldest"),
    "retries": ("N", or_default(int), "retries of tasks that say nothing themselves"),
    "timeout": ("TIME", or_default(values.duration), "their time limit"),
    "soft-timeout": ("TIME", or_default(values.duration), "their soft time limit"),
    "retry-for": ("TIME", or_default(values.duration), "how long they are retried"),
    "backoff": ("HOW", or_default(values.backoff), "their delays, 1,5,30 or exponential"),
    "result-ttl": ("TIME", or_default(values.duration), "how long they are kept after success"),
    "failure-ttl": ("TIME", or_default(values.duration), "how long they are kept after failure"),
    "callback": ("URL", or_default(str), "who is told when they end"),
}
SECONDS = ("timeout", "soft-timeout", "retry-for", "result-ttl", "failure-ttl")


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    settings = settings_of(options)
    check_options(options, settings)
    action, name = options.action, options.queue
    with client(options, env) as api:
        if action == "list":
            found = api.queues()
            return print_list(options, screen, found, lambda: show_queues(screen, found), "no queue has had a task yet")
        if action == "purge":
            wanted: Filters = {"queue": name, "state": ["queued", "scheduled"]}
            return carry(options, screen, api, "cancel", wanted, {"rate_per_second": options.pace})
        if action == "delete":
            api.delete_queue(name)
            return 0
        if action == "scale":
            return show_scale(api, options, screen)
        one = told(api, options, settings)
    screen.json(one.raw) if options.json else show_queue(screen, one, datetime.now(UTC))
    return 0


def settings_of(options: Namespace) -> dict[str, Any]:
    """What `set` is to set, as the contract names it."""
    given = {name: one for name in SETTINGS if (one := getattr(options, name.replace("-", "_"))) is not ...}
    if "rate" in given:
        given["rate"], given["period_seconds"] = given["rate"] or (None, None)
    return {name.replace("-", "_") + "_seconds" * (name in SECONDS): one for name, one in given.items()}


def check_options(options: Namespace, settings: Mapping[str, Any]) -> None:
    """Raises ArgumentTypeError for what is missing, or belongs to another action."""
    action = options.action
    if action != "list" and options.queue is None:
        what = f"taskpost queues {action} QUEUE; `taskpost queues` lists them"
        raise ArgumentTypeError(f"which queue? {what}")
    stops, purges, scales = ("pause", "drain"), ("purge",), ("scale",)
    goes_with = {"reason": stops, "by": stops, "yes": purges, "count": purges, "detach": purges, "pace": purges,
                 "tasks_per_worker": scales, "min": scales, "max": scales}  # fmt: skip
    for option, wanted in goes_with.items():
        if getattr(options, option) not in (None, False) and action not in wanted:
            name = option.replace("_", "-")
            raise ArgumentTypeError(f"--{name} goes with {' and '.join(wanted)}: `taskpost queues --help` has examples")
    if bool(settings) != (action == "set"):
        wanted_options = ", ".join(f"--{name}" for name in SETTINGS)
        raise ArgumentTypeError(f"set takes at least one of {wanted_options}; no other action takes them")


def told(api: Taskpost, options: Namespace, settings: Mapping[str, Any]) -> Queue:
    name = options.queue
    match options.action:
        case "set":
            return api.change_queue(name, settings)
        case "pause":
            return api.pause_queue(name, reason=options.reason, by=options.by)
        case "drain":
            return api.drain_queue(name, reason=options.reason, by=options.by)
        case "resume":
            return api.resume_queue(name)
    return api.queue(name)


# ---------------------------------------------------------------- showing


def show_scale(api: Taskpost, options: Namespace, screen: Screen) -> int:
    """A number alone, for scripts; all of it as JSON."""
    bounds = {"least": options.min, "most": options.max}
    scale = api.scale_queue(options.queue, tasks_per_worker=options.tasks_per_worker, **bounds)
    screen.json(scale.raw) if options.json else screen.line(str(scale.desired))
    return 0


def show_queues(screen: Screen, queues: Sequence[Queue]) -> None:
    columns = [Column("QUEUE", shrinks=True), *(Column(one, is_right=True) for one in ("QUEUED", "SCHEDULED"))]
    columns += [Column("RUNNING", is_right=True), Column("OLDEST", is_right=True), Column("STATE"), Column("LIMITS")]
    rows = [
        (
            one_line(one.name),
            f"{one.queued:,}",
            f"{one.scheduled:,}",
            f"{one.running:,}",
            "" if one.oldest_seconds is None else span(one.oldest_seconds),
            state(screen, one),
            one_line(", ".join(limits(one.settings))),
        )
        for one in queues
    ]
    screen.table(columns, rows)


def state(screen: Screen, one: Queue) -> str:
    words = [word for word, holds in (("paused", one.paused), ("draining", one.draining)) if holds]
    return ", ".join(map(screen.state, words))


def limits(settings: Mapping[str, Any]) -> list[str]:
    """What holds its tasks back, in words."""
    found = []
    if "concurrency" in settings:
        found.append(f"{settings['concurrency']:,} at once")
    if "rate" in settings:
        found.append(f"{settings['rate']:g} in {span(settings.get('period_seconds', 1))}")
    if "max_length" in settings:
        found.append(f"{settings['max_length']:,} waiting")
    return found


def show_queue(screen: Screen, one: Queue, now: datetime) -> None:
    screen.line(f"{one_line(one.name)}  {state(screen, one)}".rstrip())
    rows = [
        ("tasks", f"{one.queued:,} queued, {one.scheduled:,} scheduled, {one.running:,} running"),
        ("oldest", "" if one.oldest_seconds is None else f"due for {span(one.oldest_seconds)}"),
        ("paused", stopped(one.paused_at, one.paused_by, one.paused_reason, now)),
        ("draining", stopped(one.draining_at, one.draining_by, one.draining_reason, now)),
        *((name.replace("_", " "), str(value)) for name, value in one.settings.items()),
    ]
    screen.fields([(name, one_line(text)) for name, text in rows if text])


def stopped(at: datetime | None, by: str | None, reason: str | None, now: datetime) -> str:
    if at is None:
        return ""
    return f"{clock(at)} ({relative(at, now)}){f' by {by}' if by else ''}{f': {reason}' if reason else ''}"


# ---------------------------------------------------------------- routes


def define_routes(parser: ArgumentParser) -> None:
    parser.description = "List the routes by which tasks come to queues that name none, or replace them."
    parser.epilog = ROUTES_EPILOG
    parser.add_argument("action", nargs="?", choices=("list", "set"), default="list", help="list if left out")
    parser.add_argument("routes", nargs="*", metavar="MATCH=QUEUE[:PRIORITY]", type=route, help="set: all of them")
    add_api(parser)


def route(text: str) -> Route:
    """`MATCH=QUEUE` or `MATCH=QUEUE:PRIORITY`."""
    match, equals, target = text.rpartition("=")
    queue, _, priority = target.partition(":")
    if not equals or not match or not queue or (priority and not priority.isdigit()):
        raise ArgumentTypeError(f"{text!r}: needs MATCH=QUEUE or MATCH=QUEUE:PRIORITY")
    return Route(match, queue, int(priority) if priority else None)


def run_routes(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    if options.routes and options.action == "list":
        raise ArgumentTypeError("routes are replaced by `taskpost routes set MATCH=QUEUE …`")
    with client(options, env) as api:
        found = api.set_routes(options.routes) if options.action == "set" else api.routes()
    if options.json:
        for one in found:
            screen.json({"match": one.match, "queue": one.queue, "priority": one.priority})
    elif found:
        columns = [Column("MATCH", shrinks=True), Column("QUEUE"), Column("PRIORITY", is_right=True)]
        rows = [(one_line(one.match), one.queue, "" if one.priority is None else str(one.priority)) for one in found]
        screen.table(columns, rows)
    else:
        screen.note("no routes; tasks that name no queue go to that of their handler")
    return 0
