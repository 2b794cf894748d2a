"""
`taskpost workers`: lists workers, shows one whole, and tells it to be quiet, to resume, to stop or to resize.

The fact to know: a worker is named by its id or by a part of it that only one has.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from service import cli_values as values
from service.cli_screen import Column, Screen, clock, one_line, relative, span
from service.cli_show import show_workers
from service.cli_tasks import add_api, client, print_list
from service.client.blocking import Taskpost
from service.client.workers import WorkerCommand, WorkerDetail, WorkerSizes

MIB = 1024 * 1024
ACTIONS = ("list", "show", "quiet", "resume", "stop", "resize")
SIZES = ("processes", "concurrency", "threads", "children", "url_concurrency")
EPILOG = """\
WORKER is the id of a worker, or a part of it that only one has.

examples:
  taskpost workers                          those that live
  taskpost workers show web-1-2210          its processes, their memory, what it runs
  taskpost workers quiet web-1-2210         it finishes what it runs and takes nothing more
  taskpost workers resume web-1-2210
  taskpost workers stop web-1-2210 --drain 5m
  taskpost workers resize web-1-2210 --processes 4 --children 8"""
NOTHING = "no worker is running; start one with `taskpost worker --handlers module`"


def define(parser: ArgumentParser) -> None:
    parser.description = "List live workers, show one, or tell it to be quiet, to resume, to stop or to resize."
    parser.epilog = EPILOG
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help="list if left out")
    parser.add_argument("worker", nargs="?", metavar="WORKER", help="which one")
    parser.add_argument("--drain", metavar="TIME", type=values.duration, help="stop: so long its tasks may go on")
    sizes = parser.add_argument_group("resize; what is left out stays as it is")
    sizes.add_argument("--processes", metavar="N", type=int, help="processes; the others are of each process")
    sizes.add_argument("--concurrency", metavar="N", type=int, help="async handlers at once")
    sizes.add_argument("--threads", metavar="N", type=int, help="handlers on threads at once")
    sizes.add_argument("--children", metavar="N", type=int, help="handlers in child processes at once")
    sizes.add_argument("--url-concurrency", metavar="N", type=int, help="calls of URLs at once")
    add_api(parser)


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    sizes: WorkerSizes = {name: size for name in SIZES if (size := getattr(options, name)) is not None}  # type: ignore[assignment]  # names from SIZES
    check_options(options, sizes)
    now = datetime.now(UTC)
    with client(options, env) as api:
        if options.action == "list":
            found = api.workers()
            return print_list(options, screen, found, lambda: show_workers(screen, found, now), NOTHING)
        id_ = whole_id(api, options.worker)
        if options.action == "show":
            worker = api.worker(id_)
            screen.json(worker.raw) if options.json else show_worker(screen, worker, now)
            return 0
        command = tell(api, options, id_, sizes)
    screen.json(command.raw) if options.json else screen.line(f"{told(command)}  {command.worker}")
    return 0


def check_options(options: Namespace, sizes: WorkerSizes) -> None:
    """Raises ArgumentTypeError for what is missing, or belongs to another action."""
    if options.action != "list" and options.worker is None:
        raise ArgumentTypeError(
            f"which worker? taskpost workers {options.action} WORKER; `taskpost workers` lists them"
        )
    if options.drain is not None and options.action != "stop":
        raise ArgumentTypeError("--drain goes with stop: taskpost workers stop WORKER --drain 5m")
    if sizes and options.action != "resize":
        given = ", ".join(f"--{name.replace('_', '-')}" for name in sizes)
        raise ArgumentTypeError(f"{given} goes with resize: taskpost workers resize WORKER --children 8")
    if options.action == "resize" and not sizes:
        wanted = ", ".join(f"--{name.replace('_', '-')}" for name in SIZES)
        raise ArgumentTypeError(f"which size? Give at least one of {wanted}")


def whole_id(api: Taskpost, given: str) -> str:
    """The id of the only live worker whose id has *given* in it; *given* itself when there is none. Raises
    ArgumentTypeError for several."""
    ids = [worker.id for worker in api.workers()]
    found = [given] if given in ids else [id_ for id_ in ids if given in id_]
    if len(found) > 1:
        raise ArgumentTypeError(f"{given!r} is part of several workers' ids: {', '.join(found)}")
    return found[0] if found else given


def tell(api: Taskpost, options: Namespace, id_: str, sizes: WorkerSizes) -> WorkerCommand:
    if options.action == "quiet":
        return api.quiet_worker(id_)
    if options.action == "resume":
        return api.resume_worker(id_)
    if options.action == "stop":
        return api.stop_worker(id_, drain_seconds=options.drain)
    return api.resize_worker(id_, **sizes)


def told(command: WorkerCommand) -> str:
    """`told to resize: children 8`."""
    given = [f"{name.replace('_', ' ')} {size}" for name in SIZES if (size := getattr(command, name)) is not None]
    if command.drain_seconds is not None:
        given.append(f"its tasks have {span(command.drain_seconds)}")
    wanted = "be quiet" if command.command == "quiet" else command.command
    return f"told to {wanted}{': ' if given else ''}{', '.join(given)}"


# ---------------------------------------------------------------- one worker


def show_worker(screen: Screen, worker: WorkerDetail, now: datetime) -> None:
    """State and versions, then its processes, then what it runs."""
    screen.line(f"{screen.state(worker.state)}  {one_line(worker.id)}")
    versions = ", ".join(f"{name} {version}" for name, version in worker.versions.items())
    rows = [
        ("machine", one_line(f"{worker.host}, process {worker.pid}")),
        ("started", f"{clock(worker.started_at)} ({relative(worker.started_at, now)})"),
        ("seen", relative(worker.seen_at, now)),
        ("versions", one_line(versions)),
        ("queues", one_line(", ".join(worker.queues) or "all")),
        ("running", f"{worker.running:,}"),
    ]
    if worker.last_command is not None:
        rows.append(("last command", f"{told(worker.last_command)} ({relative(worker.last_command.sent_at, now)})"))
    screen.fields(rows)
    screen.line("")
    show_processes(screen, worker)
    if worker.tasks:
        screen.line("")
        show_running(screen, worker, now)


def show_processes(screen: Screen, worker: WorkerDetail) -> None:
    columns = [Column("PROCESS", is_right=True), Column("STATE"), Column("PID", is_right=True)]
    columns += [Column("MEMORY", is_right=True), Column("BUSY", shrinks=True), Column("CHILDREN", shrinks=True)]
    columns += [Column("BLOCKED", is_right=True)]
    rows = [
        (
            str(one.number),
            screen.state(one.state),
            str(one.pid or ""),
            memory(one.rss_bytes),
            ", ".join(f"{lane} {slots.busy}/{slots.size}" for lane, slots in one.slots.items()),
            children(len(one.children), [child.rss_bytes for child in one.children]),
            span(one.blocked_seconds) if one.blocked_seconds else "",
        )
        for one in worker.process_list
    ]
    screen.table(columns, rows)


def show_running(screen: Screen, worker: WorkerDetail, now: datetime) -> None:
    columns = [Column("ID"), Column("TASK", shrinks=True), Column("QUEUE", shrinks=True), Column("LANE")]
    columns += [Column("TRY", is_right=True), Column("STARTED"), Column("PROCESS", is_right=True), Column("OVERDUE")]
    rows = [
        (
            one.id,
            one_line(one.name),
            one_line(one.queue),
            one.lane,
            str(one.attempt),
            relative(one.started_at, now),
            str(one.process),
            span(one.overdue_seconds) if one.overdue_seconds else "",
        )
        for one in worker.tasks
    ]
    screen.table(columns, rows)


def memory(rss_bytes: int | None) -> str:
    return "" if rss_bytes is None else f"{rss_bytes / MIB:,.0f} MiB"


def children(many: int, sizes: Sequence[int | None]) -> str:
    """`4, 120 MiB`; what they share is counted in each."""
    if not many:
        return ""
    known = [size for size in sizes if size is not None]
    return f"{many}, {memory(sum(known))}" if known else str(many)
