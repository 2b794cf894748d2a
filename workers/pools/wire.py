"""
What a process pool and its executors say to each other: frames over a socket, each with the number of its call.

    pool to executor   call    [name, args, what the context knows]     soft, cancel, terminate: see `executor.py`
                       kept, refused: how it went with a checkpoint, by its number, and a text
    executor to pool   ready   it takes calls                           progress  [current, total, message]
                       log     [ms on the monotonic clock, level, message]
                       checkpoint  its number among those of the executor, and what it says, as it is stored
                       succeeded, failed, deferred, cancelled: the outcome; the next call begins
                       withdrawn: a call that the pool had taken back, or that came behind the executor's last

The first carries the result as it is stored, the others a JSON list of the outcome's fields.
"""

from __future__ import annotations

import struct
from typing import Any

import orjson

from workers.context import Context
from workers.outcome import Cancelled, Deferred, Failed, Outcome, Succeeded

HEAD = struct.Struct("=IBBQ")  # length of the body, kind, flags, number of the call
CALL, SOFT, CANCEL, TERMINATE, READY, PROGRESS, SUCCEEDED, FAILED, DEFERRED, CANCELLED = range(1, 11)
LOG, WITHDRAWN, CHECKPOINT, KEPT, REFUSED = range(11, 16)
NUMBER = struct.Struct("=Q")  # what the bodies of the last three begin with
ASIDE = 1  # flag of a checkpoint: it comes from a thread of the handler's own, so only a signal makes it heard
# Flags of an outcome: the handler noticed that it was to stop; it was the executor's last; it took a while, and how
# much processor time that was (`SPENT`) stands before what is carried.
STOP_SEEN, RETIRES, TIMED = 1, 2, 4
SPENT = struct.Struct("=d")
TIMED_SECONDS = 0.01  # from which that is told: of shorter ones nobody asks where the time went
READ_BYTES = 256 * 1024

Frame = tuple[int, int, int, bytes]


def pack(kind: int, number: int = 0, body: bytes = b"", flags: int = 0) -> bytes:
    return HEAD.pack(len(body), kind, flags, number) + body


class Cutter:
    """Cuts a byte stream into frames: (kind, flags, number, body)."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, received: bytes) -> list[Frame]:
        received = self.rest + received if self.rest else received
        frames: list[Frame] = []
        at, end = 0, len(received)
        while end - at >= HEAD.size:
            length, kind, flags, number = HEAD.unpack_from(received, at)
            after = at + HEAD.size + length
            if after > end:
                break
            frames.append((kind, flags, number, received[at + HEAD.size : after]))
            at = after
        self.rest = received[at:]
        return frames


def pack_call(number: int, name: str, args: dict[str, Any], ctx: Context) -> bytes:
    """A call of the handler *name*."""
    return pack(CALL, number, orjson.dumps([name, args, ctx.facts()]))


def pack_outcome(number: int, outcome: Outcome, flags: int, spent_seconds: float | None = None) -> bytes:
    kind, body = outcome_parts(outcome)
    if spent_seconds is not None:
        body, flags = SPENT.pack(spent_seconds) + body, flags | TIMED
    return pack(kind, number, body, flags)


def outcome_parts(outcome: Outcome) -> tuple[int, bytes]:
    match outcome:
        case Succeeded():
            return SUCCEEDED, outcome.result_json
        case Failed():
            kind, fields = FAILED, [outcome.error, outcome.retry, outcome.after_seconds]
        case Deferred():
            kind, fields = DEFERRED, [outcome.after_seconds, outcome.reason]
        case _:
            kind, fields = CANCELLED, [outcome.reason]
    return kind, orjson.dumps(fields)


def read_outcome(kind: int, body: bytes) -> Outcome:
    match kind:
        case 7:  # SUCCEEDED
            return Succeeded(body)
        case 8:  # FAILED
            return Failed(*orjson.loads(body))
        case 9:  # DEFERRED
            return Deferred(*orjson.loads(body))
        case _:
            return Cancelled(*orjson.loads(body))
