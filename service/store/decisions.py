"""
What an outcome means for its task: it ends, or runs again. The same in a worker and where an endpoint reports later.

Pure but for chance, which comes in as a function: nothing here reads or writes Redis. The answer is a decision,
and its report is what step.lua takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from service.outcome import (
    NOT_BEGUN,
    SHUTDOWN,
    Accepted,
    Cancelled,
    Crashed,
    Deferred,
    Failed,
    Outcome,
    PutOff,
    Succeeded,
)
from service.retry import delay_seconds
from service.sealing import keyring_of
from service.settings import Settings
from service.store.endings import WORKER_LOST, Ending, Origin, again, crashed_too_often, error_type, hand_over, report
from service.store.records import sealed_lines, sealed_row
from service.store.tallies import tally_of
from service.task import Leased, rfc3339


@dataclass(slots=True)
class Again:
    """The task runs again: `R` after a failure, `D` deferred, `B` handed back, `K` after a crash (see step.lua)."""

    kind: bytes
    delay_ms: int = 0
    row: bytes | None = None
    log: bytes = b""  # see `Ending`
    is_repeated: bool = False  # the row replaces one of the same kind before it
    error_type: str = ""  # what is counted of it


@dataclass(slots=True)
class HandOver:
    """The endpoint holds the task from now on; it is to be heard from every *interval_ms*, and done by *last_ms*."""

    interval_ms: int
    last_ms: int


Decision = Ending | Again | HandOver


def decide(
    task: Leased,
    outcome: Outcome | Accepted | PutOff,
    options: Mapping[str, Any],
    now_ms: int,
    worker: str,
    chance: Callable[[], float],
) -> Decision:
    """What *outcome* means for the task: it ends, or runs again. Pure but for *chance*, a number from 0 up to 1."""
    if isinstance(outcome, Succeeded):
        if task.attempt > 1 or task.crashes or "times" in (outcome.http or {}):
            row = row_of(task, outcome, "succeeded", now_ms, worker)
            return Ending("succeeded", result=outcome.result_json, row=row)
        return Ending("succeeded", result=outcome.result_json, http=outcome.http)
    if isinstance(outcome, Cancelled):
        if outcome.reason in (SHUTDOWN, NOT_BEGUN):
            return Again(b"B")
        return Ending("cancelled", row=row_of(task, outcome, "cancelled", now_ms, worker))
    if isinstance(outcome, Crashed):
        return after_crash(task, outcome, now_ms, worker)
    if isinstance(outcome, PutOff):
        return Again(b"D", int(outcome.after_seconds * 1000))
    last_ms = task.due_ms + int(options["retry_for_seconds"] * 1000)
    if isinstance(outcome, Accepted):
        # However little the task's whole time is, an attempt has its own.
        last_ms = max(last_ms, task.leased_ms + int(options["timeout_seconds"] * 1000))
        return HandOver(int(outcome.heartbeat_seconds * 1000), last_ms)
    if isinstance(outcome, Deferred):
        delay_ms = int(outcome.after_seconds * 1000)
        if now_ms + delay_ms <= last_ms and not expires_by(task, now_ms + delay_ms):
            why = f"put off for {delay_ms / 1000:g} s, which spends no retry"
            row = row_of(task, outcome, "deferred", now_ms, worker, now_ms + delay_ms, why)
            return Again(b"D", delay_ms, row, is_repeated=bool(outcome.kind))
        outcome = Failed(too_late(task, options, outcome.reason), retry=False, http=outcome.http)
    retries, why = options["retries"], "a failure that is not tried again"
    if outcome.retry and task.attempt <= retries:
        after, asked = outcome.after_seconds, "as asked"
        if after is None:
            after, asked = delay_seconds(options["backoff"], task.attempt, chance), "by its backoff"
        delay_ms = int(after * 1000)
        if now_ms + delay_ms <= last_ms and not expires_by(task, now_ms + delay_ms):
            why = f"retry {task.attempt} of {retries}, after {delay_ms / 1000:g} s {asked}"
            row = row_of(task, outcome, "retried", now_ms, worker, now_ms + delay_ms, why)
            return Again(b"R", delay_ms, row, error_type=error_type(outcome.error))
        why = f"the next retry would come later than {limit_of(task, options)}"
    elif outcome.retry:
        why = f"its retries, {retries}, are spent" if retries else "it has no retries"
    row = row_of(task, outcome, "failed", now_ms, worker, why=why)
    status = (outcome.http or {}).get("status")
    return Ending("failed", error=outcome.error, row=row, http={"status": status} if status else None)


def after_crash(task: Leased, outcome: Crashed, now_ms: int, worker: str) -> Decision:
    """The task of a process that died runs again, as often as its `max_crashes` allow."""
    row = row_of(task, outcome, "crashed", now_ms, worker)
    if task.crashes < task.max_crashes:
        return Again(b"K", row=row, error_type=WORKER_LOST)
    return Ending("failed", error=crashed_too_often(outcome.reason, task.crashes + 1, task.max_crashes), row=row)


def expires_by(task: Leased, at_ms: int) -> bool:
    """Whether the task may not start any more at *at_ms*."""
    return 0 < task.expires_ms <= at_ms


def limit_of(task: Leased, options: Mapping[str, Any]) -> str:
    """What keeps the task from coming back, in words."""
    allowed = f"its retry_for_seconds, {options['retry_for_seconds']:g}, allow"
    return f"{allowed}, or it expires, at {rfc3339(task.expires_ms)}" if task.expires_ms else allowed


def too_late(task: Leased, options: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """The error of a task that would be deferred beyond its time."""
    message = f"it was to come back later than {limit_of(task, options)}"
    return {"type": "RetryTimeExceeded", "message": f"{message}: {reason}" if reason else message, "traceback": None}


def row_of(
    task: Leased,
    outcome: Outcome,
    named: str,
    now_ms: int,
    worker: str,
    retry_ms: int | None = None,
    why: str | None = None,
) -> bytes:
    """The attempt as it is kept: JSON with times in ms; *why* another follows, or none."""
    row: dict[str, Any] = {
        "attempt": task.attempt,
        "started_ms": task.leased_ms,
        "finished_ms": now_ms,
        "worker": worker,
        "outcome": named,
    }
    if isinstance(outcome, Failed):
        row["error"] = outcome.error
    elif not isinstance(outcome, Succeeded) and outcome.reason:
        kind = WORKER_LOST if isinstance(outcome, Crashed) else getattr(outcome, "kind", "") or type(outcome).__name__
        row["error"] = {"type": kind, "message": outcome.reason, "traceback": None}
    if not isinstance(outcome, Cancelled | Crashed) and outcome.http:
        row["http"] = outcome.http
    if retry_ms is not None:
        row["retry_ms"] = retry_ms
    if why is not None:
        row["reason"] = why
    return orjson.dumps(row)


def report_of(
    task: Leased, decision: Decision, options: Mapping[str, Any], settings: Settings, worker: str, now_ms: int
) -> list[bytes]:
    """*decision* on *task*, which *worker* holds, as step.lua takes it."""
    if isinstance(decision, HandOver):
        return hand_over(task, decision.interval_ms, decision.last_ms)
    if isinstance(decision, Again):
        ran_ms = now_ms - task.leased_ms if decision.kind == b"R" else None
        tally = tally_of(decision.kind, task.raw, task.submission, ran_ms, decision.error_type)
        row, log = decision.row, decision.log
        if row or log:
            keyring = keyring_of(settings.encryption_keys)
            row = sealed_row(keyring, task.namespace, task.id, row or b"")
            log = sealed_lines(keyring, task.namespace, task.id, log)
        return again(task, decision.kind, decision.delay_ms, row, log, decision.is_repeated, tally)
    origin = Origin.of_leased(task, worker)
    if decision.error is not None and decision.error["type"] == WORKER_LOST:
        origin.crashes += 1
    if decision.state == "expired":  # this attempt has not begun
        origin.attempt -= 1
        origin.started_ms = 0
    return report(origin, decision, options, now_ms=now_ms, settings=settings)
