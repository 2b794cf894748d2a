"""Handlers on threads: the same outcomes, and what a thread cannot do."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from workers import Context, Fail, Registry, SoftTimeLimitExceeded
from workers.outcome import Cancelled, Failed, Outcome, Succeeded
from workers.pools.thread import ThreadPool

LONG = 60.0
SOON = 0.02
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pool():
    pool = ThreadPool(2, max_result_bytes=1000)
    yield pool
    pool.close()


async def run(
    pool: ThreadPool,
    function: Any,
    ctx: Context | None = None,
    timeout: float = LONG,
    soft_timeout: float | None = None,
) -> Outcome:
    handler = Registry().task("demo")(function)
    return await pool.call(handler, {}, ctx or Context(id="1"), timeout, soft_timeout)


async def until(claim: Any) -> None:
    async with asyncio.timeout(LONG):
        while not claim():
            await asyncio.sleep(0.001)


async def test_a_result_comes_from_another_thread(pool):
    """A `def` handler does not run on the event loop's thread."""
    outcome = await run(pool, lambda: threading.current_thread().name.startswith("taskpost-handler"))
    assert Succeeded(b"true") == outcome


@pytest.mark.parametrize("exc", [ValueError("no"), Fail("never"), SystemExit(1), KeyboardInterrupt()])
async def test_whatever_a_handler_raises_is_a_failure(pool, exc):
    """And the thread goes on to the next task."""

    def work():
        raise exc

    for _ in range(4):
        outcome = await run(pool, work)
        assert isinstance(outcome, Failed)
        assert type(exc).__name__ == outcome.error["type"]
        assert "in work" in outcome.error["traceback"]
        assert "pools" not in outcome.error["traceback"]
    assert 2 == pool.free


async def test_the_context_variables_of_the_caller_are_seen(pool):
    """Logging and tracing that live in context variables work on threads too."""
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(5)
    assert Succeeded(b"5") == await run(pool, lambda: variable.get())


async def test_progress_simply_works_in_a_def(pool):
    """No await, and it is heard on the loop."""
    said = []
    ctx = Context(id="1", report_progress=lambda *what: said.append((*what, threading.get_ident())))

    def work():
        ctx.progress(1, 2, "half")

    assert isinstance(await run(pool, work, ctx), Succeeded)
    assert [(1, 2, "half", threading.get_ident())] == said


async def test_no_more_than_its_size_run_at_once(pool):
    """A third call waits for a free thread; the pool says how many are free."""
    go = threading.Event()
    running = threading.Barrier(2)

    def work():
        running.wait(LONG)
        go.wait(LONG)

    calls = [asyncio.create_task(run(pool, work)) for _ in range(2)]
    third = asyncio.create_task(run(pool, lambda: "third"))
    await until(lambda: pool.busy == 3)
    assert 0 == pool.free
    assert not third.done()
    go.set()
    await asyncio.gather(*calls)
    assert Succeeded(b'"third"') == await third
    assert 2 == pool.free


async def test_a_pool_of_another_size_has_as_many_threads(pool):
    """A call that waits starts at once when there is room; threads too many end when they are idle."""
    go = threading.Event()
    others = set(threading.enumerate())  # some may be of a pool before, and just ending

    def threads() -> int:
        return len(set(threading.enumerate()) - others)

    calls = [asyncio.create_task(run(pool, lambda: go.wait(LONG))) for _ in range(4)]
    await until(lambda: pool.busy == 4)
    assert 2 == threads()
    pool.resize(5)
    assert (4, 1) == (threads(), pool.free)
    pool.resize(1)
    go.set()
    await asyncio.gather(*calls)
    await until(lambda: threads() == 1)
    assert Succeeded(b'"after"') == await run(pool, lambda: "after")
    pool.resize(3)
    assert Succeeded(b'"more"') == await run(pool, lambda: "more")
    assert 3 == pool.free


async def test_the_hard_limit_fails_the_attempt_and_the_thread_keeps_its_place(pool):
    """The error says where the thread is; its place is free again when the handler has returned."""
    go = threading.Event()

    def work():
        go.wait(LONG)

    outcome = await run(pool, work, timeout=SOON)
    assert isinstance(outcome, Failed)
    assert ("TimeLimitExceeded", True) == (outcome.error["type"], outcome.retry)
    assert "its thread runs on" in outcome.error["message"]
    told = outcome.error["traceback"].splitlines()
    assert told[1].endswith("in work"), "its own line comes first, not how a thread begins"
    assert 1 == pool.free
    go.set()
    await until(lambda: pool.free == 2)


async def test_a_call_that_finds_no_thread_in_time_never_runs(pool):
    """A handler does not start after its attempt was given up."""
    go = threading.Event()
    ran = []
    busy = [asyncio.create_task(run(pool, lambda: go.wait(LONG))) for _ in range(2)]
    await asyncio.sleep(0)
    outcome = await run(pool, lambda: ran.append(1), timeout=SOON)
    assert isinstance(outcome, Failed)
    assert "no thread was free for it" in outcome.error["message"]
    go.set()
    await asyncio.gather(*busy)
    await until(lambda: pool.free == 2)
    assert [] == ran


async def test_a_cancelled_handler_sees_it_and_returns(pool):
    """ctx.is_cancelled turns true; the attempt then ends as cancelled."""
    ctx = Context(id="1")
    started = threading.Event()

    def work():
        started.set()
        while not ctx.is_cancelled:
            pass

    call = asyncio.create_task(run(pool, work, ctx))
    await until(started.is_set)
    ctx.stop(Cancelled("asked"))
    assert Cancelled("asked") == await call


async def test_a_cancelled_handler_that_never_looks_keeps_its_own_result(pool):
    """A thread cannot be stopped, so what it did stands."""
    ctx = Context(id="1")
    go = threading.Event()

    def work():
        go.wait(LONG)
        return "done"

    call = asyncio.create_task(run(pool, work, ctx))
    await until(lambda: pool.busy == 1)
    ctx.stop(Cancelled("asked"))
    go.set()
    assert Succeeded(b'"done"') == await call


async def test_the_soft_limit_is_told_by_the_next_progress(pool):
    """Once, and the handler may finish up."""
    ctx = Context(id="1")

    def work():
        try:
            while True:
                ctx.progress(1)
        except SoftTimeLimitExceeded:
            ctx.progress(2)
            return "half of it"

    assert Succeeded(b'"half of it"') == await run(pool, work, ctx, soft_timeout=SOON)


async def test_the_callers_own_cancel_goes_through(pool):
    """The handler sees that nobody waits for it any more."""
    ctx = Context(id="1")
    started = threading.Event()
    ended = threading.Event()

    def work():
        started.set()
        while not ctx.is_cancelled:
            pass
        ended.set()

    call = asyncio.create_task(run(pool, work, ctx))
    await until(started.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(ended.is_set)


def test_a_thread_that_never_returns_does_not_hold_the_process():
    """A worker ends although a handler hangs."""
    script = (
        "import asyncio, threading\n"
        "from workers import Context, Registry\n"
        "from workers.pools.thread import ThreadPool\n"
        "handler = Registry().task('hangs')(lambda: threading.Event().wait())\n"
        "pool = ThreadPool(1, max_result_bytes=10)\n"
        "print(asyncio.run(pool.call(handler, {}, Context(id='1'), 0.01)).error['type'])\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=LONG)
    assert ("TimeLimitExceeded\n", 0) == (answer.stdout, answer.returncode), answer.stderr
