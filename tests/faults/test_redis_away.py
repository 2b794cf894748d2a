"""Redis killed, paused, emptied, full, while a worker runs tasks: results are kept, and nothing needs a restart."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import StoreFull
from service.ids import shard_of
from service.store import Store
from service.task import SHARED
from tests.faults.acting import (
    Part,
    cancel_task,
    eventually,
    given,
    lines,
    outcome,
    snapshot,
    state,
    submit,
    until_confirmed,
    until_ended,
    until_state,
)
from tests.servers import Server

Start = Callable[..., Part]
LONG = {"lease_ms": "60000", "heartbeat_ms": "1000"}


@pytest.fixture
def redis_server(start_server: Callable[..., Server]) -> Server:
    """A server of the test's own, with everything on disk."""
    return start_server("valkey", appendonly="yes")


async def test_results_are_kept_until_redis_is_back(
    store: Store, start: Start, redis_server: Server, tmp_path: Path
) -> None:
    """Tasks that finish while Redis is away are not run again: their results are recorded when it is back."""
    worker = await start(**LONG).ready()
    go, path = tmp_path / "go", tmp_path / "ran"
    ids = await submit(store, *[given("until", args={"go": str(go), "path": str(path)}) for _ in range(20)])
    await eventually(lambda: len(lines(path)) == 20)
    redis_server.kill()
    go.touch()
    await eventually(lambda: len(lines(path, "done")) == 20)
    await eventually(lambda: "Trying again" in worker.text)
    redis_server.restart()
    assert {("succeeded", "gone")} == {outcome(one) for one in await until_ended(store, *ids)}
    assert 20 == len(lines(path))
    [next_] = await submit(store, given("add", args={"a": 1, "b": 2}))
    assert [("succeeded", 3)] == [outcome(one) for one in await until_ended(store, next_)]


async def test_a_healthy_process_is_not_killed_for_results_it_cannot_report(
    store: Store, start: Start, redis_server: Server, tmp_path: Path
) -> None:
    """The time limit has passed when Redis is back; but the task had finished long before it."""
    worker = await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("sleep", args={"seconds": 0.2, "path": str(path)}, timeout_seconds=0.5))
    await eventually(lambda: lines(path))
    redis_server.kill()
    children = worker.children()
    await eventually(lambda: worker.text.count("Trying again") >= 4)
    redis_server.restart()
    assert [("succeeded", "slept")] == [outcome(one) for one in await until_ended(store, id_)]
    assert children == worker.children()
    assert 1 == len(lines(path))


async def test_a_pause_of_redis_costs_nothing(store: Store, start: Start, redis_server: Server, tmp_path: Path) -> None:
    """It hangs: connections stay open and nothing answers, until after heartbeats and reports have given up."""
    worker = await start(**LONG).ready()
    go, path = tmp_path / "go", tmp_path / "ran"
    one, two = await submit(
        store,
        given("until", args={"go": str(go), "path": str(path)}),
        given("sleep", args={"seconds": 600, "path": str(path)}),
    )
    await eventually(lambda: len(lines(path)) == 2)
    redis_server.pause()
    go.touch()
    await eventually(lambda: "Trying again" in worker.text and "heartbeat failed" in worker.text)
    redis_server.resume()
    assert [("succeeded", "gone")] == [outcome(one) for one in await until_ended(store, one)]
    assert "running" == await state(store, two)
    assert 2 == len(lines(path))


async def test_redis_that_is_back_after_the_lease_gives_workers_time(
    store: Store, start: Start, redis_server: Server, tmp_path: Path
) -> None:
    """No worker could send heartbeats; so nothing is taken from any of them at once."""
    worker = await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("sleep", args={"seconds": 600, "path": str(path)}))
    await until_confirmed(store, id_)
    redis_server.kill()
    await eventually(lambda: worker.text.count("heartbeat failed") >= 3)
    redis_server.restart()
    [next_] = await submit(store, given("add", args={"a": 1, "b": 2}))
    await until_ended(store, next_)
    assert "running" == await state(store, id_)
    assert 1 == len(lines(path))


