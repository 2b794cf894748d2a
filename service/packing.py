"""
How a submission that has no faults becomes a record. Pure.

The fact to know: a stored submission is the user's own object without `queue` and `priority`, which the header holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import orjson

from service.due import due_of, expires_ms_of, waits_ms_of
from service.flow import Flow, flow_of, with_whole_limits
from service.submission import Submission
from service.task import DEFAULT_PRIORITY, RELATIVE, WAITING, pack_header, pack_submission, stored_queue
from service.ties import NO_TIES, Ties
from service.unique import unique_of

WHOLE_NUMBERS = ("priority", "retries", "max_crashes")


@dataclass(slots=True)
class Packed:
    """
    A submission ready to be stored. *submission* is what the record holds; *delay_ms* counts from when it is stored,
    *due_ms* is absolute and 0 for at once, *first_ms* is the time that `run_at` named, or 0. *flow* is its flow key.
    """

    record: bytes
    submission: Submission
    queue: str
    priority: int
    lane: str
    delay_ms: int = 0
    due_ms: int = 0
    first_ms: int = 0
    flow: Flow | None = None
    ties: Ties = NO_TIES


@lru_cache(4096)
def waiting_header(priority: int, lane: str, max_crashes: int, queue: str) -> bytes:
    """The header of a task that may run at once; the same for most."""
    return pack_header(state=WAITING, priority=priority, lane=lane, time_ms=0, max_crashes=max_crashes, queue=queue)


def with_whole_numbers(submission: Submission) -> None:
    """JSON has one kind of number: 5.0 is the integer 5."""
    for name in WHOLE_NUMBERS:
        if type(submission.get(name)) is float:
            submission[name] = int(submission[name])
    if isinstance(flow := submission.get("flow"), dict):
        with_whole_limits(flow)


def canonical(submission: Submission) -> bytes:
    """The submission in one way of writing it, to tell whether two are the same."""
    if "traceparent" in submission:  # a submission that is sent again may be part of another trace
        submission = {name: value for name, value in submission.items() if name != "traceparent"}
    return orjson.dumps(submission, option=orjson.OPT_SORT_KEYS)


# Fields of which ties are made.
TIED = frozenset(("flow", "group", "unique", "debounce", "expires_in_seconds", "expires_at"))


def ties_of(submission: Submission, namespace: str, flow: Flow | None, now_ms: int) -> Ties:
    """What ties the task of *submission*, which comes in now, to others and to a time."""
    unique, claim = unique_of(submission, namespace)
    return Ties(
        flow=flow.hash if flow else b"",
        unique=unique,
        claim=claim,
        group=submission.get("group", ""),
        expires_ms=expires_ms_of(submission, now_ms),
    )


def pack(submission: Submission, namespace: str, *, queue: str, lane: str, max_crashes: int, now_ms: int) -> Packed:
    """
    *submission*, which has no faults, as a record; it is changed. *queue* and *max_crashes* are those that apply
    when it names none.
    """
    queue = submission.pop("queue", queue)
    priority = submission.pop("priority", DEFAULT_PRIORITY)
    max_crashes = submission.get("max_crashes", max_crashes)
    stored = stored_queue(namespace, queue)
    delay_ms = int(submission.get("delay_seconds", 0) * 1000)
    run_at = submission.get("run_at")
    flow = flow_of(submission, namespace) if "flow" in submission else None
    ties = NO_TIES if TIED.isdisjoint(submission) else ties_of(submission, namespace, flow, now_ms)
    if not delay_ms and run_at is None and ties is NO_TIES:
        head = waiting_header(priority, lane, max_crashes, stored)
        return Packed(head + pack_submission(submission), submission, queue, priority, lane)
    due_ms = first_ms = 0
    delay_ms = delay_ms or waits_ms_of(submission)
    if run_at is not None:
        first_ms, submission["run_at"] = due_of(run_at)
        due_ms = first_ms if first_ms > now_ms else 0
    head = pack_header(
        state=RELATIVE if delay_ms else WAITING, priority=priority, lane=lane, time_ms=delay_ms or due_ms,
        max_crashes=max_crashes, queue=stored, ties=ties,
    )  # fmt: skip
    record = head + pack_submission(submission)
    return Packed(record, submission, queue, priority, lane, delay_ms, due_ms, first_ms, flow, ties)
