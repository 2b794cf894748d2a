"""
Tasks that end from outside an attempt: cancelled by a user, or lost with their workers.

Every worker parent and every scheduler reaps about once a second; the script sees to it that they do not
get in each other's way. What is decided here: how such a task ends.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import orjson

from service.ids import encode_id, shard_of
from service.settings import Settings
from service.store.completions import Completions
from service.store.endings import NO_TOKEN, Ending, Origin, crashed_too_often, report, with_notice, worker_lost
from service.store.tasks import Tasks
from service.store.workers import HandlerBook
from service.task import Record, Run, parse_record, parse_run

log = logging.getLogger("taskpost.store")


async def reap(
    tasks: Tasks,
    book: HandlerBook,
    settings: Settings,
    shard: int,
    lost: Sequence[tuple[bytes, bytes]] = (),
    together: int = 0,
    reason: str = "",
) -> int:
    """
    Give back or end the tasks of *shard* whose leases ended, or those of *lost*, at once; *together* is how many
    the process held that ended with them, *reason* how it ended, which their attempts then say. Answers how many.

    Raises:
        StoreUnavailable: Redis did not answer; nothing is lost, the next reap does it.
    """
    given_back, ending = await tasks.reap(shard, lost, together, reason)
    silent, ended = 0, []
    if ending:
        reports = []
        for id_, token in ending:
            packed = await tasks.packed_run(id_)
            if packed is not None and parse_run(packed).is_external:
                await Completions(tasks, book, settings).end_silent(id_, token)
                silent += 1
            elif made := await lost_report(tasks, book, settings, id_, token, reason):
                reports.append(made)
                ended.append(encode_id(id_))
        if reports:
            await tasks.end(shard, reports)
    if silent:
        log.warning("%d attempts ended: the endpoints that took them over were not heard from", silent)
    if given_back and not lost:  # of those that are, who saw their process die has told
        log.warning("tasks of lost workers: %d given back", given_back)
    if ended:
        log.warning("tasks of lost workers: %d ended: %s", len(ended), ", ".join(ended), extra={"task_ids": ended})
    return given_back + len(ending)


async def cancel(tasks: Tasks, book: HandlerBook, settings: Settings, id_: bytes) -> str | None:
    """
    Cancel a task: one that waits ends at once, a running one is asked to stop.

    Answers `ended`, `stopping`, or `over` when it had ended before; None when there is no such task.

    Raises:
        StoreUnavailable: Redis did not answer; asking again is safe.
    """
    raw = await tasks.raw(id_)
    if raw is None:
        return None
    packed = await tasks.packed_run(id_)
    made = cancelling(tasks, book, settings, id_, raw, parse_record(raw), parse_run(packed) if packed else None)
    status = await tasks.end(shard_of(id_), [made])
    return {b"1": "ended", b"2": "stopping", b"3": "over", b"0": None}[status]


def cancelling(
    tasks: Tasks, book: HandlerBook, settings: Settings, id_: bytes, raw: bytes, record: Record, run: Run | None
) -> list[bytes]:
    """The report that cancels a task, as it was read."""
    origin = Origin(
        id_, raw, record.submission, NO_TOKEN, run.attempt if run else 0, run.crashes if run else 0,
        run.started_ms if run else 0, run.worker if run else "",
    )  # fmt: skip
    made = ending_report(tasks, book, settings, origin, record, Ending("cancelled"))
    attempt = (run.attempt if run else 0) + (0 if run and run.is_held else 1)
    return with_notice(made, origin, attempt, tasks.clock.now_ms(), settings)


def ending_report(
    tasks: Tasks, book: HandlerBook, settings: Settings, origin: Origin, record: Record, ending: Ending
) -> list[bytes]:
    """The report that ends a task in this way, with the options in force for it."""
    options = book.options(record.submission, record.namespace, record.queue, settings)
    now_ms = tasks.clock.now_ms()
    return report(origin, ending, options, now_ms=now_ms, settings=settings)


async def lost_report(
    tasks: Tasks, book: HandlerBook, settings: Settings, id_: bytes, token: bytes, reason: str = ""
) -> list[bytes] | None:
    """How a task ends that lost its worker for good: cancelled when that was asked for, failed otherwise."""
    raw = await tasks.raw(id_)
    packed = await tasks.packed_run(id_)
    if raw is None or packed is None:
        return None
    record, run = parse_record(raw), parse_run(packed)
    if run.token != token or record.has_ended:
        return None
    now_ms = tasks.clock.now_ms()
    origin = Origin(id_, raw, record.submission, token, run.attempt, run.crashes + 1, run.started_ms, run.worker)
    return ending_report(tasks, book, settings, origin, record, lost_ending(record, run, now_ms, reason))


def lost_ending(record: Record, run: Run, now_ms: int, reason: str) -> Ending:
    """The ending of a task whose worker died while it ran, for this *reason*, if it is known."""
    row: dict[str, Any] = {
        "attempt": run.attempt,
        "started_ms": run.started_ms,
        "finished_ms": now_ms,
        "worker": run.worker,
        "outcome": "crashed",
    }
    if reason:
        row["error"] = worker_lost(reason)
    if run.is_cancelling:
        return Ending("cancelled", row=orjson.dumps(row))
    error = crashed_too_often(reason or "its worker died or fell silent", run.crashes + 1, record.max_crashes)
    return Ending("failed", error=error, row=orjson.dumps(row))
