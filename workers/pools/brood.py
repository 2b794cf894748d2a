"""
The executors of a pool: forked when they are needed, replaced before they go, buried when they die.

Knows nothing of tasks. Many deaths in a row put a growing pause before the next fork; executors that live are never
held back by it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections import deque
from typing import Protocol

from workers.deaths import how_it_ended
from workers.pools import nursery
from workers.pools.line import Line
from workers.pools.wire import READ_BYTES, Frame

log = logging.getLogger("taskpost.worker")

MOST_BACKOFF_SECONDS = 10.0


class NurseryLost(Exception):
    """The nursery has ended: this worker process can fork no executor any more."""


class Owner(Protocol):
    """Who gives the executors their work."""

    def hear(self, line: Line, frame: Frame) -> None: ...
    def bury(self, line: Line, reason: str) -> bool: ...
    def refill(self) -> None: ...


class Brood:
    """
    At most *size* executors, those on their way out not counted.

    *failed* gets NurseryLost when the nursery is gone. *backoff_seconds* 0: no pause, however many die.
    """

    def __init__(self, door: nursery.Door, size: int, owner: Owner, backoff_seconds: float) -> None:
        self.size, self.owner, self.backoff_seconds = size, owner, backoff_seconds
        self.lines: dict[int, Line] = {}
        self.pausing = 0  # places that have to wait for their next executor, because too many have died
        self.deaths_in_row = 0
        self.is_closing = False
        self.loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self.loop.create_future()
        self.nursery, self.desks, self.rest = door.line, door.desks, b""
        self.number = 0
        self.worn_out: deque[Line] = deque()  # they go when their replacements are ready
        self.emptied = asyncio.Event()
        self.unsent: deque[tuple[bytes, socket.socket | None, int]] = deque()
        self.nursery.setblocking(False)
        self.loop.add_reader(self.nursery.fileno(), self.receive)

    @property
    def living(self) -> int:
        return sum(not line.is_leaving for line in self.lines.values())

    def grow(self, wanted: int) -> None:
        """Have *wanted* more that will be idle soon, as far as there is room."""
        wanted -= sum(not line.is_ready and not line.is_leaving for line in self.lines.values())
        for _ in range(min(wanted, self.size - self.pausing - self.living)):
            self.fork()

    def fork(self) -> None:
        if self.is_closing or self.failed.done() or not self.desks.free:
            return
        self.number += 1
        ours, theirs = socket.socketpair()
        desk = self.desks.take()
        self.lines[self.number] = line = Line(self.number, ours, desk, self.owner.hear)
        self.send(nursery.COMMAND.pack(nursery.FORK, self.number, desk.row), theirs, line.stack)

    def tell(self, kind: int, line: Line, grace_seconds: float = 0.0) -> None:
        """Let the nursery signal an executor."""
        self.send(nursery.COMMAND.pack(kind, line.number, int(grace_seconds * 1000)))

    def let_go(self, line: Line) -> None:
        """*line* takes no more calls; it goes when another is ready in its place."""
        line.is_leaving = True
        if self.living + self.pausing < self.size and not any(not one.is_ready for one in self.lines.values()):
            self.fork()
        if any(not one.is_ready for one in self.lines.values()):
            self.worn_out.append(line)
        else:
            line.hang_up()

    def note_ready(self, line: Line) -> None:
        line.is_ready = True
        if self.worn_out:
            self.worn_out.popleft().hang_up()

    async def close(self, patience_seconds: float) -> None:
        """Let the executors end in order, for so long; then kill what is left, with all that it started."""
        if self.is_closing:
            return
        self.is_closing = True
        for line in self.lines.values():
            line.hang_up()
        try:
            async with asyncio.timeout(patience_seconds if self.lines else 0):
                await self.emptied.wait()
        except TimeoutError:
            pass
        self.loop.remove_reader(self.nursery.fileno())
        self.loop.remove_writer(self.nursery.fileno())
        self.nursery.close()
        for line in list(self.lines.values()):
            line.close()

    # ------------------------------------------------------------ the nursery

    def send(self, command: bytes, descriptor: socket.socket | None = None, stack: int = -1) -> None:
        self.unsent.append((command, descriptor, stack))
        if len(self.unsent) == 1:
            self.send_rest()

    def send_rest(self) -> None:
        """Send what waits; a nursery that does not listen just now gets it later."""
        while self.unsent:
            command, descriptor, stack = self.unsent[0]
            try:
                if descriptor is None:
                    self.nursery.send(command)
                else:
                    socket.send_fds(self.nursery, [command], [descriptor.fileno(), stack])
            except BlockingIOError:
                self.loop.add_writer(self.nursery.fileno(), self.send_rest)
                return
            except OSError:
                self.lose()
            self.unsent.popleft()
            if descriptor is not None:
                descriptor.close()
        self.loop.remove_writer(self.nursery.fileno())

    def receive(self) -> None:
        """Hear what the nursery says."""
        try:
            received = self.nursery.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self.lose()
            return
        self.rest += received
        whole = len(self.rest) // nursery.REPORT.size * nursery.REPORT.size
        reports, self.rest = self.rest[:whole], self.rest[whole:]
        for kind, number, pid, status, memory_kib in nursery.REPORT.iter_unpack(reports):
            line = self.lines[number]
            if kind == nursery.BORN:
                line.pid = pid
            elif kind == nursery.DIED:
                said = how_it_ended(os.waitstatus_to_exitcode(status), memory_kib * 1024)
                self.lay_to_rest(line, f"its process {pid} {said}")
            else:
                self.lay_to_rest(line, f"an executor could not be forked: {os.strerror(status)}")

    def lose(self) -> None:
        self.loop.remove_reader(self.nursery.fileno())
        self.emptied.set()
        if not self.failed.done() and not self.is_closing:
            self.failed.set_exception(NurseryLost("the nursery, from which executors are forked, has ended"))

    def lay_to_rest(self, line: Line, reason: str) -> None:
        """An executor has ended; its place is free, after a pause if too many have died."""
        line.close()
        self.desks.give_back(line.desk)
        del self.lines[line.number]
        if line in self.worn_out:
            self.worn_out.remove(line)
        is_death = self.owner.bury(line, reason)
        if is_death and not self.is_closing:
            self.deaths_in_row += 1
            many = self.deaths_in_row - self.size
            if self.backoff_seconds > 0 and many > 0:
                pause = min(self.backoff_seconds * 2 ** min(many - 1, 20), MOST_BACKOFF_SECONDS)
                self.pausing += 1
                self.loop.call_later(pause * (0.5 + random.random() / 2), self.go_on)
        if self.is_closing and not self.lines:
            self.emptied.set()
        self.owner.refill()

    def go_on(self) -> None:
        self.pausing -= 1
        self.owner.refill()
