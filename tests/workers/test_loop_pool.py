"""Handlers on the event loop: results, errors, limits, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import threading
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import orjson
import pytest

from workers import Context, Defer, Fail, Registry, Retry, SoftTimeLimitExceeded
from workers.outcome import Cancelled, Deferred, Failed, Outcome, Succeeded
from workers.pools.loop import LoopPool

LONG = 60.0
SOON = 0.02

is_over = threading.Event()
pool = LoopPool(max_result_bytes=1000, grace_seconds=SOON)


async def run(
    function: Callable[..., Awaitable[Any]],
    ctx: Context | None = None,
    timeout: float = LONG,
    soft_timeout: float | None = None,
    **options: Any,
) -> Outcome:
    handler = Registry().task("demo", **options)(function)
    return await pool.call(handler, {}, ctx or Context(id="1"), timeout, soft_timeout)


async def for_ever() -> None:
    await asyncio.Event().wait()


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int


class Size(msgspec.Struct):
    width: Point


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, None),
        ({"a": [1, "b"]}, {"a": [1, "b"]}),
        (Point(1), {"x": 1}),
        (Size(Point(2)), {"width": {"x": 2}}),
        (Colour.RED, "red"),
        (datetime(2026, 11, 22, tzinfo=UTC), "2026-11-22T00:00:00+00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        ({1: "one", Colour.RED: 2}, {"1": "one", "red": 2}),
        ({"only"}, ["only"]),
        (b"\xff", {"base64": "/w==", "content_type": "application/octet-stream"}),
        (float("nan"), None),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
async def test_a_result_is_kept_as_json(result, expected, waits):
    """What a handler returns reads in the API as its author would expect, whether it waited or not."""

    async def work():
        if waits:
            await asyncio.sleep(0)
        return result

    outcome = await run(work)
    assert isinstance(outcome, Succeeded)
    assert expected == orjson.loads(outcome.result_json)


@pytest.mark.parametrize("result", [object(), {"a": [lambda: None]}, 2**70, "\ud800", Point])
async def test_a_result_that_is_no_json_fails_for_good(result):
    """Another attempt would return the same; the error says what can be returned."""

    async def work():
        return result

    outcome = await run(work)
    assert isinstance(outcome, Failed)
    assert ("ResultNotSerializable", False) == (outcome.error["type"], outcome.retry)
    assert "return None, numbers, text" in outcome.error["message"]


async def test_a_result_over_the_bound_fails_for_good():
    """The error tells the size, the bound and its setting."""

    async def work():
        return "x" * 1000

    outcome = await run(work)
    assert isinstance(outcome, Failed)
    assert ("ResultTooLarge", False) == (outcome.error["type"], outcome.retry)
    assert "1002 bytes" in outcome.error["message"]
    assert "TASKPOST_MAX_RESULT_BYTES allows 1000" in outcome.error["message"]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("exc", "options", "expected"),
    [
        (ValueError("no"), {}, (True, None)),
        (ValueError("no"), {"retry_on": OSError}, (False, None)),
        (Fail("never"), {}, (False, None)),
        (Retry("later", after=7), {"no_retry_on": Exception}, (True, 7.0)),
        (SystemExit(3), {}, (True, None)),
        (KeyboardInterrupt(), {}, (True, None)),
        (asyncio.CancelledError(), {}, (True, None)),
        (GeneratorExit(), {}, (True, None)),
    ],
)
async def test_whatever_a_handler_raises_is_a_failure(exc, options, expected, waits):
    """Nothing a handler raises ends the worker; whether it is retried is told with it."""

    async def work():
        if waits:
            await asyncio.sleep(0)
        raise exc

    outcome = await run(work, **options)
    assert isinstance(outcome, Failed)
    assert expected == (outcome.retry, outcome.after_seconds)
    assert type(exc).__name__ == outcome.error["type"]
    assert "in work" in outcome.error["traceback"]
    assert "pools" not in outcome.error["traceback"]


async def test_a_handler_can_come_back_later():
    """raise Defer(after=…) spends no attempt."""

    async def work():
        raise Defer("not open yet", after=30)

    assert Deferred(30.0, "not open yet") == await run(work)


async def test_the_context_is_given_where_it_is_asked_for():
    """By its annotation, under any name."""

    async def work(me: Context):
        return me.attempt

    handler = Registry().task("demo")(work)
    handler.context_name = "me"
    outcome = await pool.call(handler, {}, Context(id="1", attempt=3), LONG)
    assert Succeeded(b"3") == outcome


async def test_the_hard_limit_cancels_and_fails_the_attempt():
    """The coroutine sees a CancelledError and may clean up; the error says where it was."""
    cleaned = asyncio.Event()

    async def work():
        try:
            await for_ever()
        finally:
            cleaned.set()

    outcome = await run(work, timeout=SOON)
    assert cleaned.is_set()
    assert isinstance(outcome, Failed)
    assert ("TimeLimitExceeded", True) == (outcome.error["type"], outcome.retry)
    assert "time limit of 0.02 s" in outcome.error["message"]
    assert "in for_ever" in outcome.error["traceback"]


@pytest.mark.parametrize(
    ("options", "retried"), [({"retry_on": OSError}, True), ({"no_retry_on": TimeoutError}, False)]
)
async def test_a_passed_limit_is_a_timeout_for_retry_on(options, retried):
    """retry_on=(OSError,) and TimeoutError have the meaning they have everywhere in Python."""
    outcome = await run(for_ever, timeout=SOON, **options)
    assert isinstance(outcome, Failed)
    assert retried is outcome.retry


async def test_a_handler_that_returns_after_the_hard_limit_has_failed():
    """A swallowed cancel does not turn a late result into a success."""

    async def work():
        with contextlib.suppress(asyncio.CancelledError):
            await for_ever()
        return "late"

    outcome = await run(work, timeout=SOON)
    assert isinstance(outcome, Failed)
    assert "TimeLimitExceeded" == outcome.error["type"]


async def stubborn() -> None:
    while not is_over.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await for_ever()


async def very_stubborn() -> None:
    while True:
        with contextlib.suppress(BaseException):
            await for_ever()


async def behind_a_stubborn_task() -> None:
    await asyncio.create_task(stubborn())


async def behind_stubborn_tasks() -> None:
    await asyncio.gather(stubborn(), stubborn())


async def in_a_stubborn_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(stubborn())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "work", [stubborn, very_stubborn, behind_a_stubborn_task, behind_stubborn_tasks, in_a_stubborn_group]
)
async def test_a_handler_that_refuses_to_die_is_closed(work):
    """No handler holds its place for ever: after a grace period its coroutine is closed and reported."""
    before = asyncio.all_tasks()
    outcome = await run(work, timeout=SOON)
    assert isinstance(outcome, Failed)
    assert "TimeLimitExceeded" == outcome.error["type"]
    assert "it did not stop when asked to" in outcome.error["message"]
    for left in asyncio.all_tasks() - before:  # child tasks are the handler's own affair; ended here for the loop
        is_over.set()
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
    is_over.clear()


async def test_the_soft_limit_is_told_inside_the_handler():
    """The handler catches SoftTimeLimitExceeded where it waits, and may still succeed."""

    async def work():
        try:
            await for_ever()
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0)
            return "half of it"

    assert Succeeded(b'"half of it"') == await run(work, soft_timeout=SOON)


async def test_the_soft_limit_passes_except_exception():
    """A loop that survives all errors does not survive the soft limit by accident."""

    async def work():
        while True:
            with contextlib.suppress(Exception):
                await for_ever()

    outcome = await run(work, soft_timeout=SOON)
    assert isinstance(outcome, Failed)
    assert ("SoftTimeLimitExceeded", True) == (outcome.error["type"], outcome.retry)


async def in_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(for_ever())


async def in_gather() -> None:
    await asyncio.gather(for_ever(), for_ever())


async def in_wait_for() -> None:
    await asyncio.wait_for(for_ever(), LONG)


async def in_timeout() -> None:
    async with asyncio.timeout(LONG):
        await for_ever()


async def in_task() -> None:
    await asyncio.create_task(for_ever())


@pytest.mark.parametrize("work", [in_group, in_gather, in_wait_for, in_timeout, in_task])
@pytest.mark.parametrize("limits", [{"timeout": SOON}, {"soft_timeout": SOON}])
async def test_limits_leave_no_child_task_behind(work, limits):
    """TaskGroup, gather and the like end their children for a limit as for any cancel."""
    before = asyncio.all_tasks()
    outcome = await run(work, **limits)
    assert isinstance(outcome, Failed)
    expected = "SoftTimeLimitExceeded" if "soft_timeout" in limits else "TimeLimitExceeded"
    assert expected == outcome.error["type"]
    assert before == asyncio.all_tasks()


async def test_the_handlers_own_timeouts_work_as_ever():
    """asyncio.timeout inside a handler ends what it surrounds and nothing else."""

    async def work():
        try:
            async with asyncio.timeout(SOON):
                await for_ever()
        except TimeoutError:
            await asyncio.sleep(0)
            return "went on"

    assert Succeeded(b'"went on"') == await run(work)


async def test_the_soft_limit_passes_an_inner_timeout():
    """After the soft limit an inner asyncio.timeout does not mistake it for its own."""

    async def work():
        try:
            async with asyncio.timeout(LONG):
                await for_ever()
        except SoftTimeLimitExceeded:
            async with asyncio.timeout(LONG):
                await asyncio.sleep(0)
            return asyncio.current_task().cancelling()

    assert Succeeded(b"0") == await run(work, soft_timeout=SOON)


async def test_a_task_the_handler_awaited_being_cancelled_is_a_failure():
    """A CancelledError that nobody here asked for is the handler's own error."""

    async def work():
        child = asyncio.create_task(for_ever())
        asyncio.get_running_loop().call_soon(child.cancel)
        await child

    outcome = await run(work)
    assert isinstance(outcome, Failed)
    assert ("CancelledError", True) == (outcome.error["type"], outcome.retry)


