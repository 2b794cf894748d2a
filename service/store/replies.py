"""
Tasks out of the bytes that scripts answer: a leased one, and one as it reads.
"""

from __future__ import annotations

import orjson

from service.task import (
    DEFAULT_QUEUE,
    Leased,
    Snapshot,
    parse_record,
    parse_run,
    split_queue,
    submission_of,
    unpack_submission,
)

QUEUES: dict[bytes, tuple[str, str]] = {}  # stored name -> (namespace, queue); a worker meets few


def leased_of(packed: bytes, token: bytes, now_ms: int) -> Leased:
    """A leased task from step.lua's reply: id, attempt (2 bytes), crashes, undelivered, flags, record."""
    raw = packed[21:]
    start, submission = submission_of(raw)
    stored = raw[13:start]
    named = QUEUES.get(stored)
    if named is None:
        named = QUEUES[stored] = split_queue(stored.decode() or DEFAULT_QUEUE)
    return Leased(
        packed[:16], token, raw, unpack_submission(submission), named[1], named[0], raw[3] - 48, LANE[raw[4]],
        packed[16] << 8 | packed[17], packed[18], now_ms, bool(packed[20] & 32),
    )  # fmt: skip


LANE = {ord("u"): "url", ord("a"): "async", ord("t"): "thread", ord("p"): "process", ord("l"): "pull"}


def snapshot_of(
    id_: bytes,
    now_ms: int,
    raw: bytes | None,
    run: bytes | None,
    outcome: bytes | None,
    progress: bytes | None,
) -> Snapshot | None:
    """One task of read.lua's reply."""
    if raw is None:
        return None
    return Snapshot(
        id=id_,
        record=parse_record(raw, outcome),
        run=parse_run(run) if run else None,
        progress=orjson.loads(progress) if progress else None,
        now_ms=now_ms,
        size=len(raw) + len(outcome or b""),
    )
