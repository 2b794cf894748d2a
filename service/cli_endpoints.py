"""
`taskpost endpoints`: lists who is called and how that goes, shows one, sets it up, disables, enables and tests it.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from datetime import UTC, datetime

from service import cli_values as values
from service.cli_credentials import endpoint
from service.cli_screen import Column, Screen, clock, one_line, relative
from service.cli_show import show_task
from service.cli_tasks import add_api, client, print_list
from service.client.blocking import Taskpost
from service.client.endpoints import Endpoint, EndpointSettings

ACTIONS = ("list", "show", "set", "disable", "enable", "test")
SETTINGS = ("concurrency", "breaker_failures", "breaker_ratio")
DEFAULT = "default"
WAIT_SECONDS = 320
EPILOG = """\
ENDPOINT is a URL that is called, or its name: https:api.example.com.

examples:
  taskpost endpoints                                      who was called lately, and how that went
  taskpost endpoints show https://api.example.com
  taskpost endpoints set https://api.example.com --concurrency 5 --breaker-failures default
  taskpost endpoints disable https://api.example.com --reason 'moving to another host'
  taskpost endpoints enable https://api.example.com       also what answered 410
  taskpost endpoints test https://api.example.com/hooks   call it once, and show what came of it

exit status of test: 0 it succeeded, 1 it did not"""
NOTHING = "no URL was called within a week; submit one with `taskpost submit --url https://…`"


def number(text: str) -> float | None:
    """A number, or None for `default`."""
    return None if text == DEFAULT else float(text)


def define(parser: ArgumentParser) -> None:
    parser.description = "List endpoints, show one, set it up, disable, enable or test it."
    parser.epilog = EPILOG
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help="list if left out")
    parser.add_argument("endpoint", nargs="?", metavar="ENDPOINT", help="which one")
    parser.add_argument("--reason", metavar="TEXT", help="disable: why")
    parser.add_argument("--url", metavar="URL", help="enable: only this one, which answered 410")
    group = parser.add_argument_group("set; a number or `default`, what is left out stays as it is")
    group.add_argument("--concurrency", metavar="N", type=number, help="calls at once of each worker process")
    group.add_argument("--breaker-failures", metavar="N", type=number, help="failures in a row that open its circuit")
    group.add_argument("--breaker-ratio", metavar="X", type=number, help="share of failures that opens it (0 to 1)")
    group = parser.add_argument_group("test")
    group.add_argument("--method", metavar="METHOD", help="POST if left out")
    group.add_argument("--body", metavar="JSON", type=values.body, help="the body")
    group.add_argument("--timeout", metavar="TIME", type=values.duration, help="how long it may take (30s)")
    parser.set_defaults(**dict.fromkeys(SETTINGS, ...))
    add_api(parser)


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    settings: EndpointSettings = {name: one for name in SETTINGS if (one := getattr(options, name)) is not ...}  # type: ignore[assignment]  # names from SETTINGS
    check_options(options, settings)
    now = datetime.now(UTC)
    with client(options, env) as api:
        if options.action == "list":
            found = api.endpoints()
            return print_list(options, screen, found, lambda: show_endpoints(screen, found, now), NOTHING)
        name = endpoint(options.endpoint)
        if options.action == "test":
            return tried(api, options, screen, name)
        one = told(api, options, name, settings)
    screen.json(one.raw) if options.json else show_endpoint(screen, one, now)
    return 0


def check_options(options: Namespace, settings: EndpointSettings) -> None:
    """Raises ArgumentTypeError for what is missing, or belongs to another action."""
    action = options.action
    if action != "list" and options.endpoint is None:
        what = f"taskpost endpoints {action} ENDPOINT; `taskpost endpoints` lists them"
        raise ArgumentTypeError(f"which endpoint? {what}")
    goes_with = {"reason": "disable", "url": "enable", "method": "test", "body": "test", "timeout": "test"}
    for option, wanted in goes_with.items():
        if getattr(options, option) is not None and action != wanted:
            raise ArgumentTypeError(f"--{option} goes with {wanted}: `taskpost endpoints --help` has examples")
    if bool(settings) != (action == "set"):
        wanted = ", ".join(f"--{name.replace('_', '-')}" for name in SETTINGS)
        raise ArgumentTypeError(f"set takes at least one of {wanted}; no other action takes them")


def told(api: Taskpost, options: Namespace, name: str, settings: EndpointSettings) -> Endpoint:
    if options.action == "set":
        return api.change_endpoint(name, **settings)
    if options.action == "disable":
        return api.disable_endpoint(name, reason=options.reason)
    if options.action == "enable":
        return api.enable_endpoint(name, url=options.url)
    return api.endpoint(name)


def tried(api: Taskpost, options: Namespace, screen: Screen, name: str) -> int:
    """Make the test, and wait for what comes of it."""
    given = options.endpoint.partition("://")[2]
    path = f"/{given.partition('/')[2]}"
    task = api.try_endpoint(name, path=path, method=options.method, body=options.body, timeout_seconds=options.timeout)
    task = api.wait(task, timeout_seconds=WAIT_SECONDS)
    screen.json(task.raw) if options.json else show_task(screen, task, datetime.now(UTC))
    return 0 if task.state == "succeeded" else 1


# ---------------------------------------------------------------- showing


def show_endpoints(screen: Screen, found: list[Endpoint], now: datetime) -> None:
    columns = [Column("ENDPOINT", shrinks=True), Column("STATE"), Column("OK", is_right=True)]
    columns += [Column("CALLS", is_right=True), Column("P50", is_right=True), Column("P95", is_right=True)]
    columns += [Column("NOW", is_right=True), Column("FAILED"), Column("LAST ERROR", shrinks=True)]
    rows = [
        (
            one_line(one.name),
            state(screen, one),
            percent(one.success_rate),
            f"{one.calls.succeeded + one.calls.refused + one.calls.failed:,}",
            seconds(one.p50_seconds),
            seconds(one.p95_seconds),
            str(one.in_flight),
            "" if one.failed_at is None else relative(one.failed_at, now),
            one_line(one.last_error or ""),
        )
        for one in found
    ]
    screen.table(columns, rows)


def show_endpoint(screen: Screen, one: Endpoint, now: datetime) -> None:
    screen.line(f"{state(screen, one)}  {one_line(one.name)}")
    calls = one.calls
    counts = f"{calls.succeeded:,} succeeded, {calls.refused:,} refused, {calls.failed:,} failed"
    times = f"{seconds(one.p50_seconds)} (half), {seconds(one.p95_seconds)} (95 of 100)"
    rows = [
        ("calls", f"{counts}; {one.in_flight} now"),
        ("took", times if one.p50_seconds else ""),
        ("disabled", when(one.disabled_at, now, one.disabled_reason)),
        ("circuit", when(one.circuit_opened_at, now, f"{one.circuit}: {one.circuit_reason}")),
        ("next probe", when(one.next_probe_at, now, None)),
        ("succeeded", when(one.succeeded_at, now, None)),
        ("failed", when(one.failed_at, now, one.last_error)),
        ("failing", "" if one.failing_since is None else f"every call since {clock(one.failing_since)}"),
        ("concurrency", setting(one.concurrency)),
        ("breaker", setting(one.breaker_failures, " failures in a row")),
        ("", setting(one.breaker_ratio, " of the calls of a minute")),
        ("credentials", "yes" if one.has_credentials else ""),
    ]
    rows += [("answered 410", f"{url.url}, until {clock(url.until)}") for url in one.disabled_urls]
    screen.fields([(name, one_line(text)) for name, text in rows if text])


def state(screen: Screen, one: Endpoint) -> str:
    if one.disabled:
        return screen.state("disabled")
    if one.circuit != "closed":
        return screen.state(one.circuit)
    return screen.state("failing" if one.failing_since else "ok")


def percent(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.3g} %"


def seconds(many: float | None) -> str:
    if many is None:
        return ""
    return f"{many * 1000:,.0f} ms" if many < 1 else f"{many:,.1f} s"


def when(at: datetime | None, now: datetime, more: str | None) -> str:
    if at is None:
        return ""
    return f"{clock(at)} ({relative(at, now)}){f': {more}' if more else ''}"


def setting(value: float | None, of: str = "") -> str:
    return "" if value is None else f"{value:g}{of}"
