"""
What a worker process holds, in memory that its parent reads; what the parent wants of it, and how it is.

The parent sends the heartbeats of all its children from here, so a handler that blocks its loop or holds the
interpreter lock loses no lease; and it ends a child whose task has overstayed its hard limit. A row is written before
its handler starts, and with one copy, so that a reader sees it whole. The file is sparse: rows that were never used
cost nothing, and nobody looks at them.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from service.redaction import shown_url

ROW = struct.Struct("=B16s12sQ")  # held, id, token, deadline (monotonic ms)
DEADLINE_AT = ROW.size - 8
NEVER = (1 << 64) - 1
LABEL = struct.Struct("=BHQBB")  # lane, attempt, start (ms since the epoch), bytes of queue and name, which follow
NO_LABEL = LABEL.pack(0, 0, 0, 0, 0)
SIZED = ("url", "async", "thread", "process")  # lanes in which a worker runs tasks
LANE_NUMBERS = {lane: number for number, lane in enumerate(SIZED)}
MOST_NAME_BYTES, MOST_QUEUE_BYTES = 128, 96  # a queue with its namespace
ROW_BYTES = 320
# Last beat that Redis acknowledged, last turn of the child's loop (monotonic ms); the highest row ever used.
HEAD = struct.Struct("=QQQ")
TURN_AT, TOP_AT = 8, 16
WANTED = struct.Struct("=BBd4I")  # is there one, is it quiet, drain seconds, sizes by lane
WANTED_AT = 64
STACK_SIGNAL = signal.SIGUSR2
STACK_BYTES = 16 * 1024
HELLO_BYTES = 256 * 1024  # what the child says of itself once, as JSON
STATUS_BYTES = 16 * 1024  # how it is, as JSON, written again and again: a count that is odd meanwhile, length, text
STATUS = struct.Struct("=QI")


def monotonic_ms() -> int:
    """This machine's clock that never goes back; the same for a parent and its children."""
    return int(time.monotonic() * 1000)


@dataclass(slots=True)
class Held:
    """A task in a child's hands."""

    id: bytes
    token: bytes
    deadline_ms: int


@dataclass(slots=True)
class Running:
    """A task that a child runs, as people read it. *overdue_ms*: for how long it has been beyond its limit."""

    id: bytes
    name: str
    queue: str
    lane: str
    attempt: int
    started_ms: int
    overdue_ms: int


@dataclass(slots=True)
class Wanted:
    """What a parent wants of its children. *sizes*: how many tasks each takes at once, by lane."""

    is_quiet: bool
    drain_seconds: float
    sizes: dict[str, int]

    def pack(self) -> bytes:
        return WANTED.pack(1, self.is_quiet, self.drain_seconds, *(self.sizes[lane] for lane in SIZED))


def name_of(submission: Mapping[str, Any]) -> str:
    """A task as lists of what runs name it: its handler, or its call."""
    return str(submission.get("name") or f"{submission.get('method', 'POST')} {shown_url(submission['url'])}")


def label(name: str, queue: str, lane: str, attempt: int, started_ms: int) -> bytes:
    """What a row says of its task beyond what heartbeats need; a long name is cut."""
    named = name.encode()[:MOST_NAME_BYTES]
    of_queue = queue.encode()[:MOST_QUEUE_BYTES]
    number = LANE_NUMBERS.get(lane, 0)
    return LABEL.pack(number, min(attempt, 0xFFFF), started_ms, len(of_queue), len(named)) + of_queue + named