async def test_a_cancel_that_was_asked_for_before_a_crash_of_redis_is_heeded(
    store: Store, start: Start, redis_server: Server, tmp_path: Path
) -> None:
    """The worker hears of it with the first heartbeat when Redis is back."""
    worker = await start(**LONG).ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("sleep", args={"seconds": 600, "path": str(path)}))
    await eventually(lambda: lines(path))
    worker.signal_all(signal.SIGSTOP)
    assert "stopping" == await cancel_task(store, id_)
    redis_server.kill()
    redis_server.restart()
    worker.signal_all(signal.SIGCONT)
    [found] = await until_ended(store, id_)
    assert "cancelled" == found.state


async def test_forgotten_scripts_are_loaded_again(store: Store, start: Start, redis_server: Server) -> None:
    """SCRIPT FLUSH, or a server replaced by its replica, needs no restart of ours."""
    await start().ready()
    await start("scheduler").ready()
    for _ in range(3):
        redis_server.admin.script_flush()
        [id_] = await submit(store, given("add", args={"a": 1, "b": 2}))
        assert [("succeeded", 3)] == [outcome(one) for one in await until_ended(store, id_)]


async def test_an_emptied_redis_needs_no_restart(
    store: Store, start: Start, redis_server: Server, tmp_path: Path
) -> None:
    """FLUSHALL takes the tasks; the worker drops what it ran, publishes its handlers anew, and takes new tasks."""
    worker = await start().ready()
    path = tmp_path / "ran"
    await submit(store, given("sleep", args={"seconds": 600, "path": str(path)}))
    await eventually(lambda: lines(path))
    redis_server.admin.flushall()
    await eventually(lambda: "its lease was lost" in worker.text)
    [id_] = await submit(store, given("add", args={"a": 1, "b": 2}))
    assert [("succeeded", 3)] == [outcome(one) for one in await until_ended(store, id_)]

    async def are_published() -> bool:
        return (SHARED, "faults.add") in await store.workers.published()

    await eventually(are_published)
    [other] = await submit(store, given("elsewhere", queue="elsewhere"))
    assert [("succeeded", "here")] == [outcome(one) for one in await until_ended(store, other)]


async def test_running_work_finishes_when_redis_is_full(
    store: Store, start: Start, redis_server: Server, tmp_path: Path
) -> None:
    """Submissions are refused; what runs ends, what waits runs, and what it frees lets submissions in again."""
    go = tmp_path / "go"
    used = int(redis_server.admin.info("memory")["used_memory"])
    redis_server.admin.config_set("maxmemory", used + (8 << 20))
    ids = await submit(store, given("until", args={"go": str(go)}))

    async def is_full() -> bool:
        try:
            ids.extend(await submit(store, *[given("large", args={"size": 100}, metadata={"x": "y" * 50_000})] * 4))
        except StoreFull:
            return True
        return False

    await eventually(is_full)
    await start().ready()
    await until_state(store, ids[0], "running")
    go.touch()
    assert {"succeeded"} == {one.state for one in await until_ended(store, *ids)}


async def test_a_worker_started_before_redis_begins_when_it_is_there(start: Start, redis_server: Server) -> None:
    """In any order; the log says what it waits for."""
    redis_server.stop()
    worker = start()
    await eventually(lambda: "trying again" in worker.text)
    redis_server.restart()
    await worker.ready()
    assert 0 == await worker.stop()


async def test_a_task_may_come_back_to_the_process_that_still_runs_it(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """Redis lost the lease and gave the task away anew: the old attempt is stopped, the new one counts."""
    worker = await start().ready()
    go, path = tmp_path / "go", tmp_path / "ran"
    children = worker.children()
    [id_] = await submit(store, given("until", args={"go": str(go), "path": str(path)}))
    await eventually(lambda: len(lines(path)) == 1)
    run = (await snapshot(store, id_)).run
    assert run is not None
    await store.tasks.reap(shard_of(id_), [(id_, run.token)], together=-1)
    await eventually(lambda: len(lines(path)) == 2 and "its lease was lost" in worker.text)
    go.touch()
    assert [("succeeded", "gone")] == [outcome(one) for one in await until_ended(store, id_)]
    assert 1 == len(lines(path, "done"))
    assert children == worker.children()
    assert 0 == await worker.stop()
