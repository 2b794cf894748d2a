"""
What a worker process holds, in memory that its parent reads.

The parent sends the heartbeats of all its children from here, so a handler that blocks its loop or holds the
interpreter lock loses no lease; and it ends a child whose task has overstayed its hard limit. A row is written before
its handler starts, and with one copy, so that a reader sees it whole.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import struct
import tempfile
import time
from dataclasses import dataclass

import orjson

ROW = struct.Struct("=B16s12sQ")  # held, id, token, deadline (monotonic ms)
DEADLINE_AT = ROW.size - 8
NEVER = (1 << 64) - 1
ROW_BYTES = 64
HEAD = struct.Struct("=QQ")  # last beat that Redis acknowledged, last turn of the child's loop; monotonic ms
STACK_SIGNAL = signal.SIGUSR2
STACK_BYTES = 16 * 1024
HELLO_BYTES = 256 * 1024  # what the child says of itself once, as JSON; the file is sparse


def monotonic_ms() -> int:
    """This machine's clock that never goes back; the same for a parent and its children."""
    return int(time.monotonic() * 1000)


@dataclass(slots=True)
class Held:
    """A task in a child's hands."""

    id: bytes
    token: bytes
    deadline_ms: int


class HeldTable:
    """A table of *rows* rows in shared memory; the parent makes it, the child opens it by descriptor."""

    def __init__(self, rows: int, descriptor: int | None = None) -> None:
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                file.truncate((rows + 1) * ROW_BYTES + HELLO_BYTES)
                descriptor = os.dup(file.fileno())
        self.descriptor, self.rows = descriptor, rows
        self.bytes = (rows + 1) * ROW_BYTES + HELLO_BYTES
        self.memory = mmap.mmap(descriptor, self.bytes)
        self.free = list(range(rows, 0, -1))

    # ------------------------------------------------------------ the child

    def hold(self, id_: bytes, token: bytes, deadline_ms: int) -> int:
        """Note a task; answers its row."""
        row = self.free.pop()
        at = row * ROW_BYTES
        self.memory[at + 1 : at + ROW.size] = ROW.pack(0, id_, token, deadline_ms)[1:]
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
        struct.pack_into("=Q", self.memory, 8, now_ms)

    @property
    def beat_ms(self) -> int:
        """When Redis last acknowledged a beat of the parent."""
        return int(HEAD.unpack_from(self.memory)[0])

    # ------------------------------------------------------------ the parent

    def note_beat(self, now_ms: int) -> None:
        struct.pack_into("=Q", self.memory, 0, now_ms)

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

    def held(self) -> list[Held]:
        """All tasks the child holds now. A row that changes while it is read is left to the next look."""
        found = []
        for at in range(ROW_BYTES, (self.rows + 1) * ROW_BYTES, ROW_BYTES):
            if self.memory[at]:
                seen = self.memory[at : at + ROW.size]
                is_held, id_, token, deadline_ms = ROW.unpack(seen)
                if is_held and seen == self.memory[at : at + ROW.size]:
                    found.append(Held(id_, token, deadline_ms))
        return found

    def close(self) -> None:
        if self.descriptor >= 0:
            self.memory.close()
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()
