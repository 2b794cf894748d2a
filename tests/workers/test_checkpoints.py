"""Checkpoints as handlers keep them: in every pool, in eager mode, and on their way to the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from service.errors import StoreUnavailable, TaskpostError
from service.task import Leased
from workers import Context, Registry, Retry, SoftTimeLimitExceeded
from workers.checkpoints import CheckpointKeeper
from workers.eager import eager
from workers.outcome import LOST, Cancelled, Failed, Succeeded
from workers.pools.loop import LoopPool
from workers.pools.thread import ThreadPool

LONG = 60.0
MANY_BYTES = 1 << 20


@dataclass
class Place:
    row: int
    share: Decimal


class Keeping:
    """Who keeps checkpoints: on the loop, when it is let, or refuses."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.asked = asyncio.Event()
        self.waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self.is_open = True

    def __call__(self, json: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((json, future))
        self.asked.set()
        if self.is_open:
            self.go_on()
        return future

    def go_on(self) -> None:
        waiting, self.waiting = self.waiting, []
        for json, future in waiting:
            self.kept.append(orjson.loads(json))
            future.set_result(None)

    def lose(self, ctx: Context) -> None:
        """The lease is lost, as the lease loop has it."""
        ctx.stop(Cancelled(LOST))
        for _, future in self.waiting:
            future.cancel(LOST)


# ---------------------------------------------------------------- what may be kept


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), ({"row": 17}, {"row": 17}), (Place(3, Decimal("0.5")), {"row": 3, "share": "0.5"}), ({5}, [5])],
)
def test_a_checkpoint_reads_as_json_has_it(value: Any, expected: Any) -> None:
    """Without a worker, as in a test of a handler, it is kept in the context; a later change of the value is not."""
    ctx = Context(id="1")
    assert ctx.last_checkpoint is None
    ctx.checkpoint(value)
    assert expected == ctx.last_checkpoint
    assert expected == Context(id="1", last_checkpoint=value).last_checkpoint


def test_what_is_no_json_or_too_large_is_refused_and_says_so() -> None:
    """The last one that was kept stands."""
    ctx = Context(id="1", last_checkpoint="before")
    with pytest.raises(TypeError, match=r"the checkpoint, dict, cannot be kept as JSON \(object has no form in JSON\)"):
        ctx.checkpoint({"row": object()})
    with pytest.raises(ValueError, match=r"takes 262,147 bytes as JSON, and 262,144 are allowed: store what is large"):
        ctx.checkpoint("x" * 262_145)
    assert "before" == ctx.last_checkpoint
    ctx.checkpoint("x" * 262_142)


# ---------------------------------------------------------------- on the loop


async def run_on_loop(function: Callable[..., Any], ctx: Context, **limits: float) -> Any:
    pool = LoopPool(max_result_bytes=MANY_BYTES, grace_seconds=0.05)
    return await pool.call(Registry().task("demo")(function), {}, ctx, limits.pop("timeout", LONG), **limits)


async def test_a_coroutine_goes_on_when_its_checkpoint_is_kept() -> None:
    """Not before; another one beside it runs meanwhile."""
    keeping = Keeping()
    keeping.is_open = False
    ctx = Context(id="1", last_checkpoint=1, keep_checkpoint=keeping)

    async def handler(ctx: Context) -> Any:
        before = ctx.last_checkpoint
        await ctx.checkpoint(2)
        return [before, ctx.last_checkpoint]

    running = asyncio.create_task(run_on_loop(handler, ctx))
    await asyncio.wait_for(keeping.asked.wait(), LONG)
    assert (1, False) == (ctx.last_checkpoint, running.done())
    keeping.go_on()
    assert Succeeded(b"[1,2]") == await running
    assert [2] == keeping.kept


