"""
How a task ends, as bytes: the report that a script takes, with the callback that it creates.

Scripts never decode bodies, so every ending is prepared here, and sealed where there are keys; tokens and states guard
it there. Pure but for the nonces of what is sealed: the same task and outcome give the same report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from service.ids import created_ms, encode_id
from service.redaction import redaction_of
from service.sealing import keyring_of
from service.settings import Settings
from service.showing import show
from service.store.records import ended, namespace_of, sealed_lines, sealed_record, sealed_row
from service.store.tallies import tally_of
from service.task import (
    CALLBACK_QUEUE,
    ENDED,
    WAITING,
    Leased,
    Record,
    Snapshot,
    pack_header,
    pack_submission,
    parse_record,
    rfc3339,
    stored_queue,
)
from service.unique import kept_ms_of

WORKER_LOST = "worker_lost"
NO_TOKEN = bytes(12)
LEAST_TTL_MS = 60_000  # a submission that is sent again must find its task
IDEMPOTENCY_MS = 86_400_000
ROW, CALLBACK, KEEPS, PROGRESSED, LOGGED, OVERDUE, NOTICE, REPEATED = 1, 2, 4, 8, 16, 32, 64, 128

HANDED_OVER = b"H"
NOTICE_RETRIES = 3  # that a task is being cancelled is no news for long


@dataclass(slots=True)
class Ending:
    """
    The end of a task, before it is bytes.

    *result* is JSON, *error* `{type, message, traceback}`; *row* is the last attempt as the API shows it, or None
    when it was the first and succeeded: then *http* is what is kept of its call. *log* holds lines of it that may not
    have been noted (`pack_lines`).
    """

    state: str
    result: bytes | None = None
    error: dict[str, Any] | None = None
    row: bytes | None = None
    progress: dict[str, Any] | None = None
    log: bytes = b""
    http: dict[str, Any] | None = None
    dropped_bytes: int = 0  # size of a result that was left out since Redis was full


@dataclass(slots=True)
class Origin:
    """What is known of the task that ends: its record as stored, and its last attempt."""

    id: bytes
    raw: bytes
    submission: dict[str, Any]
    token: bytes
    attempt: int
    crashes: int
    started_ms: int
    worker: str

    @classmethod
    def of_leased(cls, task: Leased, worker: str) -> Origin:
        return cls(
            task.id, task.raw, task.submission, task.token, task.attempt, task.crashes, task.leased_ms, worker
        )


def report(
    origin: Origin, ending: Ending, options: Mapping[str, Any], *, now_ms: int, settings: Settings
) -> list[bytes]:
    """
    The arguments by which `step.lua` or `end.lua` end this task.

    *options* are those in force (see `task.options_of`); *now_ms* is used for the callback's text only,
    Redis notes its own time.
    """
    ttl_ms, keeps = time_to_live(origin, ending, options, now_ms, settings)
    flags = KEEPS if keeps else 0
    if ending.progress:
        flags |= PROGRESSED
    if options["result_ttl_seconds"] == 0:
        ending.result = None
    keyring = keyring_of(settings.encryption_keys)
    namespace = namespace_of(origin.raw) if keyring.is_sealing else ""
    head4 = ENDED[ending.state] + origin.raw[2:5]
    callback = origin.submission.get("callback")
    called = (
        callback_id(origin.id, now_ms) if callback and ending.state in (callback.get("on") or ENDED) else None
    )
    outcome = outcome_of(origin, ending, called)
    extra: list[bytes] = []
    if ending.row is not None:
        flags |= ROW
        extra.append(sealed_row(keyring, namespace, origin.id, ending.row))
    if called:
        flags |= CALLBACK
        extra += [called, callback_record(origin, called, outcome, head4, options, now_ms, settings)]
    if ending.log:
        flags |= LOGGED
        extra.append(sealed_lines(keyring, namespace, origin.id, ending.log))
    kind, format_, value = ended(keyring, namespace, origin.id, origin.raw, outcome)
    error, ran_ms = error_type(ending.error), None
    if origin.token != NO_TOKEN and error != WORKER_LOST:  # else none ran, or nobody knows for how long
        ran_ms = now_ms - origin.started_ms
    tally = tally_of(ENDED[ending.state], origin.raw, origin.submission, ran_ms, error)
    ttl = ttl_ms.to_bytes(6, "big")
    head = b"%b%c%b%b%b%c%b%b" % (kind, flags, origin.id, origin.token, ttl, format_, head4, tally)
    return [head, value, *extra]


def error_type(error: Mapping[str, Any] | None) -> str:
    return "" if error is None else str(error.get("type", ""))


def again(
    task: Leased,
    kind: bytes,
    delay_ms: int,
    row: bytes | None,
    log: bytes = b"",
    is_repeated: bool = False,
    tally: bytes = b"",
) -> list[bytes]:
    """
    The arguments by which `step.lua` lets a task run again: *kind* R, D, B or K (see there); *log*: see `Ending`. A
    *row* that *is_repeated* takes the place of the last one, if that tells the same type of error. *tally* is what is
    counted.
    """
    flags = (ROW if row else 0) | (LOGGED if log else 0) | (REPEATED if is_repeated else 0)
    head = b"%b%c%b%b%b\0\0\0\0\0%b" % (kind, flags, task.id, task.token, delay_ms.to_bytes(6, "big"), tally)
    return [head, b"", *filter(None, (row, log))]


def hand_over(task: Leased, interval_ms: int, last_ms: int) -> list[bytes]:
    """
    The arguments by which `step.lua` hands a task over to its endpoint, which is to be heard from every *interval_ms*
    and done by *last_ms*.
    """
    head = b"%b\0%b%b%b" % (HANDED_OVER, task.id, task.token, interval_ms.to_bytes(6, "big"))
    return [head, last_ms.to_bytes(6, "big")]


def only_if_overdue(report: list[bytes]) -> list[bytes]:
    """*report*, to be refused when the endpoint that holds the task has been heard from in its time after all."""
    head, *rest = report
    return [b"%b%c%b" % (head[:1], head[1] | OVERDUE, head[2:]), *rest]


def time_to_live(
    origin: Origin, ending: Ending, options: Mapping[str, Any], now_ms: int, settings: Settings
) -> tuple[int, bool]:
    """(ms the ended task is kept, whether that is a time of its own rather than its list's)."""
    own_ms, listed_ms = int(float(options["result_ttl_seconds"]) * 1000), int(settings.result_ttl_seconds * 1000)
    if ending.state == "failed":
        listed_ms = int(settings.failure_ttl_seconds * 1000)
        of_queue = options.get("failure_ttl_seconds")
        own_ms = max(own_ms, listed_ms) if of_queue is None else int(float(of_queue) * 1000)
    if origin.submission.get("idempotency_key"):
        # As long as the key answers with this task, there must be a task to answer with.
        own_ms = max(own_ms, IDEMPOTENCY_MS + created_ms(origin.id) - now_ms)
    if kept_ms := kept_ms_of(origin.submission):
        own_ms = max(own_ms, kept_ms + created_ms(origin.id) - now_ms)  # likewise, for its unique key
    ttl_ms = max(own_ms, LEAST_TTL_MS)
    return ttl_ms, ttl_ms != listed_ms


def outcome_of(origin: Origin, ending: Ending, called: bytes | None) -> bytes:
    """The outcome as JSON; a result is spliced in, not decoded."""
    fields: dict[str, Any] = {"attempt": origin.attempt}
    if origin.crashes:
        fields["crashes"] = origin.crashes
    if origin.started_ms:
        fields["started_ms"] = origin.started_ms
        fields["worker"] = origin.worker
    if ending.error is not None:
        fields["error"] = ending.error
    if ending.http:
        fields["http"] = ending.http
    if ending.dropped_bytes:
        fields["dropped_bytes"] = ending.dropped_bytes
    if called:
        fields["callback"] = encode_id(called)
    if ending.progress:
        fields["progress"] = ending.progress
    text = orjson.dumps(fields)
    if ending.result is None or ending.result == b"null":
        return text
    return b'%b,"result":%b}' % (text[:-1], ending.result)


def callback_id(id_: bytes, now_ms: int) -> bytes:
    """The id of the task that delivers the callback of *id_*, which ends at *now_ms*: same shard, derived from it."""
    return now_ms.to_bytes(6, "big") + id_[6:7] + bytes(byte ^ 0x5A for byte in id_[7:])


def callback_record(
    origin: Origin,
    called: bytes,
    outcome: bytes,
    head4: bytes,
    options: Mapping[str, Any],
    now_ms: int,
    settings: Settings,
) -> bytes:
    """The record of the task *called* that delivers the callback: a URL task in the namespace's queue `callbacks`."""
    raw = origin.raw[:1] + head4 + now_ms.to_bytes(6, "big") + origin.raw[11:]
    snapshot = Snapshot(origin.id, parse_record(raw, outcome), None, None, now_ms)
    callback, record = origin.submission["callback"], snapshot.record
    shown = show(snapshot, options, redaction_of(settings.redact_headers))
    body = {"type": f"task.{snapshot.state}", "timestamp": rfc3339(now_ms), "data": shown}
    submission = {
        "url": callback["url"],
        "headers": callback.get("headers", {}),
        "body": body,
        "callback_of": encode_id(origin.id),
    }
    if "traceparent" in origin.submission:
        submission["traceparent"] = origin.submission["traceparent"]
    return called_record(called, record, submission, settings)


def called_record(id_: bytes, record: Record, submission: dict[str, Any], settings: Settings) -> bytes:
    """The record of the task *id_* that makes the call of *submission* for the task of *record*."""
    header = pack_header(
        state=WAITING,
        priority=record.priority,
        lane="url",
        time_ms=0,
        max_crashes=record.max_crashes,
        queue=stored_queue(record.namespace, CALLBACK_QUEUE),
    )
    return sealed_record(keyring_of(settings.encryption_keys), id_, header + pack_submission(submission))


def worker_lost(message: str) -> dict[str, Any]:
    """The error of an attempt that ended with its worker or its process."""
    return {"type": WORKER_LOST, "message": message, "traceback": None}


def crashed_too_often(reason: str, crashes: int, max_crashes: int) -> dict[str, Any]:
    """The error of a task that may not run again."""
    times = f"{crashes} time{'s' * (crashes > 1)}"
    return worker_lost(f"{reason}. It has crashed {times}; max_crashes is {max_crashes}.")


def with_notice(
    ending: list[bytes], origin: Origin, attempt: int, now_ms: int, settings: Settings
) -> list[bytes]:
    """
    The report *ending*, which asks for cancellation, with the task that tells the `cancel_url`, if the task has one;
    `end.lua` makes it if that stops a running attempt.
    """
    if "cancel_url" not in origin.submission:
        return ending
    body = {
        "type": "task.cancelling",
        "timestamp": rfc3339(now_ms),
        "data": {"id": encode_id(origin.id), "attempt": attempt},
    }
    submission = {"url": origin.submission["cancel_url"], "body": body, "callback_of": encode_id(origin.id)}
    submission |= {"retries": NOTICE_RETRIES, "backoff": {"kind": "exponential"}}
    if "traceparent" in origin.submission:
        submission["traceparent"] = origin.submission["traceparent"]
    head, *rest = ending
    flagged = b"%b%c%b" % (head[:1], head[1] | NOTICE, head[2:])
    id_ = now_ms.to_bytes(6, "big") + origin.id[6:7] + bytes(byte ^ 0xA5 for byte in origin.id[7:])
    record = called_record(id_, parse_record(origin.raw), submission, settings)
    return [flagged, *rest, id_, record]
