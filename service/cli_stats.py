"""
`taskpost stats` and `taskpost overview`: what tasks did in a time, and how everything is now.

The fact to know: `overview` ends with status 1 when something should be mended, so that a script can ask.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from service import cli_values as values
from service.cli_screen import Column, Screen, clock, one_line, span
from service.cli_tasks import add_api, client
from service.client.statistics import ErrorCount, Figures, NameFigures, Overview, Period, Statistics, Times, Window

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 72
MIB = 1024 * 1024
WARNED = 1
STATS_EPILOG = """\
Statistics are kept for a week: by the minute for two hours, by ten minutes for a day, by the hour beyond that.

examples:
  taskpost stats                            the last hour
  taskpost stats --last 7d --queue mail     a week of one queue
  taskpost stats --name email:send          how long it runs, and what fails
  taskpost stats --last 1d --json | jq .totals"""


def define_stats(parser: ArgumentParser) -> None:
    parser.description = "Tell what tasks did in a time: how many, how fast, how long they waited and ran, what failed."
    parser.epilog = STATS_EPILOG
    define_window(parser, "how many of each to list", 10)
    parser.add_argument("--step", metavar="TIME", type=values.duration, help="how long one bar is; chosen if left out")
    add_api(parser)


def define_window(parser: ArgumentParser, about_top: str, top: int) -> None:
    """Of what time, and of what; read by `given`."""
    parser.add_argument("--last", metavar="TIME", type=values.duration, help="so long back; 1h if left out")
    parser.add_argument("--since", metavar="WHEN", type=values.moment, help="from then on, in place of --last")
    parser.add_argument("--until", metavar="WHEN", type=values.moment, help="until then; now if left out")
    parser.add_argument("-q", "--queue", metavar="QUEUE", help="only tasks of this queue")
    parser.add_argument("--name", metavar="NAME", help="only tasks of this handler, or of this endpoint")
    parser.add_argument("--top", metavar="N", type=int, default=top, help=f"{about_top} ({top})")


def given(options: Namespace, window: type[Window]) -> dict[str, Any]:
    """What the options say, by the names of *window*, which are the same."""
    return {name: getattr(options, name) for name in window.__annotations__}


def run_stats(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    with client(options, env) as api:
        found = api.stats(**given(options, Period))
    screen.json(found.raw) if options.json else show_stats(screen, found)
    return 0


def show_stats(screen: Screen, found: Statistics) -> None:
    """The time and its totals, how it went on, then queues and names, and what fails."""
    totals = found.totals
    ended = [point.figures.succeeded + point.figures.failed + point.figures.cancelled + point.figures.expired
             for point in found.series]  # fmt: skip
    rows = [("time", f"{clock(found.begins_at)} to {clock(found.ends_at)}")]
    if totals.submitted is not None:
        rows.append(("submitted", f"{totals.submitted:,}"))
    rows += [("ended", outcomes(totals)), ("a second", f"{totals.ended_per_second:,.2f}")]
    if again := attempts_of_note(totals):
        rows.append(("attempts", again))
    if totals.wait.count:
        rows.append(("waited", times(totals.wait)))
    rows += [("ran", times(totals.run)), ("each bar", span(found.step_seconds)), ("ended", bars(ended))]
    if any(point.queued for point in found.series):
        rows.append(("queued", bars([point.queued or 0 for point in found.series])))
    screen.fields(rows)
    table_of(screen, "QUEUE", [(one.name, one.figures, (f"{one.queued:,}", age(one.oldest_seconds)))
                               for one in found.queues])  # fmt: skip
    table_of(screen, "NAME", [(one.name, one.figures, ()) for one in found.names])
    show_failing(screen, found.failing)


def outcomes(figures: Figures) -> str:
    """`1,190 succeeded, 10 failed (0.8 %)`."""
    counted = {name: getattr(figures, name) for name in ("succeeded", "failed", "cancelled", "expired")}
    shown = [f"{many:,} {name}" for name, many in counted.items() if many]
    if figures.error_rate:
        shown = [f"{one} ({figures.error_rate:.1%})" if one.endswith("failed") else one for one in shown]
    return ", ".join(shown) or "none"


def attempts_of_note(figures: Figures) -> str:
    """Those that others follow, and those that were slow."""
    counted = {name: getattr(figures, name) for name in ("retried", "deferred", "released", "crashed", "slow")}
    return ", ".join(f"{many:,} {name}" for name, many in counted.items() if many)


def times(measured: Times) -> str:
    """`p50 12 ms, p95 310 ms, p99 1.1 s`."""
    if not measured.count:
        return "nothing was measured"
    shares = {"p50": measured.p50_seconds, "p95": measured.p95_seconds, "p99": measured.p99_seconds}
    return ", ".join(f"{name} {span(seconds or 0)}" for name, seconds in shares.items())


def bars(series: Sequence[int]) -> str:
    """*series* as a line of bars, the highest being its most; several steps share a bar where there are too many."""
    each = -(-len(series) // MOST_BARS) or 1
    heights = [sum(series[at : at + each]) for at in range(0, len(series), each)]
    most = max(heights, default=0)
    if not most:
        return "nothing"
    line = "".join(BARS[-(-height * (len(BARS) - 1) // most)] if height else " " for height in heights)
    return f"{line}  at most {max(series):,}"


def age(seconds: float | None) -> str:
    return "" if seconds is None else span(seconds)


def table_of(screen: Screen, title: str, rows: Sequence[tuple[str, Figures, tuple[str, ...]]]) -> None:
    """What each queue or name did; of queues also what waits in it now."""
    if not rows:
        return
    now = [Column("QUEUED", is_right=True), Column("OLDEST", is_right=True)] if rows[0][2] else []
    columns = [Column(title, shrinks=True), *now, *(Column(name, is_right=True) for name in
               ("SUCCEEDED", "FAILED", "RETRIED", "WAIT P95", "RUN P50", "RUN P95"))]  # fmt: skip
    screen.line("")
    screen.table(
        columns,
        [
            (one_line(name), *depths, f"{one.succeeded:,}", f"{one.failed:,}", f"{one.retried:,}",
             age(one.wait.p95_seconds), age(one.run.p50_seconds), age(one.run.p95_seconds))
            for name, one, depths in rows
        ],
    )  # fmt: skip


def show_failing(screen: Screen, failing: Sequence[NameFigures]) -> None:
    if not failing:
        return
    screen.line("")
    columns = [Column("FAILING", shrinks=True), Column("FAILED", is_right=True), Column("RETRIED", is_right=True)]
    rows = [(one_line(one.name), f"{one.figures.failed:,}", f"{one.figures.retried:,}", errors(one.errors))
            for one in failing]  # fmt: skip
    screen.table([*columns, Column("ERRORS", shrinks=True)], rows)


def errors(found: Sequence[ErrorCount]) -> str:
    return ", ".join(f"{one_line(one.type)} {one.count:,}" for one in found)


# ---------------------------------------------------------------- overview


def define_overview(parser: ArgumentParser) -> None:
    parser.description = "Tell how everything is now: tasks, queues, workers, Redis. Exit status 1: something to mend."
    parser.epilog = "examples:\n  taskpost overview\n  taskpost overview --json | jq -r '.warnings[]'"
    add_api(parser)


def run_overview(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    with client(options, env) as api:
        found = api.overview()
    screen.json(found.raw) if options.json else show_overview(screen, found)
    return WARNED if found.warnings else 0


def show_overview(screen: Screen, found: Overview) -> None:
    """Everything in a few lines, then the queues that hold tasks, then what should be mended."""
    tasks, workers, redis = found.tasks, found.workers, found.redis
    waiting = f", the oldest for {age(tasks.oldest_seconds)}" if tasks.oldest_seconds is not None else ""
    slots = ", ".join(f"{lane} {many}" for lane, many in workers.slots.items())
    memory = "" if redis.used_bytes is None else f", {redis.used_bytes / MIB:,.0f} MiB"
    most = "" if redis.most_bytes is None else f" of {redis.most_bytes / MIB:,.0f}"
    nodes = f", {redis.servers} servers" if redis.servers > 1 else ""
    screen.fields([
        ("version", f"{found.version}, {found.shards} shard{'s' * (found.shards > 1)}"),
        ("tasks", f"{tasks.queued:,} queued{waiting}; {tasks.running:,} running; {tasks.scheduled:,} scheduled"),
        ("workers", f"{workers.live}{f' ({workers.quiet} quiet)' * bool(workers.quiet)}; slots: {slots or 'none'}"),
        ("redis", f"{one_line(redis.server)}{nodes}{memory}{most}"),
    ])  # fmt: skip
    if found.queues:
        screen.line("")
        columns = [Column("QUEUE", shrinks=True), *(Column(name, is_right=True) for name in
                   ("QUEUED", "RUNNING", "SCHEDULED", "OLDEST"))]  # fmt: skip
        screen.table(
            columns,
            [
                (one_line(one.name), f"{one.queued:,}", f"{one.running:,}", f"{one.scheduled:,}",
                 age(one.oldest_seconds))
                for one in found.queues
            ],
        )  # fmt: skip
    for warning in found.warnings:
        screen.line("")
        screen.line(f"! {one_line(warning)}")
