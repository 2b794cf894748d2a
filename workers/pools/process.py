"""
Runs `def` handlers in child processes, so that one that hangs, leaks or crashes harms nothing else.

A call goes to an idle executor; there are as many executors as were needed at once. When the hard limit passes, an
executor and all that it started get SIGTERM, and SIGKILL when the grace is over. A cancelled handler is interrupted,
and killed when the grace is over. An executor that dies costs only its call.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from workers.context import Context
from workers.handler import Handler
from workers.outcome import NOT_BEGUN, Cancelled, Crashed, Outcome
from workers.pools import nursery, wire
from workers.pools.brood import Brood
from workers.pools.ending import out_of_time
from workers.pools.line import Line

log = logging.getLogger("taskpost.worker")

GRACE_SECONDS = 5.0
BACKOFF_SECONDS = 0.1
CLOSE_SECONDS = 1.0
# Where calls are this short, a round trip for each few of them would take longer than they do. So some are taken ahead;
# one for which no executor is free this soon goes back to its queue, where others can have it.
SHORT_SECONDS = 0.003
AHEAD_SECONDS = 0.05
AHEAD = 4  # times the size


class Call:
    """One attempt on its way through an executor. *doom* is its outcome once its executor is to be killed."""

    __slots__ = ("began", "ctx", "doom", "frame", "handler", "line", "number", "outcome", "timers")

    def __init__(
        self, number: int, handler: Handler[..., Any], args: dict[str, Any], ctx: Context,
        outcome: asyncio.Future[Outcome],
    ) -> None:  # fmt: skip
        self.number, self.handler, self.ctx, self.outcome = number, handler, ctx, outcome
        self.frame = wire.pack_call(number, handler.name, args, ctx)
        self.line: Line | None = None
        self.doom: Outcome | None = None
        self.began = 0.0
        self.timers: list[asyncio.TimerHandle] = []

    @property
    def is_over(self) -> bool:
        """Whether how it ends is decided."""
        return self.doom is not None or self.outcome.done()

    def end(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class ProcessPool:
    """
    The pool of the lane `process`, with up to *size* executors forked by the nursery at the other end of *line*.

    `failed` gets an exception when the nursery is gone: the worker process must end then. `on_free` is called when
    there may be room again without a call having ended.
    """

    def __init__(
        self,
        line: socket.socket,
        size: int,
        *,
        max_tasks: int = 0,
        grace_seconds: float = GRACE_SECONDS,
        backoff_seconds: float = BACKOFF_SECONDS,
    ) -> None:
        """*max_tasks*: how many calls an executor takes (0: any number). *backoff_seconds*: see `Brood`."""
        self.max_tasks, self.grace_seconds = max_tasks, grace_seconds
        self.on_free: Callable[[], None] = lambda: None
        self.brood = Brood(line, size, self, backoff_seconds)
        self.failed = self.brood.failed
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._calls: set[Call] = set()
        self._idle: list[Line] = []
        self._waiting: deque[Call] = deque()
        self._mean_seconds = 1.0  # of the calls of late

    @property
    def size(self) -> int:
        return self.brood.size

    @property
    def busy(self) -> int:
        """How many calls are under way, and places that cannot take one for now."""
        return len(self._calls) + self.brood.pausing

    @property
    def free(self) -> int:
        """How many calls would start at once."""
        return max(self.size - self.busy, 0)

    @property
    def ahead(self) -> int:
        """How many calls to take beyond the size."""
        return self.size * AHEAD if self._mean_seconds < SHORT_SECONDS else 0

    @property
    def executors(self) -> list[tuple[int, int]]:
        """(process number, calls so far, the one under way included) of each executor that lives."""
        return [(line.pid, line.calls) for line in self.brood.lines.values() if line.pid]

    @property
    def pids(self) -> list[int]:
        """The executors that live."""
        return [line.pid for line in self.brood.lines.values() if line.pid]

    async def call(
        self,
        handler: Handler[..., Any],
        kwargs: dict[str, Any],
        ctx: Context,
        timeout: float,
        soft_timeout: float | None = None,
    ) -> Outcome:
        """
        Run *handler* once; see `Pool.call`. *kwargs* are the task's `args` as JSON has them: the executor binds them.

        Without a free executor it waits for one, and its limits run.
        """
        loop = self._loop
        self._number += 1
        call = Call(self._number, handler, kwargs, ctx, loop.create_future())
        call.timers.append(loop.call_later(timeout, self._pass_hard_limit, call, timeout))
        if soft_timeout is not None and soft_timeout < timeout:
            call.timers.append(loop.call_later(soft_timeout, self._interrupt, call, wire.SOFT))
        self._calls.add(call)
        ctx.on_stop = partial(self._stop, call)
        self._start(call)
        try:
            return await call.outcome
        except asyncio.CancelledError:
            self._give_up(call)
            raise
        finally:
            ctx.on_stop = None
            self._calls.discard(call)
            for timer in call.timers:
                timer.cancel()

    def resize(self, size: int) -> None:
        """Have up to *size* executors from now on. Those that are too many end when they are idle."""
        self.brood.size = size
        while self._idle and self.brood.living > size:
            self._idle.pop(0).hang_up()
        if len(self._calls) > size:  # what has not begun goes back, and begins elsewhere
            for call in self._waiting:
                call.timers.append(self._loop.call_later(AHEAD_SECONDS, self._hand_back, call))
        self._grow()
        self.on_free()

    async def close(self, patience_seconds: float = CLOSE_SECONDS) -> None:
        """Let the executors end in order, for so long; then kill what is left, with all that it started."""
        self._idle.clear()
        await self.brood.close(patience_seconds)

    # ------------------------------------------------------------ calls

    def _start(self, call: Call) -> None:
        if call.ctx.stop_requested is not None:
            call.end(call.ctx.stop_requested)
        elif self._idle:
            self._begin(call, self._idle.pop())  # the one that was used last: it is warm
        else:
            self._waiting.append(call)
            if len(self._calls) > self.size:
                call.timers.append(self._loop.call_later(AHEAD_SECONDS, self._hand_back, call))
            self._grow()

    def _hand_back(self, call: Call) -> None:
        """*call* was taken ahead, and those that it waits for are not as short as they seemed."""
        if call.line is None and not call.is_over:
            self._mean_seconds = 1.0
            call.end(Cancelled(NOT_BEGUN))

    def _begin(self, call: Call, line: Line) -> None:
        call.line, line.call = line, call
        call.began = self._loop.time()
        line.calls += 1
        line.send(call.frame)
        call.frame = b""
        if line.calls == self.max_tasks:  # its last: when it goes, the next one is ready
            line.is_leaving = True
            self.brood.grow(1)

    def _grow(self) -> None:
        self._waiting = deque(call for call in self._waiting if not call.is_over)
        self.brood.grow(len(self._waiting))

    def _interrupt(self, call: Call, kind: int, reason: str = "") -> None:
        """Tell the handler of *call* that a limit has passed or it is to stop; a signal makes it listen."""
        if call.line is not None and not call.is_over:
            call.line.send(wire.pack(kind, call.number, reason.encode()))
            self.brood.tell(nursery.SOFT, call.line)

    def _stop(self, call: Call) -> None:
        """The attempt was asked to stop; it may end by itself within the grace."""
        stop = call.ctx.stop_requested
        if stop is None or call.is_over:
            return
        if call.line is None:
            call.end(stop)
            return
        self._interrupt(call, wire.CANCEL, stop.reason if isinstance(stop, Cancelled) else "")
        call.timers.append(self._loop.call_later(self.grace_seconds, self._kill, call, stop))

    def _kill(self, call: Call, doom: Outcome) -> None:
        if call.line is not None and not call.is_over:
            call.doom = doom
            self.brood.tell(nursery.KILL, call.line)

    def _pass_hard_limit(self, call: Call, timeout: float) -> None:
        if call.is_over:
            return
        if call.line is None:
            call.end(out_of_time(call.handler, timeout, None, "; no child process was free for it"))
            return
        call.doom = out_of_time(call.handler, timeout, None, "; its process was ended")
        call.line.send(wire.pack(wire.TERMINATE, call.number))
        self.brood.tell(nursery.TERMINATE, call.line, self.grace_seconds)

    def _give_up(self, call: Call) -> None:
        """Nobody waits for *call* any more: its handler ends at once."""
        if call.line is not None and call.line.call is call:
            call.doom = call.doom or Crashed("nobody waited for it any more")
            self.brood.tell(nursery.KILL, call.line)

    # ------------------------------------------------------------ what executors say, and their ends

    def hear(self, line: Line, frame: wire.Frame) -> None:
        """One frame of an executor's."""
        kind, flags, number, body = frame
        call = line.call
        if kind == wire.READY:
            self.brood.note_ready(line)
            self._take_on(line)
        elif call is None or call.number != number:
            if kind != wire.LOG:  # a thread that the handler left behind may go on logging
                log.warning("executor %d spoke of a call that is over", line.pid)
        elif kind == wire.PROGRESS:
            call.ctx.progress(*orjson.loads(body))
        elif kind == wire.LOG:
            if call.ctx.report_log is not None:
                call.ctx.report_log(*orjson.loads(body))
        elif call.doom is not None:  # it is being killed, and is free only when it is dead
            self.brood.tell(nursery.KILL, line)
        else:
            self._finish(line, call, kind, flags, body)

    def _finish(self, line: Line, call: Call, kind: int, flags: int, body: bytes) -> None:
        line.call = None
        self.brood.deaths_in_row = 0
        self._mean_seconds += (self._loop.time() - call.began - self._mean_seconds) / 16
        if flags & wire.STOP_SEEN:
            call.ctx.mark_stop_seen()
        call.end(call.ctx.stopped_as or wire.read_outcome(kind, body))
        if line.is_leaving or flags & wire.RETIRES or self.brood.living > self.size:
            self.brood.let_go(line)
        else:
            self._take_on(line)

    def _take_on(self, line: Line) -> None:
        """*line* is free: it runs what waits, or waits itself."""
        while self._waiting:
            call = self._waiting.popleft()
            if not call.is_over:
                self._begin(call, line)
                return
        if self.brood.living > self.size:
            line.hang_up()
        else:
            self._idle.append(line)

    def bury(self, line: Line, reason: str) -> bool:
        """An executor has ended; whether that was a death, neither wanted nor ours."""
        if line in self._idle:
            self._idle.remove(line)
        call, line.call = line.call, None
        if call is not None and call.doom is not None:
            call.end(call.doom)
        elif call is not None:
            log.error("%s: %s: %s", call.ctx.id, call.handler.name, reason)
            call.end(call.ctx.stop_requested or Crashed(reason))
        elif not line.is_leaving:
            log.error("an idle executor is gone: %s", reason)
        return not line.is_leaving if call is None else call.doom is None

    def refill(self) -> None:
        """There may be room for another executor."""
        self._grow()
        self.on_free()
