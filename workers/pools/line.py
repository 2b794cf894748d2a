"""
One executor as its pool sees it: the socket to it, what it runs and is to run next, and its place in life.

Never blocks the event loop: what does not fit into the socket waits until it does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from workers.pools.desk import Desk
from workers.pools.wire import READ_BYTES, Cutter, Frame

if TYPE_CHECKING:
    from workers.pools.call import Call

RECEIVED = memoryview(bytearray(READ_BYTES))  # all lines read on one thread, and copy at once
MOST_STACK_BYTES = 64 * 1024


class Line:
    """
    An executor and the way to it. *heard* gets each frame that it sends.

    *stack* is a file in memory that both hold: told to end, the executor writes there where it is, also from C code
    that never returns to Python.
    """

    __slots__ = (
        "_cutter", "_heard", "_loop", "_socket", "_unsent", "calls", "desk", "is_leaving", "is_ready", "last_stack",
        "number", "pid", "sent", "settling", "stack", "taken", "withdrawn",
    )  # fmt: skip

    def __init__(self, number: int, ours: socket.socket, desk: Desk, heard: Callable[[Line, Frame], None]) -> None:
        self.number, self.pid, self.desk = number, 0, desk
        self.calls: deque[Call] = deque()  # what it has not answered yet, in the order in which it runs them
        self.sent = 0  # calls so far: the serial number of the last
        self.taken = 0  # of these, those that were not withdrawn
        self.withdrawn = 0  # serial number up to which they were taken back, but for those that had begun
        self.settling: list[Callable[[], None]] | None = None  # what is to be done when a withdrawal has settled
        self.is_ready = False
        self.is_leaving = False  # it takes no more calls
        self.stack = memory_file()
        self.last_stack = ""  # what was written there in the end; empty when nothing reached the executor
        self._socket, self._heard = ours, heard
        self._loop = asyncio.get_running_loop()
        self._cutter = Cutter()
        self._unsent = b""
        ours.setblocking(False)
        self._loop.add_reader(ours.fileno(), self._receive)

    def send(self, frame: bytes) -> None:
        """Send *frame*; to an executor that is gone it goes nowhere, and the nursery will say so."""
        if self._unsent:
            self._unsent += frame
            return
        sent = self._send(frame)
        if sent < len(frame):
            self._unsent = frame[sent:]
            self._loop.add_writer(self._socket.fileno(), self._send_rest)

    def forget_stack(self) -> None:
        """What was written for signals of somebody else's does not count. Both hold the same place in the file."""
        os.lseek(self.stack, 0, os.SEEK_SET)
        os.ftruncate(self.stack, 0)

    def hang_up(self) -> None:
        """Let the executor end: it reads the end of what we say."""
        self.is_leaving = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        """The executor has ended; what it said last is heard."""
        while self._receive():
            pass
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self.last_stack = os.pread(self.stack, MOST_STACK_BYTES, 0).decode(errors="replace")
        os.close(self.stack)

    def _send(self, frame: bytes) -> int:
        try:
            return self._socket.send(frame)
        except BlockingIOError:
            return 0
        except OSError:
            return len(frame)

    def _send_rest(self) -> None:
        self._unsent = self._unsent[self._send(self._unsent) :]
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _receive(self) -> bool:
        """Hear what there is; False when there was nothing."""
        try:
            size = self._socket.recv_into(RECEIVED)
        except BlockingIOError:
            return False
        except OSError:
            size = 0
        if not size:
            self._loop.remove_reader(self._socket.fileno())  # its death is told by the nursery
            return False
        for frame in self._cutter.feed(bytes(RECEIVED[:size])):
            self._heard(self, frame)
        return True


def memory_file() -> int:
    """A descriptor of an empty file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stack")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