async def test_a_stop_cancels_the_handler():
    """The attempt ends with the outcome that the stop brought."""
    ctx = Context(id="1")
    asyncio.get_running_loop().call_soon(ctx.stop, Cancelled("asked by the user"))
    assert Cancelled("asked by the user") == await run(for_ever, ctx)


async def test_a_stopped_handler_may_clean_up_and_return():
    """What it returns or raises after the stop does not change that it was stopped."""
    for ending in (lambda: "partly done", lambda: 1 / 0):
        ctx = Context(id="1")

        async def work(ending=ending):
            try:
                await for_ever()
            except asyncio.CancelledError:
                return ending()

        asyncio.get_running_loop().call_soon(ctx.stop, Deferred(0, "the worker stops"))
        assert Deferred(0, "the worker stops") == await run(work, ctx)


async def test_a_stopped_handler_that_refuses_to_die_is_closed():
    """A cancel comes true even so."""
    ctx = Context(id="1")
    asyncio.get_running_loop().call_soon(ctx.stop, Cancelled("asked"))
    assert Cancelled("asked") == await run(stubborn, ctx)


async def test_a_handler_that_finished_unaware_of_the_stop_has_succeeded():
    """Work that was done is not thrown away."""
    ctx = Context(id="1")

    async def work():
        ctx.stop(Cancelled("too late"))
        return "done"

    assert Succeeded(b'"done"') == await run(work, ctx)


async def test_the_callers_own_cancel_goes_through():
    """A runtime that cancels the attempt's task gets its CancelledError, and the handler is cancelled."""
    cleaned = asyncio.Event()
    started = asyncio.Event()

    async def work():
        try:
            started.set()
            await for_ever()
        finally:
            cleaned.set()

    task = asyncio.create_task(run(work))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()


async def test_progress_reaches_the_worker():
    """ctx.progress in a coroutine is heard at once."""
    said = []

    async def work():
        await ctx.progress(1, 2, "half")

    ctx = Context(id="1", report_progress=lambda *what: said.append(what))
    await run(work, ctx)
    assert [(1, 2, "half")] == said
