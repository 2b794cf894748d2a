"""Work on many tasks by real schedulers that are killed: another goes on, and nothing happens twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.bulk import Bulk
from service.ids import encode_id, new_ids
from service.store import Store
from tests.faults.acting import Part, eventually, given, submit
from tests.store.acting import Worker
from tests.store.deployments import Deployment

pytestmark = pytest.mark.both_servers

Start = Callable[..., Part]
many = pytest.mark.parametrize("deployment", [1, 16], indirect=True)
TASKS = 3000


async def begin(store: Store, action: str, asked: dict[str, Any], **filters: str) -> str:
    now_ms = store.tasks.clock.now_ms()
    [id_] = new_ids(0, 1, now_ms)
    assert await store.bulks.begin(Bulk(encode_id(id_), action, "default", filters, asked, now_ms))
    return encode_id(id_)


async def until_over(store: Store, id_: str) -> Bulk:
    async def look() -> Bulk | None:
        found = await store.bulks.read(id_)
        return found if found is not None and not found.is_running else None

    found: Bulk = await eventually(look, "the work is over")
    return found


async def kill_in_the_middle(store: Store, start: Start, id_: str, shards: str) -> None:
    """Two schedulers; the one that carries it out is killed with part of it done, and again."""
    for _ in range(2):
        before = (await store.bulks.read(id_) or Bulk("", "", "", {}, {}, 0)).done
        scheduler = await start("scheduler", shards=shards).ready()

        async def has_gone_on(before: int = before) -> bool:
            found = await store.bulks.read(id_)
            return found is not None and (found.done > before or not found.is_running)

        await eventually(has_gone_on)
        scheduler.process.kill()
        scheduler.process.wait()
        found = await store.bulks.read(id_)
        assert found is not None
        assert found.is_running


@many
async def test_replays_are_made_once_each(store: Store, start: Start, deployment: Deployment) -> None:
    """Each failed task has one successor, whatever was killed in between; killed while slices are under way."""
    worker = Worker(store)
    failed: list[bytes] = []
    for _ in range(TASKS // 100):
        failed += await submit(store, *[given("add", args={}) for _ in range(100)])
        await worker.fail(*await worker.lease_all(room=100))
    id_ = await begin(store, "replay", {"rate_per_second": 1000}, state="failed")
    shards = str(deployment.shards)
    await kill_in_the_middle(store, start, id_, shards)
    await start("scheduler", shards=shards).ready()
    done = await until_over(store, id_)
    assert ("done", TASKS) == (done.state, done.done)
    leased = await worker.lease_all(room=100)
    assert sorted(encode_id(one) for one in failed) == sorted(task.submission["replay_of"] for task in leased)


@many
async def test_cancelling_goes_on_to_its_end(store: Store, start: Start, deployment: Deployment) -> None:
    """And two schedulers that live are no more than one."""
    for _ in range(TASKS // 1000):
        await submit(store, *[given("add", args={}) for _ in range(1000)])
    id_ = await begin(store, "cancel", {"rate_per_second": 1500}, queue="default")
    shards = str(deployment.shards)
    await kill_in_the_middle(store, start, id_, shards)
    for _ in range(2):
        await start("scheduler", shards=shards).ready()
    assert "done" == (await until_over(store, id_)).state
    counts = await store.queues.counts()
    assert 0 == sum(count["queued"] for count in counts.values())


async def test_a_scheduler_that_ends_in_order_leaves_the_work_to_others(store: Store, start: Start) -> None:
    """At once: nobody waits for its hold to end."""
    await submit(store, *[given("add", args={}) for _ in range(200)])
    id_ = await begin(store, "cancel", {"rate_per_second": 100}, queue="default")
    scheduler = await start("scheduler").ready()

    async def has_begun() -> bool:
        found = await store.bulks.read(id_)
        return found is not None and found.done > 0

    await eventually(has_begun)
    scheduler.process.terminate()
    assert 0 == scheduler.process.wait(30)
    found = await store.bulks.read(id_)
    assert found is not None
    assert (True, "") == (found.is_running, found.holder)
    await start("scheduler").ready()
    assert 200 >= (await until_over(store, id_)).done
