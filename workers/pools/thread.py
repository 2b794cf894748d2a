"""
Runs `def` handlers on a number of threads.

A thread cannot be killed. When the hard limit passes, the attempt has failed and says where the thread is;
the thread itself keeps its place in the pool until the handler returns, and the handler can notice by
`ctx.is_cancelled`. The soft limit is told by the handler's next `ctx.progress`. Threads never hold up the
end of the process.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from queue import SimpleQueue
from time import monotonic, thread_time
from typing import Any

from workers.around import call_sync
from workers.capture import stack_of
from workers.context import Context
from workers.handler import Handler
from workers.outcome import Cancelled, Outcome
from workers.pools.ending import out_of_time

LOGGER = logging.getLogger(__name__)


class Call:
    """
    One attempt on its way through a thread. *outcome* is the caller's; *thread_id* is None until it starts.
    """

    __slots__ = ("ctx", "handler", "is_given_up", "kwargs", "outcome", "thread_id", "variables")

    def __init__(
        self,
        handler: Handler[..., Any],
        kwargs: dict[str, Any],
        ctx: Context,
        outcome: asyncio.Future[Outcome],
    ) -> None:
        self.handler = handler
        self.kwargs = kwargs
        self.ctx = ctx
        self.outcome = outcome
        self.variables = contextvars.copy_context()
        self.thread_id: int | None = None
        self.is_given_up = False


class ThreadPool:
    """The pool of the lane `thread`, with *size* threads, started when they are needed."""

    def __init__(self, size: int, *, max_result_bytes: int) -> None:
        self.size = size
        self.max_result_bytes = max_result_bytes
        self.busy = 0
        self._many = 0  # threads that were started and not told to end
        self._number = 0
        self._calls: SimpleQueue[tuple[asyncio.AbstractEventLoop, Call] | None] = SimpleQueue()

    @property
    def free(self) -> int:
        """How many calls would start at once; threads whose attempt was given up still count as busy."""
        return max(self.size - self.busy, 0)

    async def call(
        self,
        handler: Handler[..., Any],
        kwargs: dict[str, Any],
        ctx: Context,
        timeout: float,
        soft_timeout: float | None = None,
    ) -> Outcome:
        """Run *handler* once; see `Pool.call`. Without a free thread it waits for one, and its limits run."""
        loop = ctx.loop = asyncio.get_running_loop()
        call = Call(handler, kwargs, ctx, loop.create_future())
        timers = [loop.call_later(timeout, self._pass_hard_limit, call, timeout)]
        if soft_timeout is not None and soft_timeout < timeout:
            timers.append(loop.call_later(soft_timeout, ctx.pass_soft_limit))
        self._start(loop, call)
        try:
            return await call.outcome
        except asyncio.CancelledError:
            call.is_given_up = True
            ctx.stop(Cancelled("the worker no longer waits for it"))
            raise
        finally:
            for timer in timers:
                timer.cancel()

    def close(self) -> None:
        """Let idle threads end; those that run a handler end when it returns, or with the process."""
        self._shrink(0)

    def resize(self, size: int) -> None:
        """Have up to *size* threads from now on. Those that are too many end when they are idle."""
        self.size = size
        self._shrink(size)
        while self._many < min(self.busy, size):
            self._grow()

    def _shrink(self, size: int) -> None:
        while self._many > size:
            self._many -= 1
            self._calls.put(None)

    def _grow(self) -> None:
        # Daemons, because the interpreter waits for others at its end, and a handler may never return.
        threading.Thread(target=self._work, name=f"taskpost-handler-{self._number}", daemon=True).start()
        self._number += 1
        self._many += 1

    def _start(self, loop: asyncio.AbstractEventLoop, call: Call) -> None:
        self.busy += 1
        if self._many < min(self.busy, self.size):
            self._grow()
        self._calls.put((loop, call))

    def _pass_hard_limit(self, call: Call, timeout: float) -> None:
        if call.outcome.done():
            return
        call.is_given_up = True
        where = stack_of(call.thread_id) if call.thread_id is not None else None
        note = "; its thread runs on until the handler returns" if where else "; no thread was free for it"
        outcome = out_of_time(call.handler, timeout, where, note)
        call.ctx.stop(outcome)
        call.outcome.set_result(outcome)

    def _finish(self, call: Call, outcome: Outcome | None) -> None:
        """
        On the loop: the thread is free again, and *call* has its outcome if somebody still waits for it.
        """
        self.busy -= 1
        if not call.outcome.done() and outcome is not None:
            call.outcome.set_result(call.ctx.stopped_as or outcome)
        elif call.is_given_up and call.thread_id is not None:
            LOGGER.warning("%s: the thread of %s, given up before, has returned", call.ctx.id, call.handler.name)

    # ------------------------------------------------------------ on the threads

    def _work(self) -> None:
        while (given := self._calls.get()) is not None:
            loop, call = given
            outcome = None
            if not call.is_given_up:
                call.thread_id = threading.get_ident()
                outcome = call.variables.run(self._run, call)
            try:
                loop.call_soon_threadsafe(self._finish, call, outcome)
            except RuntimeError:  # the loop is closed, so nobody waits any more
                return
            del given, call, outcome  # an idle thread must not keep a large result alive

    def _run(self, call: Call) -> Outcome:
        call.ctx.began, used = monotonic(), thread_time()
        try:
            return call_sync(call.handler, call.kwargs, call.ctx, self.max_result_bytes)
        finally:
            call.ctx.busy_seconds = thread_time() - used
