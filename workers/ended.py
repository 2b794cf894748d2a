"""
What a worker's log says of attempts: a line for each that did not simply succeed, once Redis has taken its report.

A traceback stands there once, when the task fails for good. The fact to know: successes, and what is put off without an
attempt being kept, are told on the level *debug* alone: who runs thousands of tasks a second would do little else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import orjson

from service.errors import PayloadUnreadable
from service.figures import WORKER_LOST
from service.ids import encode_id
from service.logs import log_task
from service.received import clip
from service.store.decisions import Again, Decision, HandOver
from service.store.endings import Ending
from service.task import Leased
from workers.held import name_of
from workers.run import Attempt, told_of

log = logging.getLogger("taskpost.task")

MOST_MESSAGE_CHARS = 500
LOST, CANCELLED = b"02"  # statuses of step.lua; the latter is reported once more, as cancelled
LOUD = (WORKER_LOST, PayloadUnreadable.__name__)  # no fault of a handler's own: somebody has to look
RELEASED = "handed back, since this worker stops; no attempt is spent"


def about(task: Leased) -> dict[str, Any]:
    """The fields of a line on *task*."""
    fields = {"task_id": encode_id(task.id), "task_name": name_of(task.submission), "attempt": task.attempt}
    fields |= {"queue": task.queue, "namespace": task.namespace}
    if traceparent := task.submission.get("traceparent"):
        fields["traceparent"] = traceparent
    return fields


def tell_all(finished: Iterable[tuple[Attempt, Any]], statuses: bytes) -> None:
    """Log how attempts ended, by what Redis said to their reports. A success costs no more than to be passed over."""
    tells_successes = log.isEnabledFor(logging.DEBUG)
    for (attempt, _), status in zip(finished, statuses, strict=True):
        decision = attempt.decision
        if status == LOST:
            if not isinstance(decision, HandOver):  # that may be finished by its endpoint already
                log_task(log, logging.WARNING, "its lease was lost, so this result is dropped", about(attempt.task))
        elif status != CANCELLED and (type(decision) is not Ending or decision.state != "succeeded" or tells_successes):
            tell(attempt)


def tell(attempt: Attempt) -> None:
    """Log how *attempt* ended."""
    decision = attempt.decision
    if decision is None:
        return
    row = orjson.loads(getattr(decision, "row", None) or b"{}")
    error = getattr(decision, "error", None) or row.get("error") or {}
    level = level_of(decision, error.get("type", ""))
    if not log.isEnabledFor(level):
        return
    outcome, error_type = told_of(decision)
    fields = {**about(attempt.task), "outcome": outcome}
    if error_type:
        fields["error_type"] = error_type
    if attempt.ended_ms:
        fields["duration_ms"] = attempt.ended_ms - attempt.task.leased_ms
    traceback = (error.get("traceback") or "").rstrip() if isinstance(decision, Ending) else None
    log_task(log, level, text_of(decision, outcome, error, row), fields, traceback)


def is_quiet(decision: Decision) -> bool:
    """Whether it is told on the level *debug* alone."""
    if isinstance(decision, Ending):
        return decision.state == "succeeded"
    return not isinstance(decision, Again) or (decision.row is None and decision.kind != b"B")


def level_of(decision: Decision, error_type: str) -> int:
    if is_quiet(decision):
        return logging.DEBUG
    if error_type in LOUD:
        return logging.ERROR
    return logging.WARNING if isinstance(decision, Ending) and decision.state == "failed" else logging.INFO


def text_of(decision: Decision, outcome: str, error: dict[str, Any], row: dict[str, Any]) -> str:
    """In words, on one line: `failed: ValueError: no such customer (its retries, 3, are spent)`."""
    if isinstance(decision, Again) and decision.kind == b"B":
        return RELEASED
    message = " ".join(clip(str(error.get("message") or ""), MOST_MESSAGE_CHARS).split())
    named = error.get("type") if outcome in ("failed", "retried") else ""
    words = ": ".join(word for word in (outcome, named, message) if word)
    return f"{words} ({row['reason']})" if row.get("reason") else words
