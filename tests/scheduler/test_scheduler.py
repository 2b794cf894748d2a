"""The scheduler process, alone: what is due becomes ready, what was lost comes back, what is old goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.store import Store, keys
from service.ties import Ties
from tests.faults.acting import Part, eventually, given, state, submit, until_state
from tests.servers import Server
from tests.store.acting import Worker, new
from tests.store.deployments import Deployment

pytestmark = pytest.mark.both_servers

Start = Callable[..., Part]
many = pytest.mark.parametrize("deployment", [1, 16], indirect=True)


@many
async def test_due_tasks_become_ready_without_a_worker(
    store: Store, start: Start, redis_server: Server, deployment: Deployment
) -> None:
    """In every queue and shard; whoever comes finds them in the order of their times."""
    await start("scheduler", shards=str(deployment.shards)).ready()
    ids = [
        id_
        for n in range(32)
        for id_ in await submit(store, given("add", args={}, queue=f"q{n % 3}", delay_ms=100 + n))
    ]

    async def are_ready() -> bool:
        counts = await store.queues.counts()
        return sum(count["queued"] for count in counts.values()) == 32

    await eventually(are_ready)
    assert {"queued"} == {await state(store, id_) for id_ in ids}
    assert sum(count["scheduled"] for count in (await store.queues.counts()).values()) == 0


async def test_lost_markers_are_raised_again(store: Store, start: Start, redis_server: Server) -> None:
    """A worker that listens for markers alone would hear of it."""
    await submit(store, given("add", args={}))
    marker = keys.wake(0, "default", "a")
    assert redis_server.admin.delete(marker)
    await start("scheduler").ready()
    await eventually(lambda: redis_server.admin.exists(marker))


@many
async def test_tasks_of_a_silent_worker_come_back(store: Store, start: Start, deployment: Deployment) -> None:
    """No worker is left; the scheduler alone gives them back, or ends those that may not run again."""
    again = [id_ for _ in range(20) for id_ in await submit(store, given("add", args={}))]
    over = [id_ for _ in range(20) for id_ in await submit(store, given("add", args={}, max_crashes=0))]
    worker = Worker(store)
    assert 40 == len(await worker.lease_all(lease_ms=1000))
    await start("scheduler", shards=str(deployment.shards)).ready()
    for id_ in again:
        await until_state(store, id_, "queued")
    for id_ in over:
        found = await until_state(store, id_, "failed")
        assert "worker_lost" == (found.record.outcome or {})["error"]["type"]


async def test_old_tasks_leave_their_lists(store: Store, start: Start, redis_server: Server) -> None:
    """And those over the number that is kept, the oldest first."""
    worker = Worker(store)
    ids = await submit(store, *[given("add", args={}) for _ in range(110)])
    await worker.succeed(*await worker.lease_all(room=110))
    await start("scheduler", max_finished="100").ready()
    await eventually(lambda: redis_server.admin.zcard("tp:{0}:done") == 100)
    gone = [id_ for id_ in ids if await state(store, id_) is None]
    assert 10 == len(gone)


async def test_it_ends_in_order_when_asked(store: Store, start: Start) -> None:
    """With status 0, whatever it does at the moment, also when asked again and again."""
    scheduler = await start("scheduler").ready()
    for _ in range(5):
        scheduler.process.terminate()
    assert 0 == await scheduler.ended()
    assert "Traceback" not in scheduler.text


async def test_it_may_start_before_redis(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """It waits, and does its work from the moment when Redis is there; and ends when asked while it waits."""
    server = start_server("valkey", appendonly="yes")
    server.stop()
    scheduler = Part("scheduler", tmp_path / "one.log", server.url, {})
    waiting = Part("scheduler", tmp_path / "two.log", "redis://127.0.0.1:1/0", {})
    try:
        await eventually(lambda: "trying again" in scheduler.text and "trying again" in waiting.text)
        server.restart()
        await scheduler.ready()
        assert [0, 0] == [await scheduler.stop(), await waiting.stop()]
    finally:
        scheduler.close()
        waiting.close()


async def test_it_outlives_an_outage(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Redis is killed and comes back: duties that failed say so, and go on."""
    server = start_server("valkey", appendonly="yes")
    deployment = Deployment(server.url, [server], 1)
    scheduler = Part("scheduler", tmp_path / "scheduler.log", server.url, {})
    store = await deployment.open()
    try:
        await scheduler.ready()
        server.kill()
        await eventually(lambda: "recoverer, shard 0" in scheduler.text)
        server.restart()
        [id_] = await submit(store, given("add", args={}, delay_ms=50))

        async def is_promoted() -> bool:
            return (await store.queues.counts())["default"]["queued"] == 1

        await eventually(is_promoted)
        assert "queued" == await state(store, id_)
        assert "Traceback" not in scheduler.text
        assert 0 == await scheduler.stop()
    finally:
        scheduler.close()
        await store.close()
        deployment.close()


async def test_another_number_of_shards_is_refused(store: Store, start: Start) -> None:
    """With the reason and a status of its own, at once."""
    scheduler = start("scheduler", shards="7")
    assert 2 == await scheduler.ended()
    assert "TASKPOST_SHARDS=7" in scheduler.text
    worker = start(shards="7")
    assert 2 == await worker.ended()
    assert "TASKPOST_SHARDS=7" in worker.text


@pytest.mark.parametrize("deployment", [16], indirect=True)
async def test_limits_of_queues_follow_the_work(
    store: Store, start: Start, redis_server: Server, deployment: Deployment
) -> None:
    """Of two that may run at once, both go where tasks wait, and on to where others wait when they have ended."""
    await store.queue_settings.put("default", "q", "concurrency", 2)
    await start("scheduler", shards="16").ready()
    worker, done = Worker(store), 0

    async def portions() -> list[int | None]:
        gates = [(await store.limits.read(shard)).get("q") for shard in range(store.shards)]
        return [gate and gate.concurrency for gate in gates]

    async def are_limited() -> bool:
        return None not in await portions()

    async def all_ran() -> bool:
        nonlocal done
        leased = await worker.lease(queue="q")
        assert len(leased) <= 2
        await worker.succeed(*leased)
        done += len(leased)
        return done == 8

    await eventually(are_limited)
    for shard in (3, 9):
        await store.tasks.submit_call(shard, [new(queue="q") for _ in range(4)])
    await eventually(all_ran)
    assert 2 >= sum(one or 0 for one in await portions())


@many
async def test_tasks_expire_without_a_worker(store: Store, start: Start, deployment: Deployment) -> None:
    """The scheduler alone ends them; those with more time wait on."""
    await start("scheduler", shards=str(deployment.shards)).ready()
    late = [await submit(store, given("add", args={}, ties=Ties(expires_ms=1000))) for _ in range(20)]
    [waits] = await submit(store, given("add", args={}, ties=Ties(expires_ms=4_000_000_000_000)))
    for [id_] in late:
        await until_state(store, id_, "expired")
    assert "queued" == await state(store, waits)
