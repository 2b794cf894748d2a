"""
What an executor and its pool know of each other without a word: a few numbers in memory that both have mapped.

A pool sends an executor several short calls at once. The executor notes here which of them it has begun, before
anything of it runs; so the pool knows whom a death concerns, and can take back what has not begun even when the
executor hangs in C. Both sides write first and read then: the executor notes its call and looks whether it was
withdrawn; the pool withdraws, lets a moment pass (`SETTLE_SECONDS`), and looks what has begun.
"""

from __future__ import annotations

import mmap
from collections import deque

SETTLE_SECONDS = 0.01  # far longer than a processor keeps what was written from the others
DESKS = 4096
FIELDS = 2  # of 8 bytes, each with one writer
BEGUN, WITHDRAWN = range(FIELDS)


class Desk:
    """
    The numbers of one executor. Calls have serial numbers, from 1 on, in the order in which they were sent to it.

    *stack* is, in the executor, the descriptor of the file in which it writes where it is; see `Line`.
    """

    def __init__(self, fields: memoryview, row: int) -> None:
        self.fields, self.row, self.stack = fields, row, -1

    @property
    def begun(self) -> int:
        """The last call that the executor has begun, or skipped because it was withdrawn."""
        return int(self.fields[BEGUN])

    def begin(self, serial: int) -> bool:
        """For the executor: note that a call begins; False when it was withdrawn, and must not."""
        self.fields[BEGUN] = serial
        return bool(self.fields[WITHDRAWN] < serial)

    def withdraw(self, serial: int) -> None:
        """For the pool: no call up to *serial* begins from now on, but for those that begin at this moment."""
        self.fields[WITHDRAWN] = serial


class Desks:
    """Made before the nursery is forked, so that all executors have them."""

    def __init__(self) -> None:
        self.memory = memoryview(mmap.mmap(-1, DESKS * FIELDS * 8)).cast("Q")
        self.free = deque(range(DESKS))

    def of(self, row: int) -> Desk:
        return Desk(self.memory[row * FIELDS : (row + 1) * FIELDS], row)

    def take(self) -> Desk:
        """A clean one. Raises IndexError when there is none, though there are more than processes of one worker."""
        desk = self.of(self.free.popleft())
        desk.fields[BEGUN] = desk.fields[WITHDRAWN] = 0
        return desk

    def give_back(self, desk: Desk) -> None:
        """Its executor has ended."""
        self.free.append(desk.row)
