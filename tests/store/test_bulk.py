"""
Work on many tasks: done to those that are meant and to no others, once, whoever carries it out and is killed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from service.bulk import Bulk
from service.errors import StoreUnavailable
from service.ids import encode_id, new_ids
from service.scheduler.carrier import Carrier
from service.search import Query
from service.store import Store
from service.store.bulks import MOST_RUNNING, HeldByAnother
from tests.store.acting import Worker, new, snapshot, state, submit, submit_everywhere
from tests.store.deployments import Deployment


async def begun(store: Store, action: str, asked: dict[str, Any] | None = None, **filters: str) -> Bulk:
    now_ms = store.tasks.clock.now_ms()
    [id_] = new_ids(0, 1, now_ms)
    bulk = Bulk(encode_id(id_), action, "default", filters, asked or {}, now_ms)
    bulk.to_examine = await store.bulks.weigh(bulk.query)
    assert await store.bulks.begin(bulk)
    return bulk


async def read(store: Store, bulk: Bulk) -> Bulk:
    found = await store.bulks.read(bulk.id)
    assert found is not None
    return found


async def carried(store: Store, bulk: Bulk) -> Bulk:
    """*bulk*, carried out."""
    await Carrier(store).carry(bulk.id)
    return await read(store, bulk)


async def states(store: Store, ids: list[bytes]) -> Counter[str | None]:
    return Counter([await state(store, id_) for id_ in ids])


async def failed_everywhere(store: Store, worker: Worker, each: int) -> list[bytes]:
    ids = await submit_everywhere(store, each=each)
    await worker.fail(*await worker.lease_all(room=100))
    return ids


async def replays(store: Store) -> dict[str, list[bytes]]:
    """Old id -> its replays."""
    found: dict[str, list[bytes]] = {}
    cursor = None
    while True:
        page, cursor = await store.pages.page(Query("default", "queued"), 200, cursor)
        for task in page:
            if "replay_of" in task.record.submission:
                found.setdefault(task.record.submission["replay_of"], []).append(task.id)
        if cursor is None:
            return found


async def test_waiting_and_running_tasks_are_cancelled(store: Store, worker: Worker) -> None:
    """Those of the filter, in whichever state they wait; running ones are asked to stop."""
    running = await submit_everywhere(store, each=2)
    await worker.lease_all()
    queued = await submit_everywhere(store, each=30)
    later = await submit_everywhere(store, each=30, delay_ms=600_000)
    others = await submit_everywhere(store, each=2, queue="mail")
    done = await carried(store, await begun(store, "cancel", queue="default"))
    assert ("done", len(running + queued + later)) == (done.state, done.done)
    assert {"cancelled": len(queued + later)} == await states(store, queued + later)
    assert {"cancelling": len(running)} == await states(store, running)
    assert {"queued": len(others)} == await states(store, others)


async def test_tasks_that_come_later_are_not_meant(store: Store) -> None:
    """Neither what is submitted after the work has begun nor what it makes itself."""
    before = await submit_everywhere(store, each=3)
    bulk = await begun(store, "cancel", name="demo.*")
    await asyncio.sleep(0.005)
    after = await submit_everywhere(store, each=3)
    await carried(store, bulk)
    assert {"cancelled": len(before)} == await states(store, before)
    assert {"queued": len(after)} == await states(store, after)


async def test_ended_tasks_are_deleted_with_all_that_is_theirs(store: Store, worker: Worker) -> None:
    """Whatever they left; waiting ones stay. The keyspace is as if they had never been."""
    failed = await failed_everywhere(store, worker, 20)
    keyed = await submit(store, *[new(key=f"k{n}") for n in range(20)])
    await worker.succeed(*await worker.lease_all())
    waiting = await submit_everywhere(store, each=2)
    done = await carried(store, await begun(store, "delete", state="failed,succeeded"))
    assert (len(failed + keyed), 0) == (done.done, done.skipped)
    assert {None: len(failed + keyed)} == await states(store, failed + keyed)
    assert {"queued": len(waiting)} == await states(store, waiting)
    again = await submit(store, new(key="k3"))
    assert again[0] not in keyed


async def test_priorities_and_due_times_of_waiting_tasks_are_changed(store: Store) -> None:
    """Once: a task that is as it is to be is left alone."""
    ids = await submit_everywhere(store, each=20)
    due_ms = store.tasks.clock.now_ms() + 600_000
    assert len(ids) == (await carried(store, await begun(store, "priority", {"priority": 9}, queue="default"))).done
    later = await begun(store, "reschedule", {"due_ms": due_ms}, queue="default")
    assert len(ids) == (await carried(store, later)).done
    for _ in range(2):
        done = await carried(store, await begun(store, "priority", {"priority": 9}, queue="default"))
        assert len(ids) == done.done
    for id_ in ids:
        record = (await snapshot(store, id_)).record
        assert (9, due_ms, 2) == (record.priority, record.time_ms, record.generation)


async def test_failed_tasks_are_replayed_once_each(store: Store, worker: Worker) -> None:
    """As new tasks that name the old ones, with what was changed."""
    failed = await failed_everywhere(store, worker, 30)
    bulk = await begun(store, "replay", {"edits": {"args": {"b": 40}, "priority": 7}}, error_type="Value*")
    done = await carried(store, bulk)
    assert (len(failed), 0, "done") == (done.done, done.skipped, done.state)
    found = await replays(store)
    assert {encode_id(id_): 1 for id_ in failed} == {old: len(new_) for old, new_ in found.items()}
    task = await snapshot(store, found[encode_id(failed[0])][0])
    assert ({"a": 2, "b": 40}, 7) == (task.record.submission["args"], task.record.priority)


@pytest.mark.parametrize("action", ["cancel", "delete", "replay", "priority"])
@pytest.mark.parametrize("call", ["before", "after"])
async def test_what_was_killed_anywhere_goes_on_and_does_nothing_twice(
    store: Store, worker: Worker, action: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it died before a call to Redis or when it was done and nobody had heard: each call in turn."""
    each = 128 // store.shards
    waits = action in ("cancel", "priority")
    ids = await (submit_everywhere(store, each=each) if waits else failed_everywhere(store, worker, each))
    bulk = await begun(store, action, {"priority": 8} if action == "priority" else {}, name="demo.add")
    monkeypatch.setattr("service.scheduler.carrier.MOST_A_SLICE", 40)
    monkeypatch.setattr("service.scheduler.carrier.MOST_REPLAYED", 40)
    plain, left = store.scripts.call, [0]

    async def dying(shard: int, name: str, *args: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and call == "before":
            raise StoreUnavailable("killed")
        answer = await plain(shard, name, *args, **more)
        if left[0] == 0:
            raise StoreUnavailable("killed")
        return answer

    monkeypatch.setattr(store.scripts, "call", dying)
    for attempt in range(60):
        left[0] = 2 + 3 * attempt
        carrier = Carrier(store)
        carrier.name = "same"  # nobody waits for a hold to end
        await carrier.carry(bulk.id)
        if not (await read(store, bulk)).is_running:
            break
    monkeypatch.setattr(store.scripts, "call", plain)
    done = await carried(store, bulk) if (await read(store, bulk)).is_running else await read(store, bulk)
    assert "done" == done.state
    if action == "replay":
        assert {1} == {len(made) for made in (await replays(store)).values()}
        assert len(ids) == len(await replays(store)) == done.done
    elif action == "priority":
        assert {(8, 1)} == {((one := (await snapshot(store, id_)).record).priority, one.generation) for id_ in ids}
    else:
        assert {"cancelled" if action == "cancel" else None: len(ids)} == await states(store, ids)


async def test_only_one_carries_it_out(store: Store) -> None:
    """Who holds it says so; another that tries takes nothing, and one that lost it writes nothing."""
    await submit_everywhere(store, each=2)
    bulk = await begun(store, "cancel", queue="default")
    now_ms = store.tasks.clock.now_ms()
    mine = await store.bulks.take(bulk.id, "one", now_ms, 1000)
    assert mine is not None
    assert await store.bulks.take(bulk.id, "two", now_ms, 1000) is None
    assert await store.bulks.take(bulk.id, "two", now_ms + 1001, 1000) is not None
    mine.done = 5
    with pytest.raises(HeldByAnother):
        await store.bulks.keep(mine, now_ms, 1000)
    assert 0 == (await read(store, bulk)).done


async def test_an_aborted_one_stops(store: Store) -> None:
    """What is done stays done; the rest is left."""
    ids = await submit_everywhere(store, each=64)
    bulk = await begun(store, "cancel", {"rate_per_second": 100}, state="queued")
    carrying = asyncio.create_task(Carrier(store).carry(bulk.id))
    while not (await read(store, bulk)).done:
        await asyncio.sleep(0.01)
    assert await store.bulks.end(bulk.id, "aborted", "by request", store.tasks.clock.now_ms())
    await carrying
    found = await read(store, bulk)
    assert ("aborted", "by request") == (found.state, found.reason)
    assert 0 < (await states(store, ids))["cancelled"] < len(ids) or store.shards == 1


async def test_canaries_that_fail_keep_the_others_from_following(store: Store, worker: Worker) -> None:
    """The first few are waited for; too many failures abort, and the others stay as they are."""
    await failed_everywhere(store, worker, 20)
    bulk = await begun(store, "replay", {"canary": {"tasks": 5, "max_failures": 1}}, state="failed")
    carrying = asyncio.create_task(Carrier(store).carry(bulk.id))
    leased = []
    while len(leased) < 5:
        leased += await worker.lease()
        await asyncio.sleep(0.01)
    await worker.fail(*leased)
    await carrying
    found = await read(store, bulk)
    assert ("aborted", 5, 5) == (found.state, found.done, found.canary_failed)
    assert "5 of the first 5" in (found.reason or "")
    assert {} == await replays(store)


async def test_the_others_follow_when_the_canaries_live(store: Store, worker: Worker) -> None:
    """Also when there are fewer than were asked for."""
    ids = await failed_everywhere(store, worker, 12)
    for many in (5, 5000):
        bulk = await begun(store, "replay", {"canary": {"tasks": many, "max_failures": 0}}, state="failed")
        carrying = asyncio.create_task(Carrier(store).carry(bulk.id))
        while not carrying.done():
            await worker.succeed(*await worker.lease())
            await asyncio.sleep(0.01)
        found = await read(store, bulk)
        assert ("done", len(ids), 0) == (found.state, found.done, found.canary_failed)


async def test_no_more_than_ten_are_under_way(store: Store) -> None:
    """So that nobody begins a thousand by mistake; old ones that are over are forgotten."""
    for _ in range(MOST_RUNNING):
        await begun(store, "cancel", queue="default")
    extra = Bulk("x", "cancel", "default", {}, {}, store.tasks.clock.now_ms())
    assert not await store.bulks.begin(extra)
    await carried(store, (await store.bulks.known())[0])
    assert await store.bulks.begin(extra)


async def test_it_is_known_how_much_there_is(store: Store, worker: Worker, deployment: Deployment) -> None:
    """From counters alone."""
    await failed_everywhere(store, worker, 3)
    await submit_everywhere(store, each=2)
    await submit_everywhere(store, each=1, delay_ms=60_000, queue="mail")
    shards = store.shards

    async def weighed(action: str, **filters: str) -> int:
        return await store.bulks.weigh(Bulk("", action, "default", filters, {}, 2**47).query)

    assert 3 * shards == await weighed("replay")
    assert 3 * shards == await weighed("delete")
    assert 2 * shards == await weighed("cancel", state="queued")
    assert shards == await weighed("cancel", state="scheduled", queue="mail")
    assert 0 == await weighed("cancel", state="scheduled", queue="default")
    assert 6 * shards == await weighed("cancel")
