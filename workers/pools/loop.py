"""
Runs `async def` handlers on the event loop, inside the caller's own asyncio task.

A handler that never waits costs no timer and no task: its coroutine is stepped once, and that is it. One
that waits is stepped on by `Running`, which stands between the coroutine and asyncio so that it can choose
what the coroutine is told when a limit passes.

The limits of the limits: they reach a coroutine only where it waits. A handler that blocks the loop is
stopped by none of them.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Future, TimerHandle
from collections.abc import Coroutine, Generator
from functools import partial
from time import monotonic
from typing import Any

from workers.around import coroutine_of, surround
from workers.capture import traceback_of
from workers.context import Context
from workers.handler import Handler
from workers.outcome import Outcome, SoftTimeLimitExceeded
from workers.pools.ending import out_of_time, raised, succeeded

GRACE_SECONDS = 5.0
AROUND_SECONDS = 3.0  # for middleware and hooks, beyond the limits of the handler


class LoopPool:
    """The pool of the lane `async`; it has room for whatever its caller gives it."""

    def __init__(self, *, max_result_bytes: int, grace_seconds: float = GRACE_SECONDS) -> None:
        """*grace_seconds* is how long a cancelled handler may clean up before its coroutine is closed."""
        self.max_result_bytes = max_result_bytes
        self.grace_seconds = grace_seconds

    def call(
        self,
        handler: Handler[..., Any],
        kwargs: dict[str, Any],
        ctx: Context,
        timeout: float,
        soft_timeout: float | None = None,
    ) -> Coroutine[Any, Any, Outcome]:
        """Run *handler* once; see `Pool.call`."""
        if handler.is_bare:
            return self.run(handler, kwargs, ctx, timeout, soft_timeout)
        return self.run_surrounded(handler, kwargs, ctx, timeout, soft_timeout)

    async def run_surrounded(
        self,
        handler: Handler[..., Any],
        kwargs: dict[str, Any],
        ctx: Context,
        timeout: float,
        soft_timeout: float | None,
    ) -> Outcome:
        """Run *handler* with its middleware and hooks around it."""
        attempt = partial(self.run, handler, kwargs, ctx, timeout, soft_timeout)
        try:
            # Middleware and hooks stand outside the limits of the handler, and have one of their own.
            async with asyncio.timeout(timeout + self.grace_seconds + AROUND_SECONDS):
                return await surround(handler, ctx, attempt, self.max_result_bytes)
        except TimeoutError:
            return out_of_time(handler, timeout, None, "; its middleware or its hooks did not end")

    async def run(
        self,
        handler: Handler[..., Any],
        kwargs: dict[str, Any],
        ctx: Context,
        timeout: float,
        soft_timeout: float | None,
    ) -> Outcome:
        """Run *handler* with its dependencies, under its limits."""
        ctx.began = monotonic()
        if handler.context_name is not None:
            kwargs[handler.context_name] = ctx
            ctx.loop = asyncio.get_running_loop()
        try:
            coroutine = coroutine_of(handler, kwargs, ctx) if handler.needs else handler.function(**kwargs)
            awaited = coroutine.send(None)
        except StopIteration as stop:
            return succeeded(stop.value, self.max_result_bytes)
        except BaseException as exc:  # SystemExit too: no handler ends the worker
            return raised(handler, exc)
        running = Running(coroutine, awaited, ctx, self.grace_seconds)
        running.arm(timeout, soft_timeout)
        try:
            result = await running
        except BaseException as exc:
            if running.is_left_alone(exc):
                raise
            return self._ended_badly(handler, running, exc, timeout)
        if running.is_out_of_time:
            return out_of_time(handler, timeout, None, "; it went on after that and returned")
        return ctx.stopped_as or succeeded(result, self.max_result_bytes)

    def _ended_badly(self, handler: Handler[..., Any], running: Running, exc: BaseException, timeout: float) -> Outcome:
        if running.is_out_of_time:
            note = "" if not running.is_abandoned else "; it did not stop when asked to, and was closed"
            return out_of_time(handler, timeout, traceback_of(exc), note)
        return running.ctx.stopped_as or raised(handler, exc)


class Abandoned(Exception):
    """The coroutine did not end within the grace period and was closed."""


class Running:
    """
    A coroutine that waits, with its limits.

    Awaiting it awaits the coroutine. To interrupt, the asyncio task is cancelled; the CancelledError
    arrives here first and is passed on as what was meant. A cancel that did not come from here is passed on
    as it is, so `asyncio.timeout` and the like work inside a handler as everywhere.
    """

    __slots__ = (
        "_awaited",
        "_coroutine",
        "_grace_seconds",
        "_is_soft",
        "_loop",
        "_requests",
        "_task",
        "_timers",
        "_waited_seconds",
        "ctx",
        "is_abandoned",
        "is_closed",
        "is_out_of_time",
    )

    def __init__(self, coroutine: Coroutine[Any, Any, Any], awaited: Any, ctx: Context, grace_seconds: float) -> None:
        self.ctx = ctx
        self.is_out_of_time = False
        self.is_abandoned = False
        self.is_closed = False
        self._coroutine = coroutine
        self._awaited = awaited
        self._grace_seconds = grace_seconds
        self._is_soft = False
        self._requests = 0  # cancels of ours that have not arrived yet
        self._timers: list[TimerHandle] = []
        self._waited_seconds = 0.0
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine waits only inside a task
        self._task = task

    def arm(self, timeout: float, soft_timeout: float | None) -> None:
        """Start the limits, in seconds from now, and listen for a stop."""
        self._timers.append(self._loop.call_later(timeout, self._pass_hard_limit))
        if soft_timeout is not None and soft_timeout < timeout:
            self._timers.append(self._loop.call_later(soft_timeout, self._pass_soft_limit))
        self.ctx.on_stop = self._stop
        if self.ctx.stop_requested is not None:  # it was asked to stop before it began to wait
            self._loop.call_soon(self._stop)

    def is_left_alone(self, exc: BaseException) -> bool:
        """
        Whether *exc* is meant for the caller: it was itself cancelled or closed, and the handler gave way.
        """
        if self.is_closed:
            return True
        return type(exc) is CancelledError and self._task.cancelling() > 0

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            while True:
                try:
                    yield from self._wait(self._awaited)
                except GeneratorExit:
                    self.is_closed = True
                    self._coroutine.close()
                    raise
                except BaseException as exc:
                    self._awaited = self._interrupted(exc)
                else:
                    self._awaited = self._coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        finally:
            self._disarm()

    def _wait(self, awaited: Any) -> Generator[Any, Any, None]:
        """
        Wait for what the coroutine waits for.

        A plain future obeys a cancel at once. A task may refuse it for ever, so that one is waited for
        through a future of ours, which a second cancel ends.
        """
        since = monotonic()
        try:
            if type(awaited) is Future or not isinstance(awaited, Future):
                yield awaited
            else:
                yield from self._wait_patiently(awaited)
        finally:
            self._waited_seconds += monotonic() - since

    def _wait_patiently(self, awaited: Future[Any]) -> Generator[Any, Any, None]:
        """Wait for a task; see `_wait`."""
        awaited._asyncio_future_blocking = False
        has_asked = False
        while not awaited.done():
            waiter = self._loop.create_future()
            awaited.add_done_callback(partial(wake, waiter))
            try:
                yield from waiter
            except CancelledError:
                if has_asked or not awaited.cancel():
                    raise
                has_asked = True
        if has_asked:
            raise CancelledError

    def _interrupted(self, exc: BaseException) -> Any:
        """
        Pass *exc* on to the coroutine, as what was meant by it; answers what the coroutine waits for next.
        """
        if not self._requests:
            return self._coroutine.throw(exc)
        for _ in range(self._requests):
            self._task.uncancel()
        self._requests = 0
        if self.is_abandoned:
            return self._abandon(exc)
        if self._is_soft:
            self._is_soft = False
            return self._coroutine.throw(SoftTimeLimitExceeded("the soft time limit has passed"))
        self.ctx.mark_stop_seen()
        return self._coroutine.throw(CancelledError())

    def _abandon(self, exc: BaseException) -> Any:
        try:
            self._coroutine.close()
        except BaseException as refused:  # it even waits while being closed; it is never stepped again
            raise Abandoned("it was still waiting") from refused
        raise Abandoned("it was still waiting") from exc

    # ------------------------------------------------------------ called by the loop

    def _pass_soft_limit(self) -> None:
        if not self.is_out_of_time and self.ctx.stop_requested is None:
            self._is_soft = True
            self._cancel()

    def _pass_hard_limit(self) -> None:
        self.is_out_of_time = True
        self._end()

    def _stop(self) -> None:
        if not self.is_out_of_time:
            self._end()

    def _end(self) -> None:
        self._is_soft = False
        self._timers.append(self._loop.call_later(self._grace_seconds, self._pass_grace))
        self._cancel()

    def _pass_grace(self) -> None:
        self.is_abandoned = True
        self._cancel()

    def _cancel(self) -> None:
        self._requests += 1
        self._task.cancel()

    def _disarm(self) -> None:
        self.ctx.on_stop = None
        if self.ctx.began is not None:
            self.ctx.busy_seconds = monotonic() - self.ctx.began - self._waited_seconds
        for timer in self._timers:
            timer.cancel()


def wake(waiter: Future[None], _done: Future[Any]) -> None:
    """Let go who waits on *waiter*, unless something else did already."""
    if not waiter.done():
        waiter.set_result(None)
