"""Eager mode: what is submitted runs at once, in this process, as a worker would run it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from service.client import StateConflict, TaskFailed
from service.errors import InvalidArguments
from workers import CallNext, Context, Defer, Depends, Fail, Outcome, Registry, Retry
from workers.eager import eager
from workers.testing import recorded

registry = Registry()
seen: list[Any] = []


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    seen.clear()
    with eager():
        yield


@registry.lifespan
async def resource() -> AsyncIterator[str]:
    yield "resource"


@registry.middleware
async def noting(ctx: Context, call_next: CallNext) -> Outcome:
    seen.append(("before", ctx.attempt))
    return await call_next()


def note(ctx: Context, outcome: Any) -> None:
    seen.append((type(outcome).__name__, ctx.attempt))


@registry.task("flaky", retries=5, backoff={"base_seconds": 3600}, on_retry=note, on_success=note, on_failure=note)
async def flaky(ctx: Context, until: int, held: str = Depends(resource)) -> str:
    if ctx.attempt < until:
        raise Retry("again", after=86_400 if until > 50 else None)
    return held


@registry.task("plain", pool="thread")
def plain(ctx: Context, number: int) -> int:
    return number if threading.current_thread() is threading.main_thread() else -number


@registry.task("deferred", pool="process")
def deferred(ctx: Context) -> int:
    seen.append(ctx.attempt)
    if len(seen) < 6:
        raise Defer(after=3600)
    return ctx.attempt


@registry.task("for ever".replace(" ", "-"), pool="thread")
def for_ever() -> None:
    raise Defer(after=0)


@registry.task("whole")
async def whole(ctx: Context, numbers: list[int]) -> int:
    handles = await plain.submit_many([(one,) for one in numbers])
    part = await ctx.submit(plain, 100)
    assert part.task.parent == ctx.id
    return sum([abs(await one.get()) for one in handles]) + abs(await part.get())


@registry.task("slow", timeout=0.05, retries=0)
async def slow() -> None:
    await asyncio.Event().wait()


def test_retries_take_no_time_and_hooks_and_middleware_are_called() -> None:
    """An hour of backoff three times over is nothing to wait for in a test."""
    handle = flaky.submit_sync(4)
    assert ("succeeded", "resource", 4) == (handle.state, handle.result, handle.task.attempt)
    befores = [("before", attempt) for attempt in range(1, 5)]
    events = [("Failed", 1), ("Failed", 2), ("Failed", 3), ("Succeeded", 4)]
    assert [
        one for pair in zip(befores, events, strict=True) for one in pair if one[0] != "before" or one[1] != 1
    ] == seen[1:]


async def test_a_task_that_uses_up_its_retries_or_its_time_has_failed() -> None:
    """The time that passes only on the clock of the task counts for retry_for too."""
    handle = await flaky.submit(50)
    assert ("failed", 6) == (handle.state, handle.task.attempt)
    assert handle.error is not None
    assert "Retry" == handle.error.type
    with pytest.raises(TaskFailed, match="Retry: again"):
        await handle.get()
    hasty = await flaky.options(retries=1000, retry_for=86_400 * 3.5).submit(100)
    assert ("failed", 4) == (hasty.state, hasty.task.attempt)


def test_a_plain_handler_runs_in_the_thread_that_submits_it() -> None:
    """So it sees the transaction and the connection of the test."""
    assert 5 == plain.submit_sync(5).get()


async def test_a_loop_goes_on_while_a_plain_handler_runs() -> None:
    """Awaited from a loop, it runs beside it; also when a synchronous submission is made on the loop."""
    assert -5 == await (await plain.submit(5)).get()
    assert "resource" == flaky.submit_sync(1).get()


async def test_parts_run_inside_their_whole() -> None:
    """ctx.submit is eager too, and links the part to the whole."""
    assert 106 == await (await whole.submit([1, 2, 3])).get()


def test_deferring_spends_no_attempt_and_has_an_end() -> None:
    """A handler that defers itself without end is told so instead of hanging the test."""
    assert 1 == deferred.submit_sync().get()
    with pytest.raises(RuntimeError, match="has not ended"):
        for_ever.submit_sync()


def test_limits_hold_where_they_can() -> None:
    """A coroutine is stopped at its time limit."""
    handle = slow.submit_sync()
    assert handle.error is not None
    assert "TimeLimitExceeded" == handle.error.type


def test_wrong_arguments_are_refused_as_always() -> None:
    """Eager mode hides no fault of the caller."""
    with pytest.raises(InvalidArguments):
        plain.submit_sync("five")  # type: ignore[arg-type]


def test_log_lines_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """There is no attempt to keep them with; a test sees them by `caplog`."""

    @registry.task("speaking", pool="process")
    def speaking(ctx: Context) -> None:
        ctx.log.info("row %d", 1)

    with caplog.at_level("INFO"):
        handle = speaking.submit_sync()
    assert [f"[{handle.id} speaking #1] row 1"] == [record.getMessage() for record in caplog.records]


def test_an_ended_task_cannot_be_cancelled() -> None:
    """As with the API."""
    with pytest.raises(StateConflict):
        plain.submit_sync(5).cancel()


def test_failing_for_good_is_not_retried() -> None:
    """`Fail` ends the task in its first attempt."""

    @registry.task("fail", pool="thread")
    def fail() -> None:
        raise Fail("no such user")

    handle = fail.submit_sync()
    assert ("failed", 1) == (handle.state, handle.task.attempt)


def test_submissions_are_noted_and_still_run() -> None:
    """A recorder inside eager mode does both."""
    with recorded() as submitted:
        assert 5 == plain.options(queue="mail").submit_sync(5).get()
    assert [("plain", {"number": 5}, {"queue": "mail"})] == [(one.name, one.args, one.options) for one in submitted]


def test_the_environment_can_ask_for_it() -> None:
    """TASKPOST_EAGER=1 needs no line of code."""
    code = "from workers.demo import add; print(add.submit_sync(2, 3).get())"
    env = {**os.environ, "TASKPOST_EAGER": "1"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "5" == ran.stdout.strip()
