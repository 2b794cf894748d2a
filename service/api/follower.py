"""
One who follows events: what waits to be sent to it, at which pace, and when it has to leave.

Owns the bound on what waits: a client that does not take it in time is too slow, and leaves with that reason.
The fact to know: what is left out, by its pace or in a pause, is counted, and the counts are sent in its place.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence

from service.live import PROGRESS, Event, Watch, notice, omitted_event

KEEP_ALIVE_SECONDS = 14.0  # fifteen are promised
MOST_WAITING = 5000  # events
LAST_SECONDS = 5.0  # that a client has to take what is on its way when it has to leave
TICK_SECONDS = 0.1


class Follower:
    """*abort* breaks its connection; *rate* is the most events a second, None for all of them."""

    def __init__(self, watch: Watch, rate: float | None = None, abort: Callable[[], None] | None = None) -> None:
        self.watch, self.rate, self.abort = watch, rate, abort
        self.waiting: list[Event] = []
        self.paced: OrderedDict[tuple[bytes, str], Event] = OrderedDict()
        self.omitted: Counter[str] = Counter()
        self.is_paused = False
        self.cursor = ""  # of the newest event that was offered
        self.leaving: str | None = None  # why
        self.arrived = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.next_at = 0.0  # when the pace allows more
        self.timers: list[asyncio.TimerHandle] = []

    # ------------------------------------------------------------ what is offered

    def offer(self, events: Sequence[Event]) -> None:
        """These are to be sent."""
        if self.leaving is not None:
            return
        for event in events:
            self.cursor = event.cursor or self.cursor
            if not event.what or event.what == "log":
                self.waiting.append(event)
            elif self.is_paused:
                self.omitted[event.what] += 1
            elif self.rate is not None:
                self.pace(event)
            else:
                self.waiting.append(event)
        if len(self.waiting) > MOST_WAITING:
            self.leave("too-slow")
        self.arrived.set()

    def pace(self, event: Event) -> None:
        """Of a task the last event counts, and of all the newest that one turn may send."""
        key = (event.task, PROGRESS if event.what == PROGRESS else "")
        if (earlier := self.paced.pop(key, None)) is not None:
            self.omitted[earlier.what] += 1
        self.paced[key] = event
        if len(self.paced) > self.share:
            self.omitted[self.paced.popitem(last=False)[1].what] += 1

    @property
    def turn_seconds(self) -> float:
        """How long one turn of its pace is."""
        return max(TICK_SECONDS, 1 / self.rate) if self.rate else 0.0

    @property
    def share(self) -> int:
        """How many events one turn may send."""
        return max(1, int((self.rate or 0) * self.turn_seconds))

    def leave(self, reason: str) -> None:
        """It has to go, and is told the reason; "" for one that is gone."""
        if self.leaving is None:
            self.leaving = reason
            self.waiting.clear()
            self.paced.clear()
            if self.abort is not None:
                self.timers.append(self.loop.call_later(LAST_SECONDS, self.abort))
        self.arrived.set()

    def leave_in(self, seconds: float, reason: str) -> None:
        """It has to go after that time."""
        self.timers.append(self.loop.call_later(seconds, self.leave, reason))

    def pause(self, is_paused: bool) -> None:
        """Whether nothing is to be sent; what happens meanwhile is counted."""
        self.is_paused = is_paused
        if is_paused:
            self.omitted.update(event.what for event in self.paced.values())
            self.paced.clear()
        self.arrived.set()

    def set_rate(self, rate: float | None) -> None:
        """The most events a second from now on; None for all."""
        self.waiting += self.paced.values()
        self.paced.clear()
        self.rate, self.next_at = rate, 0.0

    # ------------------------------------------------------------ what is taken

    async def take(self) -> list[Event] | None:
        """
        What is to be sent now, as soon as there is something; empty when there was nothing for a while. None when it
        has left; the last list says why.
        """
        deadline = self.loop.time() + KEEP_ALIVE_SECONDS
        while True:
            if self.leaving is not None:
                reason, self.leaving = self.leaving, ""
                return [notice("closing", reason, self.cursor)] if reason else None
            self.arrived.clear()
            if events := self.taken():
                return events
            left = (min(deadline, self.next_at) if self.has_paced else deadline) - self.loop.time()
            try:
                async with asyncio.timeout(max(left, 0)):
                    await self.arrived.wait()
            except TimeoutError:
                if self.loop.time() >= deadline:
                    return []

    @property
    def has_paced(self) -> bool:
        """Whether something waits for the next turn."""
        return not self.is_paused and bool(self.paced or self.omitted)

    def taken(self) -> list[Event]:
        """What may be sent at this instant."""
        events, self.waiting = self.waiting, []
        now = self.loop.time()
        if not self.has_paced or (self.rate is not None and now < self.next_at):
            return events
        if self.omitted:
            events.append(omitted_event(self.omitted))
            self.omitted = Counter()
        events += self.paced.values()
        self.paced.clear()
        self.next_at = now + self.turn_seconds
        return events

    def close(self) -> None:
        """Nothing is left of it."""
        for timer in self.timers:
            timer.cancel()
