"""Cancelling what runs: a coroutine, a thread, a call of a URL; and what ends at the very moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from service.store import Store
from tests.faults.acting import (
    Part,
    cancel_task,
    eventually,
    given,
    lines,
    outcome,
    submit,
    until_ended,
    until_state,
)
from tests.servers import HOST
from tests.store.acting import new, rows

Start = Callable[..., Part]


async def test_a_running_coroutine_is_cancelled_at_once(store: Store, start: Start, tmp_path: Path) -> None:
    """Its worker hears of it by a marker, not with its next heartbeat, which is minutes away."""
    await start(lease_ms="600000", heartbeat_ms="200000").ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("sleep", args={"seconds": 600, "path": str(path)}))
    await eventually(lambda: lines(path))
    assert "stopping" == await cancel_task(store, id_)
    [found] = await until_ended(store, id_)
    assert "cancelled" == found.state
    assert ["cancelled"] == [row["outcome"] for row in await rows(store, id_)]


async def test_a_thread_that_looks_is_cancelled(store: Store, start: Start, tmp_path: Path) -> None:
    """By `ctx.is_cancelled`; until it returns, the task reads as cancelling."""
    await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("thread_polite", args={"path": str(path)}, lane="thread"))
    await eventually(lambda: lines(path))
    await cancel_task(store, id_)
    [found] = await until_ended(store, id_)
    assert "cancelled" == found.state
    assert lines(path, "stopped")


async def test_a_thread_that_does_not_look_keeps_its_own_end(store: Store, start: Start, tmp_path: Path) -> None:
    """It finishes without having noticed, so its work counts."""
    await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("thread", args={"seconds": 1.5, "path": str(path)}, lane="thread"))
    await eventually(lambda: lines(path))
    await cancel_task(store, id_)
    await until_state(store, id_, "cancelling")
    [found] = await until_ended(store, id_)
    assert ("succeeded", "slept") == outcome(found)


async def test_a_call_of_a_url_is_broken_off(store: Store, start: Start) -> None:
    """The connection is closed: the endpoint can see that nobody waits."""
    called, closed = asyncio.Event(), asyncio.Event()

    async def answer_never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        while await reader.read(65536):
            pass
        closed.set()
        writer.close()

    endpoint = await asyncio.start_server(answer_never, HOST, 0)
    port = endpoint.sockets[0].getsockname()[1]
    await start().ready()
    async with endpoint, asyncio.timeout(60):
        [id_] = await submit(store, new({"url": f"http://{HOST}:{port}/"}, lane="url"))
        await called.wait()
        await cancel_task(store, id_)
        await closed.wait()
        [found] = await until_ended(store, id_)
    assert "cancelled" == found.state


async def test_a_task_that_ends_as_it_is_cancelled_ends_once(store: Store, start: Start) -> None:
    """Succeeded or cancelled, whichever came first; and then it stands."""
    await start(processes="2").ready()
    ends = set()
    for _ in range(15):
        ids = await submit(store, *[given("sleep", args={"seconds": random.random() / 50}) for _ in range(20)])
        await asyncio.gather(*(cancel_task(store, id_) for id_ in random.sample(ids, len(ids))))
        found = await until_ended(store, *ids)
        ends |= {one.state for one in found}
        before = [await store.tasks.raw(id_) for id_ in ids]
        assert {"over"} == set(await asyncio.gather(*(cancel_task(store, id_) for id_ in ids)))
        assert before == [await store.tasks.raw(id_) for id_ in ids]
    assert ends <= {"succeeded", "cancelled"}


async def test_a_task_that_waits_for_its_retry_is_cancelled_at_once(store: Store, start: Start) -> None:
    """It does not run; nobody needs to be asked."""
    await start().ready()
    [id_] = await submit(store, given("retry_after", args={"seconds": 600}))
    await until_state(store, id_, "scheduled")
    assert "ended" == await cancel_task(store, id_)
    [found] = await until_ended(store, id_)
    assert ("cancelled", 1) == (found.state, (found.record.outcome or {})["attempt"])


async def test_a_task_that_fails_while_it_is_cancelled_does_not_run_again(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """Its thread fails without having looked: no retry follows, it ends as cancelled."""
    await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("thread_fails", args={"seconds": 1.5, "path": str(path)}, lane="thread"))
    await eventually(lambda: lines(path))
    await cancel_task(store, id_)
    [found] = await until_ended(store, id_)
    assert "cancelled" == found.state
    assert 1 == len(lines(path))
