"""
One attempt with everything its author put around it: middleware, then hooks and dependencies, then the handler.

    middleware 1 ( middleware 2 ( dependencies ( handler ) ) )  then the hooks, which see the last outcome

Pools call a handler by this module, in the process where it runs: `call_sync` for a `def`, `call_async` for an
`async def`. What stands around may be async or not in both cases. The fact to know: around a `def`, async parts run
on a loop of that thread's own, and the handler itself outside of it, so that it may call `asyncio.run`.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from workers import depends
from workers.outcome import Failed, Outcome, Succeeded, failed
from workers.pools.ending import raised, succeeded, too_large

if TYPE_CHECKING:
    from workers.context import Context
    from workers.handler import Handler

CallNext = Callable[[], Awaitable[Outcome]]
Middleware = Callable[["Context", CallNext], Awaitable[Outcome]]
Call = Callable[[Callable[..., Any], dict[str, Any]], Any]


# ---------------------------------------------------------------- the same for every lane


async def surround(handler: Handler[..., Any], ctx: Context, attempt: CallNext, max_result_bytes: int) -> Outcome:
    """The outcome of *attempt* as the middleware leaves it; the hooks have been called."""
    call_next = attempt
    for layer in reversed(handler.middleware):
        call_next = partial(through, layer, handler, ctx, call_next, max_result_bytes)
    outcome = await call_next()
    await handler.hooks.run(ctx, outcome)
    return outcome


async def through(
    layer: Middleware, handler: Handler[..., Any], ctx: Context, call_next: CallNext, max_result_bytes: int
) -> Outcome:
    """The outcome that *layer* answers; one that raises fails the attempt as the handler would."""
    try:
        outcome: object = await layer(ctx, call_next)
    except asyncio.CancelledError:
        raise
    except BaseException as exc:
        return raised(handler, exc)
    if not isinstance(outcome, Outcome):
        name = getattr(layer, "__qualname__", repr(layer))
        message = f"the middleware {name} answered {outcome!r}: needs the outcome, as in `return await call_next()`"
        return failed("InvalidMiddleware", message, retry=False)
    if isinstance(outcome, Succeeded) and len(outcome.result_json) > max_result_bytes:
        return too_large(len(outcome.result_json), max_result_bytes)
    return outcome


# ---------------------------------------------------------------- `async def` handlers


def coroutine_of(handler: Handler[..., Any], kwargs: dict[str, Any], ctx: Context) -> Coroutine[Any, Any, Any]:
    """The coroutine of an `async def` handler, with its dependencies around it."""
    if handler.needs:
        return depends.call_with(handler.needs, kwargs, ctx, partial(unpacked, handler.function))
    coroutine: Coroutine[Any, Any, Any] = handler.function(**kwargs)
    return coroutine


def unpacked(function: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    return function(**kwargs)


# ---------------------------------------------------------------- `def` handlers


def call(function: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    """How a handler's function is called; an executor does more."""
    return function(**kwargs)


def call_sync(
    handler: Handler[..., Any], kwargs: dict[str, Any], ctx: Context, max_result_bytes: int, call: Call = call
) -> Outcome:
    """
    Run a `def` handler to its end in this thread, with everything around it; never raises.

    *kwargs* are as `handler.bind` made them; the Context is put in here. *call* calls the function itself: what
    interrupts handlers, and not what stands around them, belongs there. An attempt that was told to stop and has
    noticed, or was given up, ends as that says.
    """
    if handler.context_name is not None:
        kwargs[handler.context_name] = ctx
    if handler.is_bare:
        try:
            result = call(handler.function, kwargs)
        except BaseException as exc:  # SystemExit too: no handler ends the worker
            return ended(ctx, raised(handler, exc))
        return ended(ctx, succeeded(result, max_result_bytes))
    try:
        if needs_loop(handler):
            return on_own_loop(handler, kwargs, ctx, max_result_bytes, call)
        return in_place(around_sync(handler, kwargs, ctx, Handed, max_result_bytes), handler.function, call)
    except BaseException as exc:  # a signal, between the handler and what stands around it
        return ended(ctx, raised(handler, exc))


def ended(ctx: Context, outcome: Outcome) -> Outcome:
    """*outcome*, unless the attempt was given up or has noticed that it is to stop."""
    if isinstance(ctx.stop_requested, Failed):  # a limit has passed, and that was recorded
        return ctx.stop_requested
    return ctx.stopped_as or outcome


