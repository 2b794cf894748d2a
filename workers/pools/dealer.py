"""
Which executor gets which call, and when one is taken back.

An idle executor comes first, the one that was used last before the others, for it is warm. While calls are short, busy
ones are sent some ahead, so that one frame carries several and no executor waits for a round trip. What has not begun
soon is taken back: for another executor, or for the queue from which it came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from workers.outcome import NOT_BEGUN, Cancelled
from workers.pools.brood import Brood
from workers.pools.call import Call
from workers.pools.desk import SETTLE_SECONDS
from workers.pools.line import Line

# Where calls are this short, a round trip for each few of them would take longer than they do. So some are taken ahead:
# as many as take DEPTH_SECONDS in each executor, and as many again behind them.
SHORT_SECONDS = 0.003
DEPTH_SECONDS = 0.015
MOST_DEPTH = 16
# One that has not begun so soon goes to another executor, or back to its queue, where other workers can have it.
AHEAD_SECONDS = 0.05
LOOK_SECONDS = 0.025


class Dealer:
    """Deals calls to the executors of *brood*, at most *max_tasks* to each (0: any number)."""

    def __init__(self, brood: Brood, max_tasks: int) -> None:
        self.brood, self.max_tasks = brood, max_tasks
        self.loop = asyncio.get_running_loop()
        self.waiting: deque[Call] = deque()
        self.idle: list[Line] = []
        self.depth = 1  # how many calls an executor may have at once, the one that runs among them
        self.mean_seconds = 1.0  # of the calls of late
        self.is_dealing = False

    def note(self, seconds: float) -> None:
        """A call took so long."""
        self.mean_seconds = mean = self.mean_seconds + (seconds - self.mean_seconds) / 16
        self.depth = min(int(DEPTH_SECONDS / max(mean, 1e-6)), MOST_DEPTH) if mean < SHORT_SECONDS else 1

    def add(self, call: Call) -> None:
        """*call* wants to run."""
        self.waiting.append(call)
        self.deal_soon()

    def rest(self, line: Line) -> None:
        """*line* has nothing to do."""
        if line.is_leaving or self.brood.living > self.brood.size:
            self.brood.let_go(line)
        else:
            self.idle.append(line)
            if self.waiting:
                self.deal_soon()

    def refill(self) -> None:
        """There may be room for another executor."""
        if self.waiting:
            self.deal_soon()

    def let_idle_go(self) -> None:
        """There are to be fewer executors."""
        while self.idle and self.brood.living > self.brood.size:
            self.idle.pop(0).hang_up()

    def forget(self, line: Line) -> None:
        """*line* has ended. What it had not begun waits again."""
        if line in self.idle:
            self.idle.remove(line)
        self.take_back(line, list(line.calls))
        self.settled(line)

    # ------------------------------------------------------------ dealing

    def deal_soon(self) -> None:
        """Not at once: what comes together goes out together."""
        if not self.is_dealing:
            self.is_dealing = True
            self.loop.call_soon(self.deal)

    def deal(self) -> None:
        """Send what waits to idle executors, have more of them, and send ahead to those that are busy."""
        self.is_dealing = False
        self.waiting = waiting = deque(call for call in self.waiting if not call.is_over)
        frames: dict[Line, list[bytes]] = {}
        while waiting and self.idle:
            self.give(waiting.popleft(), self.idle.pop(), frames)
        if waiting:
            self.brood.grow(len(waiting))
            busy = [line for line in self.brood.lines.values() if line.calls and self.has_room(line)]
            while waiting and busy:
                for line in sorted(busy, key=lambda line: len(line.calls))[: len(waiting)]:
                    self.give(waiting.popleft(), line, frames)
                busy = [line for line in busy if self.has_room(line)]
        for line, some in frames.items():
            line.send(b"".join(some))

    def has_room(self, line: Line) -> bool:
        """Whether a busy *line* may be sent another call: not when it is about to be killed for the last one."""
        is_staying = line.settling is None and not line.is_leaving and line.calls[-1].doom is None
        return is_staying and len(line.calls) < self.depth

    def give(self, call: Call, line: Line, frames: dict[Line, list[bytes]]) -> None:
        """*call* goes to *line*, with the other *frames*."""
        line.sent += 1
        line.taken += 1
        call.line, call.serial = line, line.sent
        if not line.calls:
            call.began = self.loop.time()
        line.calls.append(call)
        frames.setdefault(line, []).append(call.frame)
        if line.taken == self.max_tasks:  # its last: when it goes, the next one is ready
            line.is_leaving = True
            self.brood.grow(1)

    # ------------------------------------------------------------ taking back

    def look(self, now: float, *, is_punctual: bool) -> bool:
        """
        Take back what has waited for long; whether to look again. Not *is_punctual*: this process itself was held up,
        and has to hear first what executors did meanwhile.
        """
        is_needed = any(call.is_ahead for call in self.waiting)
        for call in [call for call in self.waiting if is_punctual and call.is_ahead]:
            if now - call.since >= AHEAD_SECONDS and not call.is_over:
                self.mean_seconds, self.depth = 1.0, 1  # those that it waits for are not as short as they seemed
                call.end(Cancelled(NOT_BEGUN))
        for line in self.brood.lines.values():
            if len(line.calls) > 1:
                is_needed = True
                if is_punctual and now - line.calls[0].began >= AHEAD_SECONDS:
                    self.withdraw(line)
        return is_needed

    def withdraw(self, line: Line, then: Callable[[], None] | None = None) -> None:
        """Take back what *line* has not begun, and do *then*; until that it is sent nothing ahead."""
        if line.settling is None:
            line.settling = []
            line.withdrawn = line.sent
            line.desk.withdraw(line.sent)
            self.loop.call_later(SETTLE_SECONDS, self.settle, line)
        if then is not None:
            line.settling.append(then)

    def settle(self, line: Line) -> None:
        """What has not begun by now never will; of the first one the executor itself says so, if it is skipped."""
        if line.settling is not None:
            begun = line.desk.begun
            self.take_back(line, [call for call in list(line.calls)[1:] if begun < call.serial <= line.withdrawn])
            self.settled(line)

    def settled(self, line: Line) -> None:
        """Do what a withdrawal was for."""
        asked, line.settling = line.settling or [], None
        for then in asked:
            then()

    def take_back(self, line: Line, calls: Sequence[Call]) -> None:
        """*calls* have not begun in *line*, and wait again, in front of the others."""
        for call in reversed(calls):
            line.calls.remove(call)
            line.taken -= 1
            call.line = call.word = None
            stop = call.doom or call.ctx.stop_requested
            if stop is not None:
                call.end(stop)
            else:
                self.waiting.appendleft(call)
        self.deal_soon()
