"""
Tasks out of the bytes that scripts answer: a leased one, and one as it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from service.errors import PayloadUnreadable
from service.sealing import Keyring
from service.store.records import CHECKPOINT, OUTCOME, PROGRESS, namespace_of, opened_record, opened_value
from service.task import (
    DEFAULT_QUEUE,
    HEADER_BYTES,
    SEALED,
    Leased,
    Snapshot,
    named_of,
    parse_record,
    parse_run,
    rfc3339,
    split_queue,
    submission_of,
    unpack_submission,
)

HAS_CHECKPOINT = 64  # a flag of a run
QUEUES: dict[bytes, tuple[str, str]] = {}  # stored name without ties -> (namespace, queue); a worker meets few


def all_leased_of(
    reply: Sequence[bytes], token: bytes, now_ms: int, has_checkpoints: bool, keyring: Keyring
) -> list[Leased]:
    """The leased tasks of step.lua's reply; a checkpoint follows where the flags name one."""
    if not has_checkpoints:
        return [leased_of(packed, token, now_ms, keyring) for packed in reply]
    leased: list[Leased] = []
    parts = iter(reply)
    for packed in parts:
        task = leased_of(packed, token, now_ms, keyring)
        if packed[20] & HAS_CHECKPOINT:
            stored = next(parts)  # when (6 bytes), its number (4), JSON
            task.checkpoint_number = int.from_bytes(stored[6:10], "big")
            try:
                task.checkpoint = keyring.opened(stored[10:], task.namespace, task.id, CHECKPOINT)
            except PayloadUnreadable as exc:  # without it an attempt would do again what is done
                task.unreadable = exc
        leased.append(task)
    return leased


def leased_of(packed: bytes, token: bytes, now_ms: int, keyring: Keyring) -> Leased:
    """A leased task from step.lua's reply: id, attempt (2 bytes), crashes, undelivered, flags, record."""
    raw, unreadable = packed[21:], None
    if raw[0] == SEALED:
        raw, unreadable = opened_record(keyring, packed[:16], raw)
    if unreadable is None:
        start, text = submission_of(raw)
        submission = unpack_submission(text)
    else:
        start = HEADER_BYTES + raw[12]
        submission = named_of(raw[start:])
    stored = raw[13:start]
    named = QUEUES.get(stored)
    if named is None:
        name = stored.partition(b"\0")[0]
        named = split_queue(name.decode() or DEFAULT_QUEUE)
        if name == stored:
            QUEUES[stored] = named
    return Leased(
        packed[:16], token, raw, submission, named[1], named[0], raw[3] - 48, LANE[raw[4]],
        packed[16] << 8 | packed[17], packed[18], now_ms, bool(packed[20] & 32), unreadable,
    )  # fmt: skip


LANE = {ord("u"): "url", ord("a"): "async", ord("t"): "thread", ord("p"): "process", ord("l"): "pull"}


def snapshot_of(
    keyring: Keyring,
    id_: bytes,
    now_ms: int,
    raw: bytes | None,
    run: bytes | None,
    outcome: bytes | None,
    progress: bytes | None,
    checkpoint: bytes | None = None,
) -> Snapshot | None:
    """One task of read.lua's reply."""
    if raw is None:
        return None
    raw, unreadable = opened_record(keyring, id_, raw)
    namespace = namespace_of(raw) if outcome or progress else ""
    try:
        outcome = keyring.opened(outcome, namespace, id_, OUTCOME) if outcome else outcome
    except PayloadUnreadable as exc:
        outcome, unreadable = b"{}", exc
    progress = opened_value(keyring, namespace, id_, PROGRESS, progress) if progress else None
    record = parse_record(raw, outcome)
    record.unreadable = unreadable
    return Snapshot(
        id=id_,
        record=record,
        run=parse_run(run) if run else None,
        progress=orjson.loads(progress) if progress else None,
        now_ms=now_ms,
        size=len(raw) + len(outcome or b""),
        raw=raw,
        checkpoint=shown_mark(checkpoint) if checkpoint else None,
    )


def shown_mark(packed: bytes) -> dict[str, Any]:
    """That a task has a checkpoint, as read.lua answers it: 6 bytes of time, 4 of length."""
    return {"at": rfc3339(int.from_bytes(packed[:6], "big")), "bytes": int.from_bytes(packed[6:], "big")}


def pairs_of(reply: Any) -> list[tuple[bytes, bytes]]:
    """HGETALL's reply as pairs, whatever shape the library gives it."""
    if isinstance(reply, dict):
        return list(reply.items())
    return list(zip(reply[::2], reply[1::2], strict=True))