async def test_a_coroutine_whose_lease_is_lost_is_stopped() -> None:
    """It learns it where it waits, as from a heartbeat; also where it waits in a task of its own."""

    async def handler(ctx: Context) -> None:
        await ctx.checkpoint(1)

    async def in_a_group(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(handler(ctx))

    for function in (handler, in_a_group):
        keeping = Keeping()
        keeping.is_open = False
        ctx = Context(id="1", keep_checkpoint=keeping)
        running = asyncio.create_task(run_on_loop(function, ctx))
        await asyncio.wait_for(keeping.asked.wait(), LONG)
        keeping.lose(ctx)
        assert Cancelled(LOST) == await running
        assert ctx.last_checkpoint is None


async def test_a_cancelled_coroutine_may_keep_a_checkpoint_while_it_cleans_up() -> None:
    """A deploy interrupts it: what it does in `finally` is kept before the task is handed back."""
    keeping = Keeping()
    ctx = Context(id="1", keep_checkpoint=keeping)
    started = asyncio.Event()

    async def handler(ctx: Context) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await ctx.checkpoint("here")

    running = asyncio.create_task(run_on_loop(handler, ctx))
    await started.wait()
    ctx.stop(Cancelled("the worker is stopping"))
    assert Cancelled("the worker is stopping") == await running
    assert ["here"] == keeping.kept


# ---------------------------------------------------------------- on threads


async def run_on_thread(function: Callable[..., Any], ctx: Context, soft_timeout: float | None = None) -> Any:
    pool = ThreadPool(1, max_result_bytes=MANY_BYTES)
    try:
        return await pool.call(Registry().task("demo", pool="thread")(function), {}, ctx, LONG, soft_timeout)
    finally:
        pool.close()


async def test_a_thread_stands_still_until_its_checkpoint_is_kept() -> None:
    """No await."""
    keeping = Keeping()
    keeping.is_open = False
    ctx = Context(id="1", last_checkpoint=1, keep_checkpoint=keeping)

    def handler(ctx: Context) -> Any:
        before = ctx.last_checkpoint
        ctx.checkpoint(2)
        return [before, ctx.last_checkpoint, threading.current_thread() is threading.main_thread()]

    running = asyncio.create_task(run_on_thread(handler, ctx))
    await asyncio.wait_for(keeping.asked.wait(), LONG)
    assert not running.done()
    keeping.go_on()
    assert Succeeded(b"[1,2,false]") == await running


async def test_a_thread_whose_lease_is_lost_is_told_by_its_checkpoint() -> None:
    """It cannot be interrupted; here it is."""
    keeping = Keeping()
    keeping.is_open = False
    ctx = Context(id="1", keep_checkpoint=keeping)
    went_on = []

    def handler(ctx: Context) -> None:
        ctx.checkpoint(1)
        went_on.append(1)

    running = asyncio.create_task(run_on_thread(handler, ctx))
    await asyncio.wait_for(keeping.asked.wait(), LONG)
    keeping.lose(ctx)
    assert Cancelled(LOST) == await running
    assert [] == went_on


async def test_a_thread_hears_of_its_soft_limit_once_its_checkpoint_is_kept() -> None:
    """What it has done is not forgotten for that."""
    keeping = Keeping()
    ctx = Context(id="1", keep_checkpoint=keeping)
    ctx.pass_soft_limit()

    def handler(ctx: Context) -> str:
        try:
            ctx.checkpoint("done")
        except SoftTimeLimitExceeded:
            ctx.checkpoint("tidied up")
            return "finished up"
        return "not told"

    assert Succeeded(b'"finished up"') == await run_on_thread(handler, ctx)
    assert ["done", "tidied up"] == keeping.kept


# ---------------------------------------------------------------- in child processes


async def test_a_child_process_stands_still_until_its_checkpoint_is_kept(hire: Any) -> None:
    """It starts from what it was handed, and its threads may keep checkpoints, too."""
    keeping = Keeping()
    ctx = Context(id="0" * 26, last_checkpoint={"row": 1}, keep_checkpoint=keeping)
    outcome = await hire(1).call("child.checkpoints", ctx=ctx, rows=4)
    assert Succeeded(b'[1,4,["t0","t1","t2"]]') == outcome
    assert [{"row": row} for row in (2, 3, 4)] == keeping.kept[:3]
    assert ["t0", "t1", "t2"] == sorted(keeping.kept[3:])


async def test_a_child_process_waits_as_long_as_it_takes(hire: Any) -> None:
    """The store is away; then it is back."""
    keeping = Keeping()
    keeping.is_open = False
    ctx = Context(id="0" * 26, keep_checkpoint=keeping)
    call = hire(1).start("child.checkpoints", ctx=ctx, rows=1, threads=0)
    await asyncio.wait_for(keeping.asked.wait(), LONG)
    assert not call.done()
    keeping.is_open = True
    keeping.go_on()
    assert Succeeded(b"[0,1,[]]") == await call


@pytest.mark.parametrize("threads", [0, 1])
async def test_a_child_process_whose_lease_is_lost_is_interrupted_and_takes_the_next_call(
    hire: Any, threads: int
) -> None:
    """Where it waits for its checkpoint, on its main thread or beside it."""
    keeping = Keeping()
    keeping.is_open = False
    ctx = Context(id="0" * 26, keep_checkpoint=keeping)
    crew = hire(1, grace_seconds=LONG)
    call = crew.start("child.checkpoints", ctx=ctx, rows=1 - threads, threads=threads)
    await asyncio.wait_for(keeping.asked.wait(), LONG)
    [pid] = crew.pool.pids
    keeping.lose(ctx)
    assert Cancelled(LOST) == await call
    assert Succeeded(str(pid).encode()) == await crew.call("child.pid")


async def test_a_child_process_that_waits_for_its_checkpoint_keeps_its_limits(hire: Any) -> None:
    """The soft limit interrupts the wait, and an answer that comes too late is not taken for the next one's."""
    keeping = Keeping()
    keeping.is_open = False
    ctx = Context(id="0" * 26, keep_checkpoint=keeping)
    call = hire(1).start("child.checkpoint_or_soft", ctx=ctx, soft=0.2)
    await asyncio.wait_for(keeping.asked.wait(), LONG)
    keeping.asked.clear()
    await asyncio.wait_for(keeping.asked.wait(), LONG)
    assert [b'"first"', b'"second"'] == [json for json, _ in keeping.waiting]
    first, second = keeping.waiting
    first[1].set_result(None)
    await asyncio.sleep(0)
    assert not call.done()
    second[1].set_result(None)
    assert Succeeded(b'"second"') == await call


async def test_a_child_process_is_told_what_is_wrong_with_its_checkpoint(hire: Any) -> None:
    """The same errors as everywhere; one that the store refuses fails the attempt, and the executor goes on."""

    def refuse(_json: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(TaskpostError("Redis refused a command"))
        return future

    crew = hire(1)
    outcome = await crew.call("child.checkpoints", ctx=Context(id="0" * 26, keep_checkpoint=refuse), rows=1)
    assert isinstance(outcome, Failed)
    assert ("TaskpostError", "Redis refused a command") == (outcome.error["type"], outcome.error["message"])
    outcome = await crew.call("child.checkpoint_wrong")
    assert isinstance(outcome, Failed)
    assert "TypeError" == outcome.error["type"]


# ---------------------------------------------------------------- eager


async def test_an_eager_task_goes_on_from_its_checkpoint() -> None:
    """Attempt after attempt, in every lane; a next task starts without one."""
    registry = Registry()

    @registry.task("on-loop", retries=9)
    async def on_loop(ctx: Context) -> list[int]:
        seen = ctx.last_checkpoint or []
        await ctx.checkpoint([*seen, ctx.attempt])
        if ctx.attempt < 3:
            raise Retry("again")
        return seen

    @registry.task("in-process", retries=9)
    def in_process(ctx: Context) -> list[int]:
        seen: list[int] = ctx.last_checkpoint or []
        ctx.checkpoint([*seen, ctx.attempt])
        if ctx.attempt < 3:
            raise Retry("again")
        return seen

    with eager():
        for handler in (on_loop, in_process, on_loop):
            assert [1, 2] == await (await handler.submit()).get()
        assert [1, 2] == await asyncio.to_thread(lambda: in_process.submit_sync().get())


# ---------------------------------------------------------------- on the way to the store


class Tasks:
    """Stands in for the store: notes calls, and answers when it is let."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.numbers: list[int] = []
        self.away = 0
        self.lost: set[bytes] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    def closed(self, _task: Leased, _field: bytes, json: bytes) -> bytes:
        return json

    async def note_checkpoints(self, _shard: int, notes: Sequence[tuple[bytes, bytes, int, bytes]]) -> bytes:
        self.calls.append([json for _, _, _, json in notes])
        self.numbers += [number for _, _, number, _ in notes]
        await self.gate.wait()
        if self.away:
            self.away -= 1
            raise StoreUnavailable("Redis did not answer.")
        return b"".join(b"0" if id_ in self.lost else b"1" for id_, _, _, _ in notes)


def leased(name: int, number: int = 0) -> Leased:
    id_ = name.to_bytes(16, "big")
    return Leased(id_, b"t" * 12, b"", {}, "q", "default", 5, "async", 1, 0, 0, checkpoint_number=number)


@pytest.fixture
def keeper() -> tuple[CheckpointKeeper, Tasks, list[Leased]]:
    tasks, lost = Tasks(), []  # type: ignore[var-annotated]
    return CheckpointKeeper(tasks, 0, lost.append), tasks, lost  # type: ignore[arg-type]


async def test_checkpoints_that_come_while_a_call_is_under_way_share_the_next(keeper: Any) -> None:
    """The first goes out at once; numbers count on from the task's last."""
    keep, tasks, _ = keeper
    tasks.gate.clear()
    first = keep.of(SimpleNamespace(task=leased(1, 7)))
    others = [first, *[partial(keep.keep, leased(n)) for n in range(2, 5)]]
    waiting = [first(b"0")]
    await asyncio.sleep(0)
    waiting += [other(b"%d" % n) for n, other in enumerate(others, 1)]
    tasks.gate.set()
    await asyncio.wait_for(asyncio.gather(*waiting), LONG)
    assert [[b"0"], [b"1", b"2", b"3", b"4"]] == tasks.calls
    assert [8, 9, 1, 1, 1] == tasks.numbers
    assert keep.sender is None


async def test_large_checkpoints_go_out_a_few_a_call(keeper: Any) -> None:
    """A call stays under a megabyte."""
    keep, tasks, _ = keeper
    await asyncio.wait_for(asyncio.gather(*[keep.keep(leased(n), b"x" * 262_144) for n in range(9)]), LONG)
    assert [4, 4, 1] == [len(call) for call in tasks.calls]


async def test_a_checkpoint_is_sent_again_until_it_is_answered(keeper: Any) -> None:
    """Under the same number, so that one which did arrive is not counted twice."""
    keep, tasks, lost = keeper
    tasks.away = 2
    await asyncio.wait_for(keep.keep(leased(1), b"1"), LONG)
    assert ([[b"1"]] * 3, [1, 1, 1], []) == (tasks.calls, tasks.numbers, lost)


async def test_a_lost_lease_is_told_and_those_beside_it_go_on(keeper: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The attempt is named to the lease loop, which stops it."""
    keep, tasks, lost = keeper
    gone = leased(1)
    tasks.lost = {gone.id}
    one, other = keep.keep(gone, b"1"), keep.keep(leased(2), b"2")
    await asyncio.wait_for(other, LONG)
    assert one.cancelled()
    assert [gone] == lost
    assert 1 == caplog.text.count("its lease was lost, so its checkpoint is dropped")
    keep.keep(gone, b"1").cancel()
    await asyncio.wait_for(keep.keep(leased(2), b"2"), LONG)
    assert 1 == caplog.text.count("its lease was lost"), "nobody waited for it any more"


async def test_a_refusal_of_the_store_goes_to_the_handler(keeper: Any) -> None:
    """Waiting longer would not help; the next one goes out all the same."""
    keep, tasks, _ = keeper

    async def refuse(*_: Any) -> bytes:
        tasks.note_checkpoints = Tasks.note_checkpoints.__get__(tasks)
        raise TaskpostError("Redis refused a command")

    tasks.note_checkpoints = refuse
    with pytest.raises(TaskpostError):
        await asyncio.wait_for(keep.keep(leased(1), b"1"), LONG)
    await asyncio.wait_for(keep.keep(leased(1), b"1"), LONG)