def around_sync(
    handler: Handler[..., Any],
    kwargs: dict[str, Any],
    ctx: Context,
    hand_over: Callable[[dict[str, Any]], Awaitable[Any]],
    max_result_bytes: int,
) -> Coroutine[Any, Any, Outcome]:
    """Everything around a `def` handler; *hand_over* has it called by who drives this."""

    async def attempt() -> Outcome:
        try:
            result = await depends.call_with(handler.needs, kwargs, ctx, hand_over)
        except BaseException as exc:
            return ended(ctx, raised(handler, exc))
        return ended(ctx, succeeded(result, max_result_bytes))

    return surround(handler, ctx, attempt, max_result_bytes)


def needs_loop(handler: Handler[..., Any]) -> bool:
    """Whether anything around *handler* is async. Without that no loop is made."""
    if handler.middleware or handler.hooks.is_async:
        return True
    return any(map(depends.is_async, depends.functions_of(handler.needs.values())))


class Handed:
    """Awaited, it hands the arguments to whoever steps the coroutine, and is sent what the handler returned."""

    __slots__ = ("kwargs",)

    def __init__(self, kwargs: dict[str, Any]) -> None:
        self.kwargs = kwargs

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)


def in_place(coroutine: Coroutine[Any, Any, Outcome], function: Callable[..., Any], call: Call) -> Outcome:
    """Step *coroutine*, which waits for nothing but the handler."""
    fault: BaseException | None = None
    result: Any = None
    try:
        while True:
            handed = coroutine.throw(fault) if fault is not None else coroutine.send(result)
            fault = result = None
            try:
                if not isinstance(handed, Handed):
                    raise RuntimeError("a plain function waited: declare what returns an awaitable as `async def`")
                result = call(function, handed.kwargs)
            except BaseException as exc:
                fault = exc
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome


class OwnLoop:
    """A loop of one thread, closed when that thread ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.close = weakref.finalize(self, end_loop, self.loop)


def end_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Close *loop*, and first what waits for its end, such as the client of submissions made on it."""
    try:
        loop.run_until_complete(loop.shutdown_asyncgens())
    except RuntimeError:  # it stands in the middle of something, or another one runs in this thread
        pass
    finally:
        loop.close()


OWN = threading.local()


def own_loop() -> asyncio.AbstractEventLoop:
    """The loop of this thread for what is async around plain functions; made when it is first needed."""
    if getattr(OWN, "loop", None) is None:
        OWN.loop = OwnLoop()
    own: OwnLoop = OWN.loop
    return own.loop


def close_own_loop() -> None:
    """Let go of this thread's loop, at the end of the thread or the process."""
    own: OwnLoop | None = OWN.__dict__.pop("loop", None)
    if own is not None:
        own.close()


def on_own_loop(
    handler: Handler[..., Any], kwargs: dict[str, Any], ctx: Context, max_result_bytes: int, call: Call
) -> Outcome:
    """Run what is around *handler* on this thread's own loop, and the handler itself while that loop stands still."""
    loop = own_loop()
    asked: list[tuple[dict[str, Any], asyncio.Future[Callable[[], Any]]]] = []
    look = asyncio.Event()

    async def hand_over(full: dict[str, Any]) -> Any:
        answer: asyncio.Future[Callable[[], Any]] = loop.create_future()
        asked.append((full, answer))
        look.set()
        return (await answer)()

    async def step() -> bool:
        """Until the handler is to be called, or all is over."""
        waiting = asyncio.ensure_future(look.wait())
        await asyncio.wait((waiting, task), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        look.clear()
        return bool(asked)

    task = loop.create_task(around_sync(handler, kwargs, ctx, hand_over, max_result_bytes))
    try:
        while loop.run_until_complete(step()):
            full, answer = asked.pop()
            answer.set_result(called(call, handler.function, full))
        return task.result()
    except BaseException:
        close_own_loop()  # interrupted by a signal: what it was doing is unknown
        raise


def called(call: Call, function: Callable[..., Any], kwargs: dict[str, Any]) -> Callable[[], Any]:
    """Call *function*; what is returned returns its result, or raises what it raised."""
    try:
        result = call(function, kwargs)
    except BaseException as exc:
        fault = exc

        def fail() -> Any:
            raise fault

        return fail
    return lambda: result
