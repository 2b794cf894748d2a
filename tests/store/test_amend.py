"""What changing a waiting task promises: it moves whole, once, and nothing of where it was is met again."""

from __future__ import annotations

import pytest

from service.ids import shard_of
from service.search import Query
from service.store import Store
from service.store.amendments import CHANGED, HAS_ENDED, RUNS, TOO_OFTEN, UNKNOWN, Amendment, amend
from tests.store.acting import Worker, ask_cancel, new, snapshot, state, submit, submit_everywhere

HOUR_MS = 3_600_000


async def changed(store: Store, id_: bytes, due_ms: int | None = None, priority: int | None = None) -> bytes:
    return await amend(store.tasks, shard_of(id_), [Amendment(id_, due_ms, priority)])


async def counts(store: Store) -> dict[str, int]:
    return (await store.queues.counts())["default"]


async def test_a_delayed_task_can_run_now(store: Store, worker: Worker) -> None:
    """It is leased at once, and once."""
    [id_] = await submit(store, new(delay_ms=HOUR_MS))
    assert CHANGED == await changed(store, id_, due_ms=0)
    assert "queued" == await state(store, id_)
    assert [id_] == [task.id for task in await worker.lease()]
    assert [] == await worker.lease()


async def test_a_ready_task_can_be_put_off(store: Store, worker: Worker) -> None:
    """The entry that it left behind in its list brings nobody anything."""
    [id_] = await submit(store, new())
    later = store.tasks.clock.now_ms() + HOUR_MS
    assert CHANGED == await changed(store, id_, due_ms=later)
    assert "scheduled" == await state(store, id_)
    assert {"queued": 0, "scheduled": 1, "running": 0} == await counts(store)
    assert [] == await worker.lease()
    assert later == (await snapshot(store, id_)).record.time_ms


async def test_a_higher_priority_goes_first(store: Store, worker: Worker) -> None:
    """Also when its old entry stands in front."""
    ids = await submit(store, new(), new(), new())
    for id_ in ids[1:]:
        assert shard_of(id_) == shard_of(ids[0])
    assert CHANGED == await changed(store, ids[2], priority=9)
    assert [ids[2], ids[0], ids[1]] == [task.id for task in await worker.lease()]
    assert 9 == (await snapshot(store, ids[2])).record.priority


async def test_a_priority_survives_being_due(store: Store, worker: Worker) -> None:
    """One that is delayed brings its new priority along."""
    [id_] = await submit(store, new(delay_ms=HOUR_MS))
    assert CHANGED == await changed(store, id_, priority=0)
    assert "scheduled" == await state(store, id_)
    assert CHANGED == await changed(store, id_, due_ms=0)
    [task] = await worker.lease()
    assert 0 == task.priority


async def test_a_retry_can_be_brought_forward(store: Store, worker: Worker) -> None:
    """With the attempts that it has had."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await worker.again(b"R", task, delay_ms=HOUR_MS)
    assert CHANGED == await changed(store, id_, due_ms=0)
    [again] = await worker.lease()
    assert 2 == again.attempt


async def test_what_does_not_wait_is_left_as_it_is(store: Store, worker: Worker) -> None:
    """One that runs, one that has ended, one that never was."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    assert RUNS == await changed(store, id_, due_ms=0, priority=9)
    await worker.succeed(task)
    assert HAS_ENDED == await changed(store, id_, due_ms=0)
    assert UNKNOWN == await changed(store, id_[:7] + bytes(9), due_ms=0)
    assert 5 == (await snapshot(store, id_)).record.priority


async def test_many_changes_leave_one_task(store: Store, worker: Worker) -> None:
    """There and back as often as generations can tell; it is listed once, and runs once."""
    [id_] = await submit(store, new())
    for turn in range(255):
        assert CHANGED == await changed(store, id_, priority=turn % 10)
    assert TOO_OFTEN == await changed(store, id_, priority=9)
    found, _ = await store.pages.page(Query("default", state="queued"), 50, None)
    assert [id_] == [one.id for one in found]
    assert {"queued": 1, "scheduled": 0, "running": 0} == await counts(store)
    leased = []
    while task := await worker.lease():
        leased += task
    assert [id_] == [task.id for task in leased]


@pytest.mark.parametrize("twice", [False, True])
async def test_many_tasks_change_in_one_call(store: Store, worker: Worker, twice: bool) -> None:
    """The same task twice in a call is changed once."""
    ids = await submit_everywhere(store, 3)
    for shard in range(store.shards):
        own = [Amendment(id_, priority=8) for id_ in ids if shard_of(id_) == shard]
        assert CHANGED * len(own) * (1 + twice) == await amend(store.tasks, shard, own * (1 + twice))
    assert {8} == {(await snapshot(store, id_)).record.priority for id_ in ids}
    assert len(ids) == (await counts(store))["queued"]


async def test_an_amended_task_can_be_cancelled_and_forgotten(store: Store, worker: Worker) -> None:
    """Its old entries are no trace of it."""
    [id_] = await submit(store, new())
    await changed(store, id_, priority=9)
    await ask_cancel(store, id_)
    found = await snapshot(store, id_)
    assert 1 == await store.tasks.forget(id_, found.record)
    assert [] == await worker.lease()
