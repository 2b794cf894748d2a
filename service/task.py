"""
What a task is: its id, its states, its record, and how it reads.

Pure: no Redis, no HTTP, no clock. The one fact to know: a record is a fixed header, then the submission as JSON
(immutable, packed a little), then, once the task has ended and is small, a newline and the outcome as JSON. What is
behind the header may be sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from service.errors import PayloadUnreadable
from service.ids import created_ms
from service.retry import CALLBACK_DELAYS
from service.ties import NO_TIES, Ties

LANES = {"url": b"u", "async": b"a", "thread": b"t", "process": b"p", "pull": b"l"}
ALONE = {"async alone": b"A", "thread alone": b"T"}  # where suspects wait, which run alone: see reap.lua
LETTERS = LANES | ALONE
LANE_OF = {letter: lane for lane, letter in LANES.items()}

ENDED = {"succeeded": b"S", "failed": b"F", "cancelled": b"C", "expired": b"X"}
WAITING = b"W"
STATE_OF = {letter: state for state, letter in ENDED.items()}

# One table for the documentation's diagram, the scripts' `Moves` lines and the tests.
TRANSITIONS: dict[str, tuple[str, ...]] = {
    "submitted": ("scheduled", "queued"),
    "scheduled": ("queued", "cancelled", "expired"),
    "queued": ("running", "scheduled", "cancelled", "expired"),
    "running": ("scheduled", "queued", "cancelling", "succeeded", "failed", "cancelled", "expired"),
    "cancelling": ("succeeded", "failed", "cancelled"),
}
# What an entry of the event stream says of a task: the state it now has, or that it made progress or logged something.
EVENTS = {b"w": "scheduled", b"q": "queued", b"r": "running", b"k": "cancelling", b"p": "progress", b"l": "log"} | {
    letter: state for state, letter in ENDED.items()
}

DEFAULT_QUEUE = "default"
CALLBACK_QUEUE = "callbacks"
DEFAULT_NAMESPACE = "default"
SHARED = "*"  # of handlers and workers: every namespace's
DEFAULT_PRIORITY = 5

# ---------------------------------------------------------------- queues and namespaces


def stored_queue(namespace: str, queue: str) -> str:
    """The queue's name in Redis; the default namespace is left out to save its bytes."""
    return queue if namespace == DEFAULT_NAMESPACE else f"{namespace}/{queue}"


def split_queue(stored: str) -> tuple[str, str]:
    """(namespace, queue) of a stored name."""
    namespace, slash, queue = stored.rpartition("/")
    return (namespace, queue) if slash else (DEFAULT_NAMESPACE, stored)


# ---------------------------------------------------------------- records

FORMAT = 1
SEALED, OPENED = 2, 3  # in its place: encrypted behind the header (store/records.py), in Redis; that, opened here
NAME_PART, ARGS_PART = b'{"name":"', b'","args":'
HEADER_BYTES = 13  # up to and with the length of the queue's name
TIME_FIELD = slice(5, 11)  # due while waiting (0: at once), finished once ended; ms, big-endian
RUN_BYTES = 23  # of an entry of `run`, up to the worker's name
RELATIVE = b"D"  # submit.lua reads: the time field is a delay from now


@dataclass(slots=True)
class Record:
    """A stored record, taken apart. *time_ms* is when it is due, or when it ended."""

    state: bytes
    generation: int
    priority: int
    lane: str
    time_ms: int
    max_crashes: int
    queue: str
    namespace: str
    submission: dict[str, Any]
    outcome: dict[str, Any] | None
    ties: Ties = NO_TIES
    unreadable: PayloadUnreadable | None = None  # why its submission is not there, but for its name

    @property
    def has_ended(self) -> bool:
        return self.state != WAITING


def pack_header(
    *,
    state: bytes,
    priority: int,
    lane: str,
    time_ms: int,
    max_crashes: int,
    queue: str,
    generation: int = 0,
    ties: Ties = NO_TIES,
) -> bytes:
    """The header of a record; *queue* is the stored name (with *ties* at most 255 bytes); `default` is left out."""
    name = b"" if queue == DEFAULT_QUEUE else queue.encode()
    if ties is not NO_TIES and (tied := ties.packed()):
        name += b"\0" + tied
    return b"%c%b%c%d%b%b%c%c%b" % (
        FORMAT, state, generation, priority, LANES[lane], time_ms.to_bytes(6, "big"), max_crashes, len(name), name,
    )  # fmt: skip


