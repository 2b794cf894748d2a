"""
`taskpost attempts`: how each run of a task went, and what it logged.

Owns the look of an attempt. The fact to know: the whole log is shown, since it is bounded; `--json` prints an attempt
a line.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from service.cli_screen import Screen, clean, clock, one_line, relative, span
from service.cli_show import error_text, first_lines
from service.cli_tasks import add_api, client
from service.client.types import Attempt, CallTimes, HttpCall, LogLine


def define_attempts(parser: ArgumentParser) -> None:
    parser.description = "Show how each run of a task went, oldest first: times, outcome, error, log."
    parser.epilog = (
        "examples:\n  taskpost attempts 01M819EKHX02FJFH0TDFHXG001\n"
        "  taskpost attempts $ID --curl\n"
        "  taskpost attempts $ID --json | jq -r '.log[].message'"
    )
    parser.add_argument("id", metavar="ID", help="id of the task")
    parser.add_argument("--curl", action="store_true", help="print the call of the last attempt as a curl command")
    add_api(parser)


def run_attempts(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    with client(options, env) as api:
        found = api.attempts(options.id)
    if options.curl:
        return print_curl(options, screen, found)
    if options.json:
        for one in found:
            screen.json(one.raw)
    elif found:
        show_attempts(screen, found, datetime.now(UTC))
    else:
        screen.note(f"task {options.id} has not been tried yet")
    return 0


def print_curl(options: Namespace, screen: Screen, attempts: Sequence[Attempt]) -> int:
    """The command that repeats the last call; without one, why there is none. Secrets are told on standard error."""
    command = next((one.http.curl for one in reversed(attempts) if one.http and one.http.curl), "")
    if not command:
        screen.note(f"task {options.id} has made no call of a URL that is known")
        return 1
    screen.json({"curl": command}) if options.json else screen.line(clean(command))
    if variables := sorted(set(re.findall(r"\$\{(SECRET_[A-Z0-9_]+):\?\}", command))):
        screen.note(f"set before you run it: {', '.join(variables)}")
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
        rows += [("reason", one_line(one.reason))] if one.reason else []
        rows += [("worker", one_line(one.worker))] if one.worker else []
        rows += call_rows(screen, one.http) if one.http is not None else []
        rows += [("error", error_text(screen, one.error))] if one.error is not None else []
        rows += [("log", log_text(screen, one.log))] if one.log else []
        screen.fields(rows)


def call_rows(screen: Screen, http: HttpCall) -> list[tuple[str, str]]:
    """The call of a URL: what was sent where, how long each step took, and what came back."""
    rows = []
    if http.request:
        sent = one_line(f"{http.request['method']} {http.request['url']}")
        rows.append(("call", f"{sent}\n{message_text(screen, http.request)}".rstrip()))
    if http.address is not None:
        rows.append(("address", f"{one_line(http.address)}{', connection used again' if http.reused else ''}"))
    if times := times_text(http.times):
        rows.append(("times", times))
    if http.status is not None:
        rows.append(("answer", f"HTTP {http.status}\n{message_text(screen, http.response)}".rstrip()))
    return rows


def message_text(screen: Screen, message: Mapping[str, Any]) -> str:
    """The header fields of a request or an answer, and the beginning of its body."""
    lines = [screen.faint(one_line(f"{name}: {value}")) for name, value in message.get("headers", {}).items()]
    if many := message.get("headers_left_out"):
        lines.append(screen.faint(f"… {many} more fields"))
    size = message.get("body_bytes", 0)
    if "body_text" in message:
        text = first_lines(message["body_text"].rstrip("\n"))
        lines += text.split("\n")
        if len(message["body_text"].encode()) < size:
            lines.append(screen.faint(f"… of {size:,} bytes"))
    elif "body_base64" in message:
        lines.append(screen.faint(f"{size:,} bytes that are no text; --json shows the beginning"))
    return "\n".join(lines)


def times_text(times: CallTimes) -> str:
    """`connect 0.4 ms, first byte 12 ms, altogether 14 ms`: the steps that were taken."""
    steps = (
        ("name", times.dns_ms),
        ("connect", times.connect_ms),
        ("TLS", times.tls_ms),
        ("first byte", times.first_byte_ms),
        ("body", times.body_ms),
        ("altogether", times.total_ms),
    )
    return ", ".join(f"{name} {spent:.{0 if spent >= 100 else 1}f} ms" for name, spent in steps if spent is not None)


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
