"""
`taskpost slow`: the attempts that ran longer than their thresholds, and where their time went.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from service.cli_screen import Column, Screen, clock, one_line, span
from service.cli_stats import define_window, given
from service.cli_tasks import add_api, client
from service.client.statistics import SlowAttempt, SlowAttempts, Window

STEPS = {"dns_ms": "look-up", "connect_ms": "connect", "tls_ms": "TLS", "first_byte_ms": "first byte",
         "body_ms": "body"}  # fmt: skip
SLOW_EPILOG = """\
An attempt is slow from the slow_after of its handler on, or from TASKPOST_SLOW_AFTER on. Of each minute of a day the
ten slowest are kept, at most three of one name; `taskpost stats` tells how many there were.

examples:
  taskpost slow                             the slowest of the last hour
  taskpost slow --last 1d --name email:send those of one handler
  taskpost slow --json | jq -r '.items[] | [.run_seconds, .task_id] | @tsv'"""


def define(parser: ArgumentParser) -> None:
    parser.description = "List the slowest attempts of a time, and where their time went."
    parser.epilog = SLOW_EPILOG
    define_window(parser, "how many to list", 20)
    add_api(parser)


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    with client(options, env) as api:
        found = api.slow(**given(options, Window))
    screen.json(found.raw) if options.json else show(screen, found)
    return 0


def show(screen: Screen, found: SlowAttempts) -> None:
    """A line an attempt."""
    if not found.items:
        screen.line(f"Nothing was slow from {clock(found.begins_at)} to {clock(found.ends_at)}.")
        return
    times = [Column(title, is_right=True) for title in ("RAN", "OVER", "COMPUTED", "WAITED", "HELD", "REPORTED")]
    rows = [
        (one.task_id, one_line(one.name), str(one.attempt), one.outcome, clock(one.ended_at), span(one.run_seconds),
         span(one.threshold_seconds), known(one.busy_seconds), known(one.wait_seconds), known(one.hold_seconds),
         known(one.report_seconds), steps(one))
        for one in found.items
    ]  # fmt: skip
    columns = [Column("TASK"), Column("NAME", shrinks=True), Column("#", is_right=True), Column("OUTCOME"),
               Column("ENDED"), *times, Column("CALL", shrinks=True)]  # fmt: skip
    screen.table(columns, rows)


def known(seconds: float | None) -> str:
    return "" if seconds is None else span(seconds)


def steps(one: SlowAttempt) -> str:
    """`connect 4 ms, first byte 2.1 s` of a call; empty of others."""
    times = {word: (one.times or {}).get(name) for name, word in STEPS.items()}
    return ", ".join(f"{word} {span(ms / 1000)}" for word, ms in times.items() if ms is not None)
