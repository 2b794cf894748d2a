"""
`taskpost flows`: lists flow keys, shows one, sets its limits, pauses, resumes, pins and resets it; and the options of a
submission that name a key or a group.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from service import cli_values as values
from service.cli_screen import Column, Screen, one_line, relative, span
from service.cli_tasks import add_api, client, print_list
from service.client.blocking import Taskpost
from service.client.flows import Flow, FlowChange, Group

ACTIONS = ("list", "show", "set", "pause", "resume", "pin", "unpin", "reset", "groups", "weigh")
STATES: dict[str, FlowChange] = {
    "pause": {"paused": True}, "resume": {"paused": False}, "pin": {"pinned": True}, "unpin": {"pinned": False},
}  # fmt: skip
NONE = "none"
EPILOG = """\
examples:
  taskpost flows                                        keys, with what runs and waits
  taskpost flows show api.example.com
  taskpost flows set api.example.com --concurrency 3 --rate 100/1m --burst 10
  taskpost flows set api.example.com --rate none        a limit less
  taskpost flows pin api.example.com                    whatever submissions say
  taskpost flows pause api.example.com                  nothing of it starts, until: resume
  taskpost flows reset api.example.com                  forget what its rate has used up
  taskpost flows groups mail                            groups of the queue `mail`
  taskpost flows weigh mail tenant-42 3                 it gets three times what others get"""
NOTHING = "no task has a flow key; submit one with `taskpost submit … --flow KEY --flow-concurrency 5`"
NO_GROUPS = "no task of this queue belongs to a group; submit one with `taskpost submit … --group NAME`"


def limit(text: str) -> int | None:
    """A number, or None for `none`."""
    return None if text == NONE else int(text)


def rate(text: str) -> tuple[int, float]:
    """How many, and in how many seconds: `10`, `100/1m`."""
    many, slash, time = text.partition("/")
    if not many.isascii() or not many.isdigit():
        raise ArgumentTypeError(f"{text!r} is no rate: say how many, and in which time: 100/1m; a second if left out")
    return int(many), values.duration(time if not slash or time[:1].isdigit() else f"1{time}") if slash else 1


def rate_or_none(text: str) -> tuple[int | None, float | None]:
    """As `rate`, or `none`."""
    return (None, None) if text == NONE else rate(text)


def define(parser: ArgumentParser) -> None:
    parser.description = "List flow keys, show one, change its limits, pause, resume, pin or reset it; weigh groups."
    parser.epilog = EPILOG
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help="list if left out")
    parser.add_argument("key", nargs="?", metavar="KEY", help="which one; of groups and weigh: which queue")
    parser.add_argument("group", nargs="?", metavar="GROUP", help="weigh: which group")
    parser.add_argument("weight", nargs="?", metavar="WEIGHT", type=float, help="weigh: how much it gets (1)")
    limits = parser.add_argument_group("set; a number or `none`, what is left out stays as it is")
    limits.add_argument("--concurrency", metavar="N", type=limit, help="tasks that run at a time")
    limits.add_argument("--rate", metavar="N[/TIME]", type=rate_or_none, help="attempts that start in that time (1s)")
    limits.add_argument("--burst", metavar="N", type=limit, help="how many start at once after a pause")
    parser.set_defaults(concurrency=..., rate=..., burst=...)
    add_api(parser)


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    change = change_of(options)
    check_options(options, change)
    with client(options, env) as api:
        if options.action == "list":
            found = api.flows()
            return print_list(options, screen, found, lambda: show_flows(screen, found), NOTHING)
        if options.action == "groups":
            groups = api.groups(options.key)
            return print_list(options, screen, groups, lambda: show_groups(screen, groups), NO_GROUPS)
        if options.action == "weigh":
            group = api.weigh_group(options.key, options.group, options.weight)
            screen.json(group.raw) if options.json else show_groups(screen, [group])
            return 0
        one = told(api, options, change)
    screen.json(one.raw) if options.json else show_flow(screen, one, datetime.now(UTC))
    return 0


def change_of(options: Namespace) -> FlowChange:
    """What is to be set."""
    change: FlowChange = {}
    if options.concurrency is not ...:
        change["concurrency"] = options.concurrency
    if options.rate is not ...:
        change["rate"], change["period_seconds"] = options.rate
    if options.burst is not ...:
        change["burst"] = options.burst
    return change


def check_options(options: Namespace, change: FlowChange) -> None:
    """Raises ArgumentTypeError for what is missing, or belongs to another action."""
    action = options.action
    if action != "list" and options.key is None:
        which = "queue" if action in ("groups", "weigh") else "key"
        raise ArgumentTypeError(f"which {which}? taskpost flows {action} {which.upper()}; `--help` has examples")
    if action == "weigh" and options.weight is None:
        raise ArgumentTypeError("which group, and how much? taskpost flows weigh QUEUE GROUP WEIGHT")
    if bool(change) != (action == "set"):
        raise ArgumentTypeError("set takes at least one of --concurrency, --rate, --burst; no other action takes them")


def told(api: Taskpost, options: Namespace, change: FlowChange) -> Flow:
    if options.action == "show":
        return api.flow(options.key)
    if options.action == "reset":
        return api.reset_flow(options.key)
    return api.change_flow(options.key, **(change or STATES[options.action]))


# ---------------------------------------------------------------- showing


def rate_text(flow: Flow) -> str:
    """`100/1 min, burst 10`; nothing without a rate."""
    if flow.rate is None:
        return ""
    burst = f", burst {flow.burst:,}" if (flow.burst or 1) > 1 else ""
    return f"{flow.rate:,}/{span(flow.period_seconds or 1)}{burst}"


def state_text(flow: Flow) -> str:
    return ", ".join([word for word, holds in (("paused", flow.paused), ("pinned", flow.pinned)) if holds])


def show_flows(screen: Screen, found: list[Flow]) -> None:
    columns = [Column("KEY", shrinks=True), Column("RUNNING", is_right=True), Column("OF", is_right=True)]
    columns += [Column("WAITING", is_right=True), Column("RATE"), Column("")]
    rows = [
        (
            one_line(one.key),
            f"{one.running:,}",
            "" if one.concurrency is None else f"{one.concurrency:,}",
            f"{one.waiting:,}",
            rate_text(one),
            state_text(one),
        )
        for one in found
    ]
    screen.table(columns, rows)


def show_flow(screen: Screen, one: Flow, now: datetime) -> None:
    screen.line(one_line(one.key))
    of = "" if one.concurrency is None else f" of {one.concurrency:,}"
    rows = [("running", f"{one.running:,}{of}"), ("waiting", f"{one.waiting:,}")]
    if one.rate is not None:
        rows.append(("rate", rate_text(one)))
    if one.next_at is not None:
        rows.append(("next start", relative(one.next_at, now)))
    if told_state := state_text(one):
        rows.append(("state", told_state))
    screen.fields(rows)


def show_groups(screen: Screen, found: list[Group]) -> None:
    columns = [Column("GROUP", shrinks=True), Column("WEIGHT", is_right=True), Column("TASKS", is_right=True)]
    screen.table(columns, [(one_line(one.name), f"{one.weight:g}", f"{one.tasks:,}") for one in found])


# ---------------------------------------------------------------- of a submission


def define_shared(parser: ArgumentParser) -> None:
    """What a task shares with others."""
    shared = parser.add_argument_group("limits and turns that it shares with others")
    shared.add_argument("--flow", metavar="KEY", help="flow key: tasks of the same key are limited together")
    shared.add_argument("--flow-concurrency", metavar="N", type=int, help="… so many run at a time")
    shared.add_argument("--flow-rate", metavar="N[/TIME]", type=rate, help="… so many start in that time (1s)")
    shared.add_argument("--flow-burst", metavar="N", type=int, help="… so many at once after a pause (1)")
    shared.add_argument("--group", metavar="NAME", help="whose task it is; groups take turns")


def shared_of(options: Namespace) -> dict[str, Any]:
    """`flow` and `group` as the options say them. Raises ArgumentTypeError."""
    many, period_seconds = options.flow_rate or (None, None)
    limits = {
        "concurrency": options.flow_concurrency,
        "rate": many,
        "period_seconds": period_seconds,
        "burst": options.flow_burst,
    }
    named = {name: value for name, value in limits.items() if value is not None}
    if named and not options.flow:
        raise ArgumentTypeError("--flow-concurrency, --flow-rate and --flow-burst go with --flow KEY")
    return {"flow": {"key": options.flow, **named} if options.flow else None, "group": options.group}
