"""
Runs `def` handlers in child processes, so that one that hangs, leaks or crashes harms nothing else.

A call goes to an idle executor; there are as many executors as were needed at once. While calls are short, executors
are sent some ahead, so that one frame carries several; those that do not begin soon are taken back (`desk.py`), and all
are before an executor is killed. When the hard limit passes, an executor and all that it started get SIGTERM, and
SIGKILL when the grace is over. A cancelled handler is interrupted, and killed when the grace is over. An executor
that dies costs only the call that it had begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from workers.capture import stack_in
from workers.context import Context
from workers.handler import Handler
from workers.outcome import Cancelled, Crashed, Outcome
from workers.pools import nursery, wire
from workers.pools.brood import Brood
from workers.pools.call import Call
from workers.pools.dealer import AHEAD_SECONDS, LOOK_SECONDS, Dealer
from workers.pools.ending import out_of_time
from workers.pools.line import Line

log = logging.getLogger("taskpost.worker")

GRACE_SECONDS = 5.0
BACKOFF_SECONDS = 0.1
CLOSE_SECONDS = 1.0
ENDED = "; its process was ended"


class ProcessPool:
    """
    The pool of the lane `process`, with up to *size* executors forked by the nursery behind *door*.

    `failed` gets an exception when the nursery is gone: the worker process must end then. `on_free` is called when
    there may be room again without a call having ended.
    """

    def __init__(
        self,
        door: nursery.Door,
        size: int,
        *,
        max_tasks: int = 0,
        grace_seconds: float = GRACE_SECONDS,
        backoff_seconds: float = BACKOFF_SECONDS,
    ) -> None:
        """*max_tasks*: how many calls an executor takes (0: any number). *backoff_seconds*: see `Brood`."""
        self.max_tasks, self.grace_seconds = max_tasks, grace_seconds
        self.on_free: Callable[[], None] = lambda: None
        self.brood = Brood(door, size, self, backoff_seconds)
        self.failed = self.brood.failed
        self.dealer = Dealer(self.brood, max_tasks)
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._calls: dict[int, Call] = {}
        self._looking: asyncio.TimerHandle | None = None

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
        return self.size * 2 * self.dealer.depth if self.dealer.depth > 1 else 0

    @property
    def executors(self) -> list[tuple[int, int]]:
        """(process number, calls so far, the one under way included) of each executor that lives."""
        return [(line.pid, line.taken - max(len(line.calls) - 1, 0)) for line in self.brood.lines.values() if line.pid]

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
        now = loop.time()
        self._number += 1
        call = Call(self._number, handler, kwargs, ctx, loop.create_future(), now)
        soft = soft_timeout if soft_timeout is not None and soft_timeout < timeout else None
        call.limits = now + timeout, None if soft is None else now + soft
        self._calls[call.number] = call
        ctx.on_stop = partial(self._stop, call)
        if (timeout if soft is None else soft) <= 2 * AHEAD_SECONDS:
            self._watch(call, call.limits)
        self._start(call)
        try:
            return await call.outcome
        except asyncio.CancelledError:
            self._give_up(call)
            raise
        finally:
            ctx.on_stop = None
            del self._calls[call.number]
            for timer in call.timers:
                timer.cancel()

    def resize(self, size: int) -> None:
        """Have up to *size* executors from now on. Those that are too many end when they are idle."""
        self.brood.size = size
        self.dealer.let_idle_go()
        if len(self._calls) > size:  # what has not begun goes back, and begins elsewhere
            for call in self.dealer.waiting:
                call.is_ahead = True
            self._look_soon()
        self.refill()

    async def close(self, patience_seconds: float = CLOSE_SECONDS) -> None:
        """Let the executors end in order, for so long; then kill what is left, with all that it started."""
        self.dealer.idle.clear()
        await self.brood.close(patience_seconds)

    def _start(self, call: Call) -> None:
        if call.ctx.stop_requested is not None:
            call.end(call.ctx.stop_requested)
            return
        call.is_ahead = len(self._calls) > self.size
        self.dealer.add(call)
        self._look_soon()

    # ------------------------------------------------------------ limits and stops

    def _look(self, expected: float) -> None:
        """Now and then, while there are young calls: what takes longer gets timers for its limits."""
        self._looking, now = None, self._loop.time()
        is_needed = self.dealer.look(now, is_punctual=now - expected < LOOK_SECONDS)
        for call in self._calls.values():
            if call.limits is not None:
                if now - call.since >= AHEAD_SECONDS:
                    self._watch(call, call.limits)
                is_needed = True
        if is_needed:
            self._look_soon()

    def _look_soon(self) -> None:
        if self._looking is None:
            at = self._loop.time() + LOOK_SECONDS
            self._looking = self._loop.call_at(at, self._look, at)

    def _watch(self, call: Call, limits: tuple[float, float | None]) -> None:
        """Have timers for the limits of *call*; most calls are over before they need any."""
        call.limits, (hard, soft) = None, limits
        call.timers.append(self._loop.call_at(hard, self._pass_hard_limit, call, hard - call.since))
        if soft is not None:
            call.timers.append(self._loop.call_at(soft, self._interrupt, call, wire.SOFT))

    def _interrupt(self, call: Call, kind: int, reason: str = "") -> None:
        """Tell the handler of *call* that a limit has passed or it is to stop; a signal makes it listen."""
        if call.line is None or call.is_over:
            return
        if call.has_begun:
            call.line.send(wire.pack(kind, call.number, reason.encode()))
            self.brood.tell(nursery.SOFT, call.line)
        else:
            call.word = (kind, reason)

    def _stop(self, call: Call) -> None:
        """The attempt was asked to stop; it may end by itself within the grace."""
        stop = call.ctx.stop_requested
        if stop is None or call.is_over:
            return
        if call.line is None:
            call.end(stop)
        elif not call.has_begun:
            self.dealer.withdraw(call.line, partial(self._stop, call))
        else:
            self._interrupt(call, wire.CANCEL, stop.reason if isinstance(stop, Cancelled) else "")
            call.timers.append(self._loop.call_later(self.grace_seconds, self._kill, call, stop))

    def _kill(self, call: Call, doom: Outcome) -> None:
        if call.line is None or call.is_over:
            return
        if not call.is_last or call.line.settling is not None:  # what it has not begun must not die with it
            self.dealer.withdraw(call.line, partial(self._kill, call, doom))
        else:
            call.doom = doom
            self.brood.tell(nursery.KILL, call.line)

    def _pass_hard_limit(self, call: Call, timeout: float) -> None:
        if call.is_over:
            return
        if call.line is None:
            call.end(out_of_time(call.handler, timeout, None, "; no child process was free for it"))
        elif not call.has_begun or not call.is_last or call.line.settling is not None:
            self.dealer.withdraw(call.line, partial(self._pass_hard_limit, call, timeout))
        else:
            call.doom, call.passed_limit = out_of_time(call.handler, timeout, None, ENDED), timeout
            call.line.forget_stack()
            call.line.send(wire.pack(wire.TERMINATE, call.number))
            self.brood.tell(nursery.TERMINATE, call.line, self.grace_seconds)

    def _give_up(self, call: Call) -> None:
        """Nobody waits for *call* any more: its handler ends at once."""
        if call.line is None or call not in call.line.calls:
            return
        if not call.has_begun or not call.is_last or call.line.settling is not None:
            self.dealer.withdraw(call.line, partial(self._give_up, call))
        else:
            call.doom = call.doom or Crashed("nobody waited for it any more")
            self.brood.tell(nursery.KILL, call.line)

    # ------------------------------------------------------------ what executors say, and their ends

    def hear(self, line: Line, frame: wire.Frame) -> None:
        """One frame of an executor's."""
        kind, flags, number, body = frame
        call = line.calls[0] if line.calls else None
        if kind == wire.READY:
            self.brood.note_ready(line)
            self.dealer.rest(line)
        elif call is None or call.number != number:
            if kind not in (wire.WITHDRAWN, wire.LOG):  # it was taken back before; a thread left behind goes on logging
                log.warning("executor %d spoke of a call that is over", line.pid)
        elif kind == wire.PROGRESS:
            call.ctx.progress(*orjson.loads(body))
        elif kind == wire.LOG:
            if call.ctx.report_log is not None:
                call.ctx.report_log(*orjson.loads(body))
        elif kind == wire.CHECKPOINT:
            self._keep(line, call, flags, body)
        elif kind == wire.WITHDRAWN:
            self.dealer.take_back(line, [call])
            self._go_on(line)
        elif call.doom is not None:  # it is being killed, and is free only when it is dead
            self.brood.tell(nursery.KILL, line)
        else:
            self._finish(line, call, kind, flags, body)

    def _keep(self, line: Line, call: Call, flags: int, body: bytes) -> None:
        """A handler waits until its checkpoint is kept."""
        number, json = body[: wire.NUMBER.size], body[wire.NUMBER.size :]

        def answer(kept: asyncio.Future[None]) -> None:
            fault = None if kept.cancelled() else kept.exception()
            kind = wire.REFUSED if kept.cancelled() or fault else wire.KEPT
            if call in line.calls:
                line.send(wire.pack(kind, call.number, number + str(fault or "").encode()))
                if flags & wire.ASIDE:
                    self.brood.tell(nursery.SOFT, line)

        asyncio.ensure_future(call.ctx.checkpoint(orjson.Fragment(json))).add_done_callback(answer)

    def _finish(self, line: Line, call: Call, kind: int, flags: int, body: bytes) -> None:
        line.calls.popleft()
        call.line = None
        self.brood.deaths_in_row = 0
        self.dealer.note(self._loop.time() - call.began)
        call.ctx.began = call.began
        if flags & wire.TIMED:
            call.ctx.busy_seconds = wire.SPENT.unpack_from(body)[0]
            body = body[wire.SPENT.size :]
        if flags & wire.STOP_SEEN:
            call.ctx.mark_stop_seen()
        call.end(call.ctx.stopped_as or wire.read_outcome(kind, body))
        if flags & wire.RETIRES:
            line.is_leaving = True
        self._go_on(line)

    def _go_on(self, line: Line) -> None:
        """A call of *line* is out of the way: the next one begins, or it is free."""
        if not line.calls:
            self.dealer.rest(line)
            return
        call = line.calls[0]
        call.began = self._loop.time()
        if call.word is not None:
            word, call.word = call.word, None
            self._interrupt(call, *word)

    def bury(self, line: Line, reason: str) -> bool:
        """An executor has ended; whether that was a death, neither wanted nor ours."""
        call = line.calls[0] if line.calls else None
        is_wanted = line.is_leaving
        if call is not None and (call.doom is not None or line.desk.begun >= call.serial):
            line.calls.popleft()
            call.line, call.ctx.began = None, call.began
            is_wanted = call.doom is not None
            if call.passed_limit is not None:
                call.doom = out_of_time(call.handler, call.passed_limit, stack_in(line.last_stack), ENDED)
            call.end(call.doom or call.ctx.stop_requested or Crashed(reason))
        elif not is_wanted:
            log.error("an idle executor is gone: %s", reason)
        self.dealer.forget(line)
        return not is_wanted

    def refill(self) -> None:
        """There may be room for another executor."""
        self.dealer.refill()
        self.on_free()
