"""Backfills in Redis: each occurrence of the range becomes one task, whoever carries it out and whatever is killed."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from service.backfill import ABORTED, DONE, RUNNING, Backfill
from service.schedule import Schedule
from service.scheduler.firer import Firer
from service.store import Store
from service.store.backfills import MOST_RUNNING
from tests.store.acting import Worker
from tests.store.scheduling import HOUR_MS, defined, fire, kinds, look_now, made, read, rows, save, tasks

SEEN = {"name": "demo.add", "args": {"from": "{{ previous_fire_time | epoch }}", "to": "{{ fire_time | epoch }}"}}


async def begun(store: Store, hours: int = 5, name: str = "s1", id_: str = "b1", **asked: Any) -> Backfill:
    """A backfill of the last whole *hours* of an hourly schedule."""
    schedule = await hourly(store, name)
    now_ms = store.tasks.clock.now_ms()
    end_ms = now_ms - now_ms % HOUR_MS
    given = {"start_ms": end_ms - (hours - 1) * HOUR_MS, "end_ms": end_ms, "rate_per_second": 1000, "overlap": "allow",
             "total": hours, "created_ms": now_ms, **asked}  # fmt: skip
    backfill = Backfill(schedule.member, id_, given, schedule=schedule)
    assert await store.backfills.begin(backfill)
    return backfill


async def hourly(store: Store, name: str) -> Schedule:
    found = await store.schedules.read(f"default/{name}")
    fields: dict[str, Any] = {"cron": "0 * * * *", "task": SEEN}
    return found or await save(store, defined(store, name, **fields))


async def state(store: Store, id_: str = "b1", name: str = "s1") -> tuple[bytes, int]:
    found = await store.backfills.read(f"default/{name}", id_)
    assert found is not None
    return found.state, found.done


async def test_every_occurrence_becomes_a_task_that_sees_its_time(store: Store) -> None:
    """And that of the one before, also the first."""
    backfill = await begun(store)
    await fire(store)
    assert (DONE, 5) == await state(store)
    seen = [task.record.submission["args"] for task in await tasks(store)]
    first = backfill.asked["start_ms"]
    times = [str((first + n * HOUR_MS) // 1000) for n in range(-1, 5)]
    assert [{"from": a, "to": b} for a, b in pairwise(times)] == seen
    assert (["backfilled"] * 5, 0) == (await kinds(store), (await read(store)).runs)


@pytest.mark.deployments("valkey-1")
async def test_its_tasks_are_held_to_their_key(store: Store, worker: Worker) -> None:
    """Also when nobody has named the key before."""
    await made(store, cron="0 * * * *", task={**SEEN, "flow": {"key": "k", "concurrency": 2}})
    await begun(store)
    await fire(store)
    assert 2 == len(await worker.lease_all())
    standing = await store.tasks.flows.read(1, "default", "k")
    assert standing is not None
    assert (2, 2, 3) == (standing.concurrency, standing.running, standing.waiting)


async def test_it_goes_at_its_rate(store: Store) -> None:
    """One a second: a look makes one task, and the next look comes when the next is due."""
    await begun(store, rate_per_second=1)
    await fire(store)
    await fire(store)
    assert (RUNNING, 1) == await state(store)
    await look_now(store, "s1#b1")
    await fire(store)
    assert (RUNNING, 2) == await state(store)


async def test_many_schedulers_repeat_nothing(store: Store) -> None:
    """Two hundred occurrences, four schedulers that see every slice at the same time."""
    await begun(store, hours=200)
    firers = [Firer(store, store.settings) for _ in range(4)]
    while (await state(store))[0] == RUNNING:
        await look_now(store, "s1#b1")
        await asyncio.gather(*(firer.fire_all(shard) for firer in firers for shard in range(store.shards)))
    assert (DONE, 200) == await state(store)
    counts = await store.queues.counts()
    assert 200 == sum(count["queued"] for count in counts.values())


async def test_a_slice_that_is_sent_again_is_not_carried_out_again(store: Store) -> None:
    """Its scheduler was killed before it heard the answer, or slept through what another did."""
    backfill = await begun(store, hours=3)
    shard = store.schedules.shard_of(backfill.member)
    firer = Firer(store, store.settings)
    now_ms = store.tasks.clock.now_ms()
    made_, _, _ = firer.filler.slice(shard, backfill, now_ms, 2)
    answers = [await store.backfills.fill(backfill, made_, now_ms, waits=False, is_last=False) for _ in range(2)]
    assert [1, 0] == answers
    await fire(store)
    assert (DONE, 3) == await state(store)
    assert 3 == len({row.fire_ms for row in await rows(store)}) == len(await rows(store))


async def test_one_by_one_waits_for_the_task_before(store: Store) -> None:
    await begun(store, hours=2, overlap="one_by_one")
    await fire(store)
    await look_now(store, "s1#b1")
    await fire(store)
    assert (RUNNING, 1) == await state(store)
    worker = Worker(store)
    await worker.succeed(*await worker.lease())
    await look_now(store, "s1#b1")
    await fire(store)
    assert (DONE, 2) == await state(store)


async def test_an_aborted_one_fires_nothing_any_more(store: Store) -> None:
    """What has come into being stays; aborting it again changes nothing."""
    backfill = await begun(store, rate_per_second=1)
    await fire(store)
    aborted = await store.backfills.abort(backfill.member, "b1")
    assert (ABORTED, 1) == (aborted and (aborted.state, aborted.done))
    await fire(store)
    assert (ABORTED, 1) == await state(store)
    assert aborted == await store.backfills.abort(backfill.member, "b1")
    assert await store.backfills.abort(backfill.member, "b2") is None


async def test_it_goes_by_the_schedule_as_it_was(store: Store) -> None:
    """A change meanwhile, or a pause, is for what is to come."""
    await begun(store, rate_per_second=1)
    await fire(store)
    await save(store, defined(store, every_seconds=60), await read(store), is_paused=True)
    for _ in range(4):
        await look_now(store, "s1#b1")
        await fire(store)
    assert (DONE, 5) == await state(store)
    assert {"from", "to"} == {*(await tasks(store))[-1].record.submission["args"]}


async def test_it_goes_with_its_schedule(store: Store) -> None:
    backfill = await begun(store, rate_per_second=1)
    await store.schedules.drop(backfill.member, 1)
    await fire(store)
    assert [] == await store.backfills.list(backfill.member)
    assert await store.backfills.begin(backfill) is None


async def test_only_so_many_are_under_way_and_kept(store: Store) -> None:
    """Ten, and the last twenty that have ended; the newest is first."""
    for number in range(25):
        await begun(store, hours=1, id_=f"b{number:02}", created_ms=number)
        await fire(store)
    running = [await begun(store, id_=f"r{n}", rate_per_second=0.01, created_ms=100 + n) for n in range(MOST_RUNNING)]
    assert not await store.backfills.begin(
        Backfill("default/s1", "more", running[0].asked, schedule=running[0].schedule)
    )
    assert await store.backfills.begin(running[0])  # sent again
    found = [one.id for one in await store.backfills.list("default/s1")]
    assert [one.id for one in running[::-1]] == found[:MOST_RUNNING]
    assert 20 >= len(found[MOST_RUNNING:])
    assert "b24" == found[MOST_RUNNING]


async def test_one_that_cannot_be_carried_out_holds_up_nobody(store: Store) -> None:
    """Its zone has gone from this machine."""
    schedule = await made(store, "lost")
    gone = Schedule("default", "lost", {**schedule.definition, "timezone": "Mars/Base"})
    good = await begun(store)
    assert await store.backfills.begin(Backfill(gone.member, "b2", good.asked, schedule=gone))
    await fire(store)
    assert (DONE, 5) == await state(store)
    assert (RUNNING, 0) == await state(store, "b2", "lost")