def pack_submission(submission: Mapping[str, Any]) -> bytes:
    """
    A submission as records hold it: its JSON, in which `{"name":"` and `","args":` are one byte each at the start.

    It is 16 bytes that a million queued tasks need not repeat, and lets the server keep a short record in one piece.
    """
    text = orjson.dumps(submission)
    if text.startswith(NAME_PART):
        end = text.index(b'"', len(NAME_PART))
        if text.startswith(ARGS_PART, end):
            return b"\x01%b\x02%b" % (text[len(NAME_PART) : end], text[end + len(ARGS_PART) :])
    return text


def unpack_submission(packed: bytes) -> dict[str, Any]:
    """What `pack_submission` packed."""
    if packed.startswith(b"\x01"):
        name, _, rest = packed[1:].partition(b"\x02")
        packed = b"%b%b%b%b" % (NAME_PART, name, ARGS_PART, rest)
    submission: dict[str, Any] = orjson.loads(packed)
    return submission


def named_of(body: bytes) -> dict[str, Any]:
    """What a sealed *body* tells of its submission: its name, if it begins with one."""
    return {"name": body[1 : body.index(b"\x02")].decode()} if body[:1] == b"\x01" else {}


def submission_of(raw: bytes) -> tuple[int, bytes]:
    """(offset of the packed submission, that) of a record that may carry an outcome behind it."""
    start = HEADER_BYTES + raw[12]
    end = raw.find(b"\n", start)  # orjson never writes a raw newline
    return start, raw[start:] if end < 0 else raw[start:end]


def queue_of(raw: bytes) -> str:
    """The stored name of the queue of a record."""
    return raw[HEADER_BYTES : HEADER_BYTES + raw[12]].partition(b"\0")[0].decode() or DEFAULT_QUEUE


def parse_record(raw: bytes, large_outcome: bytes | None = None) -> Record:
    """
    Take a record apart.

    Raises:
        ValueError: written by a newer format than this version reads.
    """
    if not FORMAT <= raw[0] <= OPENED:
        raise ValueError(f"record of format {raw[0]}: this version reads format {FORMAT}; upgrade all processes")
    if raw[0] == SEALED:
        start, outcome = HEADER_BYTES + raw[12], large_outcome or b""
        parsed = named_of(raw[start:])
    else:
        start, submission = submission_of(raw)
        outcome = large_outcome if large_outcome is not None else raw[start + len(submission) + 1 :]
        parsed = unpack_submission(submission)
    name, _, tied = raw[HEADER_BYTES:start].partition(b"\0")
    namespace, queue = split_queue(name.decode() or DEFAULT_QUEUE)
    return Record(
        state=raw[1:2],
        generation=raw[2],
        priority=raw[3] - 48,
        lane=LANE_OF[raw[4:5]],
        time_ms=int.from_bytes(raw[TIME_FIELD], "big"),
        max_crashes=raw[11],
        queue=queue,
        namespace=namespace,
        submission=parsed,
        outcome=orjson.loads(outcome) if outcome else None,
        ties=Ties.parsed(tied) if tied else NO_TIES,
    )


@dataclass(slots=True)
class Run:
    """What `run` holds of a task from its first lease to its end."""

    token: bytes
    attempt: int
    crashes: int
    undelivered: int
    is_held: bool
    is_confirmed: bool
    is_cancelling: bool
    started_ms: int
    worker: str
    is_suspect: bool = False
    is_external: bool = False  # an endpoint holds it, and finishes it later


def parse_run(raw: bytes) -> Run:
    """Take an entry of `run` apart; record.lua writes it."""
    flags = raw[16]
    return Run(
        token=raw[:12],
        attempt=int.from_bytes(raw[12:14], "big"),
        crashes=raw[14],
        undelivered=raw[15] & 127,
        is_held=bool(flags & 1),
        is_confirmed=bool(flags & 2),
        is_cancelling=bool(flags & 4),
        started_ms=int.from_bytes(raw[17:RUN_BYTES], "big"),
        worker=raw[RUN_BYTES:].decode(),
        is_suspect=bool(flags & 32),
        is_external=bool(raw[15] & 128),
    )


