"""
Notices a worker process whose event loop is blocked, and says where.

Watched by the parent, since a blocked loop can say nothing itself: the memory they share shows when it last turned, and
a signal makes the child write the stack of its main thread there, whatever Python code it is in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from workers.held import monotonic_ms
from workers.process import Process

log = logging.getLogger("taskpost.worker")

LOOK_SECONDS = 0.5
BLOCKED_MS = 1250  # a loop shows that it turns four times a second
AWAY_MS = 1000  # if we look that late, we were held up ourselves, and so were they: let them turn first
ANSWER_SECONDS = 0.2


class BlockWatch:
    """Looks after the loops of *processes*. *changed* is called when one has been blocked, or turns again."""

    def __init__(self, processes: Sequence[Process], changed: Callable[[], None]) -> None:
        self.processes, self.changed = processes, changed
        self.since_ms: dict[int, int] = {}  # number of a blocked process -> when its loop turned last

    @property
    def blocked_seconds(self) -> float:
        """How long the loop has stood still that has done so for longest; 0: all turn."""
        return (monotonic_ms() - min(self.since_ms.values())) / 1000 if self.since_ms else 0.0

    async def run(self) -> None:
        """Look twice a second; one report for each time that a loop is blocked."""
        looked_ms = monotonic_ms()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            was_away = monotonic_ms() - looked_ms > AWAY_MS
            looked_ms = monotonic_ms()
            if not was_away:
                for process in list(self.processes):
                    await self.look(process, looked_ms)

    def forget(self, process: Process) -> None:
        """A process has ended."""
        self.since_ms.pop(process.number, None)

    async def look(self, process: Process, now_ms: int) -> None:
        turned_ms = process.table.turn_ms
        is_blocked = process.is_ready and 0 < turned_ms < now_ms - BLOCKED_MS
        since_ms = self.since_ms.get(process.number)
        if is_blocked and since_ms is None:
            self.since_ms[process.number] = turned_ms
            self.changed()
            process.ask_stack()
            await asyncio.sleep(ANSWER_SECONDS)
            stack = process.table.stack() or "(it does not answer: it is stopped, or busy outside of Python)"
            log.warning(
                "worker process %d: something has blocked its event loop for %.1f s, and with it all its tasks: use "
                "await, or a `def` handler\n%s", process.number, (now_ms - turned_ms) / 1000, stack.rstrip(),
            )  # fmt: skip
        elif not is_blocked and since_ms is not None:
            del self.since_ms[process.number]
            self.changed()
            if turned_ms > since_ms and process.is_ready:
                log.warning("worker process %d: its event loop turns again", process.number)