class HeldTable:
    """A table of *rows* rows in shared memory; the parent makes it, the child opens it by descriptor."""

    def __init__(self, rows: int, descriptor: int | None = None) -> None:
        self.bytes = (rows + 1) * ROW_BYTES + HELLO_BYTES + STATUS_BYTES
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                file.truncate(self.bytes)
                descriptor = os.dup(file.fileno())
        self.descriptor, self.rows = descriptor, rows
        self.memory = mmap.mmap(descriptor, self.bytes)
        self.used = 0  # the highest row that this side has ever used
        self.free: list[int] = []  # rows up to there that hold nothing

    # ------------------------------------------------------------ the child

    @property
    def many(self) -> int:
        """How many rows hold a task."""
        return self.used - len(self.free)

    @property
    def room(self) -> int:
        """How many more tasks can be held."""
        return self.rows - self.many

    def hold(self, id_: bytes, token: bytes, deadline_ms: int, labelled: bytes = NO_LABEL) -> int:
        """Note a task, with its `label`; answers its row."""
        if self.free:
            row = self.free.pop()
        elif self.used < self.rows:
            row = self.used = self.used + 1
            struct.pack_into("=Q", self.memory, TOP_AT, row)
        else:
            raise IndexError(f"all {self.rows} rows hold a task")
        at = row * ROW_BYTES
        text = ROW.pack(0, id_, token, deadline_ms) + labelled
        self.memory[at + 1 : at + len(text)] = text[1:]
        self.memory[at] = 1  # last, so that nobody reads half a row
        return row

    def finish(self, row: int) -> None:
        """The task of *row* has finished: it is held until Redis knows, but overstays no limit."""
        struct.pack_into("=Q", self.memory, row * ROW_BYTES + DEADLINE_AT, NEVER)

    def drop(self, row: int) -> None:
        """The task of *row* is held no longer."""
        self.memory[row * ROW_BYTES] = 0
        self.free.append(row)

    def say_hello(self, handlers: list[str]) -> None:
        """Tell the parent the names of the handlers, as many as fit."""
        text = orjson.dumps(handlers)
        while len(text) > HELLO_BYTES - 4:
            handlers = handlers[: len(handlers) // 2]
            text = orjson.dumps(handlers)
        at = (self.rows + 1) * ROW_BYTES
        self.memory[at + 4 : at + 4 + len(text)] = text
        struct.pack_into("=I", self.memory, at, len(text))

    def answer_with_stack(self) -> None:
        """From now on, STACK_SIGNAL writes the stack of the main thread behind the table, whatever it is doing."""
        faulthandler.register(STACK_SIGNAL, self.descriptor, all_threads=False)

    def turn(self, now_ms: int) -> None:
        """The child's loop has turned."""
        struct.pack_into("=Q", self.memory, TURN_AT, now_ms)

    def tell(self, status: Mapping[str, Any]) -> None:
        """How this child is; nothing changes when the text of *status* is longer than there is room."""
        text = orjson.dumps(status)
        at = self.bytes - STATUS_BYTES
        if len(text) > STATUS_BYTES - STATUS.size:
            return
        number, length = STATUS.unpack_from(self.memory, at)
        if self.memory[at + STATUS.size : at + STATUS.size + length] != text:
            STATUS.pack_into(self.memory, at, number + 1, len(text))
            self.memory[at + STATUS.size : at + STATUS.size + len(text)] = text
            STATUS.pack_into(self.memory, at, number + 2, len(text))

    @property
    def wanted(self) -> Wanted | None:
        """What the parent wants; None when nobody has said."""
        is_told, is_quiet, drain_seconds, *sizes = WANTED.unpack_from(self.memory, WANTED_AT)
        return Wanted(bool(is_quiet), drain_seconds, dict(zip(SIZED, sizes, strict=True))) if is_told else None

    @property
    def wanted_bytes(self) -> bytes:
        """The same, to see quickly whether it has changed."""
        return self.memory[WANTED_AT : WANTED_AT + WANTED.size]

    @property
    def beat_ms(self) -> int:
        """When Redis last acknowledged a beat of the parent."""
        return int(HEAD.unpack_from(self.memory)[0])

    # ------------------------------------------------------------ the parent

    def note_beat(self, now_ms: int) -> None:
        struct.pack_into("=Q", self.memory, 0, now_ms)

    def want(self, wanted: Wanted) -> None:
        """Let the child be as *wanted*; a frame tells it to look, and it looks by itself four times a second."""
        self.memory[WANTED_AT : WANTED_AT + WANTED.size] = wanted.pack()

    def status(self) -> dict[str, Any] | None:
        """How the child is, as it told last; None before, and while it is writing."""
        at = self.bytes - STATUS_BYTES
        number, length = STATUS.unpack_from(self.memory, at)
        text = self.memory[at + STATUS.size : at + STATUS.size + length]
        if number == 0 or number % 2 or STATUS.unpack_from(self.memory, at) != (number, length):
            return None
        status: dict[str, Any] = orjson.loads(text)
        return status

    @property
    def turn_ms(self) -> int:
        """When the child's loop last turned; 0 before the first time."""
        return int(HEAD.unpack_from(self.memory)[1])

    @property
    def handlers(self) -> list[str]:
        """The names that the child said hello with; empty before."""
        at = (self.rows + 1) * ROW_BYTES
        (length,) = struct.unpack_from("=I", self.memory, at)
        names: list[str] = orjson.loads(self.memory[at + 4 : at + 4 + length]) if length else []
        return names

    def expect_stack(self) -> None:
        """Make room for what the child answers to STACK_SIGNAL; parent and child share the place in the file."""
        os.ftruncate(self.descriptor, self.bytes)
        os.lseek(self.descriptor, self.bytes, os.SEEK_SET)

    def stack(self) -> str:
        """What the child has answered, innermost call first; empty when it has not."""
        return os.pread(self.descriptor, STACK_BYTES, self.bytes).decode(errors="replace")

    def rows_held(self) -> Iterator[bytes]:
        """Each row that holds a task. One that changes while it is read is left to the next look."""
        (top,) = struct.unpack_from("=Q", self.memory, TOP_AT)
        for at in range(ROW_BYTES, (min(top, self.rows) + 1) * ROW_BYTES, ROW_BYTES):
            if self.memory[at]:
                seen = self.memory[at : at + ROW_BYTES]
                if seen[0] and seen == self.memory[at : at + ROW_BYTES]:
                    yield seen

    def held(self) -> list[Held]:
        """All tasks the child holds now."""
        return [Held(id_, token, deadline_ms) for _, id_, token, deadline_ms in map(row_of, self.rows_held())]

    def running(self, now_ms: int) -> list[Running]:
        """All tasks the child runs now, those that have finished and are not recorded yet left out."""
        return [
            running_of(row, max(now_ms - deadline_ms, 0))
            for row in self.rows_held()
            if (deadline_ms := row_of(row)[3]) != NEVER
        ]

    def close(self) -> None:
        if self.descriptor >= 0:
            self.memory.close()
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()


def row_of(row: bytes) -> tuple[int, bytes, bytes, int]:
    """(held, id, token, deadline) of a row."""
    return ROW.unpack_from(row)


def running_of(row: bytes, overdue_ms: int) -> Running:
    """The task of a row with a label."""
    lane, attempt, started_ms, of_queue, named = LABEL.unpack_from(row, ROW.size)
    at = ROW.size + LABEL.size
    queue = row[at : at + of_queue].decode(errors="replace")
    name = row[at + of_queue : at + of_queue + named].decode(errors="ignore")
    return Running(ROW.unpack_from(row)[1], name, queue, SIZED[lane], attempt, started_ms, overdue_ms)