@dataclass(slots=True)
class Snapshot:
    """Everything Redis knows of one task at one instant, *now_ms* by Redis' clock."""

    id: bytes
    record: Record
    run: Run | None
    progress: dict[str, Any] | None
    now_ms: int
    size: int = 0  # bytes of the record and its outcome
    raw: bytes = b""  # the record as stored
    checkpoint: dict[str, Any] | None = None  # that there is one

    @property
    def state(self) -> str:
        if self.record.has_ended:
            return STATE_OF[self.record.state]
        if self.run is not None and self.run.is_held:
            return "cancelling" if self.run.is_cancelling else "running"
        return "scheduled" if self.record.time_ms > self.now_ms else "queued"


@dataclass(slots=True)
class Leased:
    """A task in the hands of a worker. *header* and *body* are the record's bytes, for the ending."""

    id: bytes
    token: bytes
    raw: bytes
    submission: dict[str, Any]
    queue: str
    namespace: str
    priority: int
    lane: str
    attempt: int
    crashes: int
    leased_ms: int
    is_suspect: bool = False  # it was lost with its process, and runs alone
    unreadable: PayloadUnreadable | None = None  # why there is nothing of its submission but its name
    checkpoint: bytes = b""  # where an earlier attempt was, as JSON
    checkpoint_number: int = 0  # how many the task has had

    @property
    def max_crashes(self) -> int:
        """How many crashes it may outlive; 0: none."""
        return self.raw[11]

    @property
    def expires_ms(self) -> int:
        """From when on it may not start any more; 0 for never."""
        zero = self.raw.find(b"\0", HEADER_BYTES, HEADER_BYTES + self.raw[12]) if self.raw else -1
        return Ties.parsed(self.raw[zero + 1 : HEADER_BYTES + self.raw[12]]).expires_ms if zero >= 0 else 0

    @property
    def due_ms(self) -> int:
        """When it was first due."""
        return first_due_ms(self.id, self.submission)


def first_due_ms(id_: bytes, submission: Mapping[str, Any]) -> int:
    """When the task was to run first: its creation, its delay behind it, or its `run_at`."""
    if (at := submission.get("run_at")) is not None:
        return epoch_ms(at)
    return created_ms(id_) + int(submission.get("delay_seconds", 0) * 1000)


# ---------------------------------------------------------------- options


def options_of(
    submission: Mapping[str, Any],
    handler: Mapping[str, Any] | None,
    settings: Any,
    queue: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    The options in force: what the submission says, else its handler, else its queue, else the settings.

    *handler* is a handler as workers publish it, or None when none is known; *queue* are the settings of the queue.
    Callbacks have the schedule of their own.
    """
    is_url, is_callback = "url" in submission, "callback_of" in submission
    chosen: dict[str, Any] = {
        "retries": len(CALLBACK_DELAYS) if is_callback else settings.retries,
        "timeout_seconds": settings.url_timeout_seconds if is_url else settings.timeout_seconds,
        "soft_timeout_seconds": None,
        "retry_for_seconds": settings.retry_for_seconds,
        "max_crashes": settings.max_crashes,
        "backoff": {"delays_seconds": CALLBACK_DELAYS} if is_callback else None,
        "result_ttl_seconds": settings.result_ttl_seconds,
    }
    for source in (queue, handler, submission):
        if source:
            chosen |= {name: value for name in chosen if (value := source.get(name)) is not None}
    if queue and (kept := queue.get("failure_ttl_seconds")) is not None:
        chosen["failure_ttl_seconds"] = kept
    return chosen


# ---------------------------------------------------------------- times


def rfc3339(ms: int) -> str:
    """*ms* since the epoch as RFC 3339 in UTC, with milliseconds."""
    return f"{second_of(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(4096)
def second_of(seconds: int) -> str:
    """*seconds* since the epoch, which many tasks share, as RFC 3339 without a zone."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def epoch_ms(text: str) -> int:
    """
    An RFC 3339 time as ms since the epoch.

    Raises:
        ValueError: not a time, or one without an offset.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no offset: add Z or one such as +02:00")
    return int(at.timestamp() * 1000)
