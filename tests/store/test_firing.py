"""Occurrences in Redis: each fires once, whoever tries; what is late, and what overlaps, goes as its schedule says."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from service.errors import StoreFull
from service.ids import shard_of
from service.schedule import ACTIVE, OVER, moment
from service.scheduler.firer import Firer
from service.store import Store, keys
from service.task import Leased
from tests.store.acting import Worker
from tests.store.deployments import Deployment
from tests.store.scheduling import (
    HOUR_MS,
    defined,
    fire,
    hours_late,
    kinds,
    look_now,
    made,
    move,
    read,
    rows,
    save,
    tasks,
)

# ---------------------------------------------------------------- in time


async def test_an_occurrence_becomes_a_task_that_says_whose_it_is(store: Store) -> None:
    """With the time that it was meant for, in the shard of its schedule."""
    task = {"name": "demo.add", "args": {"at": "{{ fire_time }}"}, "priority": 7, "queue": "q"}
    schedule = await made(store, task=task)
    moved = await hours_late(store, 0.005)
    await fire(store)
    [fired] = await tasks(store)
    said = fired.record.submission
    assert ("queued", "q", 7) == (fired.state, fired.record.queue, fired.record.priority)
    assert {"name": "s1", "fire_time": said["schedule"]["fire_time"]} == said["schedule"]
    assert said["args"]["at"][:19] == said["schedule"]["fire_time"][:19]
    assert store.schedules.shard_of(schedule.member) == shard_of(fired.id)
    after = await read(store)
    assert (1, moved.next_ms, moved.next_ms + HOUR_MS, fired.id) == (
        after.runs, after.last_ms, after.next_ms, after.last_id,
    )  # fmt: skip


async def test_schedulers_at_once_fire_each_occurrence_once(store: Store) -> None:
    """Thirty schedules, eight schedulers, all of them at the same time."""
    names = [f"s{n}" for n in range(30)]
    for name in names:
        await made(store, name)
        await hours_late(store, 0.005, name)
    firers = [Firer(store, store.settings) for _ in range(8)]
    await asyncio.gather(*(firer.fire_all(shard) for firer in firers for shard in range(store.shards)))
    assert [["fired"]] * 30 == [await kinds(store, name) for name in names]
    assert [1] * 30 == [(await read(store, name)).runs for name in names]


async def test_what_was_read_before_a_change_is_not_fired(store: Store) -> None:
    """A scheduler that was slow, or killed and woken again, does nothing to what has moved since."""
    first = await made(store)
    await hours_late(store, 0.005)
    firer = Firer(store, store.settings)
    shard = store.schedules.shard_of(first.member)
    due = await store.schedules.due(shard)
    shots = firer.shots(due.schedules, shard, due.now_ms, {})
    await save(store, defined(store, every_seconds=7200), await read(store))
    assert (b"0", []) == await store.schedules.fire(shard, shots)
    assert [] == await kinds(store)


async def test_more_than_a_call_takes_are_all_fired(store: Store) -> None:
    """A hundred and fifty at once."""
    names = [f"s{n}" for n in range(150)]
    await asyncio.gather(*(made(store, name) for name in names))
    await asyncio.gather(*(hours_late(store, 0.005, name) for name in names))
    await fire(store)
    assert {1} == {(await read(store, name)).runs for name in names}


async def test_large_tasks_go_in_several_calls(store: Store) -> None:
    """A call holds Redis for as long as its bytes take, so it has a bound."""
    text = "x" * 400_000
    names = [f"s{n}" for n in range(6)]
    for name in names:
        await made(store, name, task={"name": "demo.add", "args": {"a": text}})
        await hours_late(store, 0.005, name)
    await fire(store)
    assert {1} == {(await read(store, name)).runs for name in names}


async def test_the_same_call_again_fires_nothing_twice(store: Store) -> None:
    """Its answer was lost, and the library sends it again; by hand, too."""
    schedule = await made(store)
    await hours_late(store, 0.005)
    firer = Firer(store, store.settings)
    shard = store.schedules.shard_of(schedule.member)
    due = await store.schedules.due(shard)
    shots = firer.shots(due.schedules, shard, due.now_ms, {})
    assert (b"F", b"0") == tuple([(await store.schedules.fire(shard, shots))[0] for _ in range(2)])
    shots[0].kind = b"r"
    by_hand = firer.builder.load(shots[0], schedule.timing("UTC"), shard, due.now_ms)
    assert (b"F", b"F") == tuple([(await store.schedules.fire(shard, [by_hand]))[0] for _ in range(2)])
    assert ["fired", "run_by_hand"] == await kinds(store)
    assert 1 == (await read(store)).runs


async def test_the_history_keeps_the_last_hundred(store: Store) -> None:
    await made(store, misfire="all")
    await hours_late(store, 110)
    await fire(store)
    assert (100, 111) == (len(await rows(store)), (await read(store)).runs)


# ---------------------------------------------------------------- late


@pytest.mark.parametrize(
    ("misfire", "expected", "runs"),
    [("skip", ["missed"], 0), ("once", ["missed", "fired"], 1), ("all", ["fired"] * 4, 4)],
)
async def test_what_is_too_late_goes_by_the_policy(store: Store, misfire: str, expected: list[str], runs: int) -> None:
    """Three and a half hours without a scheduler, a grace of a minute."""
    await made(store, misfire=misfire)
    late = await hours_late(store, 3.5)
    await fire(store)
    after = await read(store)
    assert (expected, runs) == (await kinds(store), after.runs)
    assert late.next_ms + 4 * HOUR_MS == after.next_ms
    if misfire == "once":
        assert late.next_ms + 3 * HOUR_MS == after.last_ms
        assert 3 == (await rows(store))[0].missed
    elif misfire == "skip":
        assert 4 == (await rows(store))[0].missed
    else:
        fired = [row.fire_ms for row in await rows(store)]
        assert [late.next_ms + n * HOUR_MS for n in range(4)] == fired


async def test_what_is_late_within_the_grace_is_in_time(store: Store) -> None:
    """Each occurrence within it fires, whatever the policy says."""
    await made(store, misfire="skip", misfire_grace_seconds=3 * 3600)
    await hours_late(store, 2.5)
    await fire(store)
    assert ["fired"] * 3 == await kinds(store)


async def test_years_of_missed_seconds_are_skipped_at_once(store: Store) -> None:
    """A dense schedule that ended long ago holds up nobody."""
    now_ms = store.tasks.clock.now_ms()
    year = 365 * 24 * HOUR_MS
    ended = now_ms - 2 * year
    await made(store, every_seconds=1)
    schedule = await read(store)
    definition = {**schedule.definition, "created_ms": now_ms - 9 * year, "end_at": at_text(ended)}
    await move(store, next_ms=now_ms - 9 * year, definition=definition)
    await fire(store)
    after = await read(store)
    assert (OVER, 1, ["missed", "fired"]) == (after.state, after.runs, await kinds(store))
    assert 0 <= ended - after.last_ms < 1000


async def test_one_with_much_to_catch_up_with_does_not_hold_up_others(store: Store, deployment: Deployment) -> None:
    """They take turns, however late the one is."""
    first = await made(store, misfire="all", every_seconds=1)
    shard = store.schedules.shard_of(first.member)
    other = next(f"x{n}" for n in range(1000) if store.schedules.shard_of(f"default/x{n}") == shard)
    await made(store, other)
    await hours_late(store, 1)
    await hours_late(store, 0.005, other)
    firer = Firer(store, store.settings)
    for _ in range(2):
        due = await store.schedules.due(shard)
        await store.schedules.fire(shard, firer.shots(due.schedules, shard, due.now_ms, {})[:1])
    assert 1 == (await read(store, other)).runs


async def test_the_bound_of_runs_ends_it(store: Store) -> None:
    await made(store, misfire="all", max_runs=2)
    await hours_late(store, 5)
    await fire(store)
    after = await read(store)
    assert (OVER, 2, 0) == (after.state, after.runs, after.next_ms)


# ---------------------------------------------------------------- overlap


async def busy(store: Store, **fields: Any) -> tuple[Worker, Leased]:
    """A schedule whose last task runs, and whose next occurrence is due."""
    await made(store, **fields)
    await hours_late(store, 0.005)
    await fire(store)
    worker = Worker(store)
    [leased] = await worker.lease()
    await hours_late(store, 0.004)
    return worker, leased


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [("allow", ["fired"] * 2), ("skip", ["fired", "skipped"]), ("queue_one", ["fired", "put_off"])],
)
async def test_overlap_goes_by_the_policy(store: Store, overlap: str, expected: list[str]) -> None:
    """While the last task has not ended."""
    await busy(store, overlap=overlap)
    await fire(store)
    assert expected == await kinds(store)
    [running, *_] = await rows(store)
    assert overlap == "allow" or running.task_id == (await rows(store))[1].task_id


async def test_cancel_running_cancels_the_last_task_and_fires(store: Store) -> None:
    await busy(store, overlap="cancel_running")
    await fire(store)
    assert ["fired", "fired"] == await kinds(store)
    assert ["cancelling", "queued"] == [task.state for task in await tasks(store)]


async def test_cancel_running_ends_a_task_that_waits(store: Store) -> None:
    await made(store, overlap="cancel_running")
    await hours_late(store, 0.005)
    await fire(store)
    await hours_late(store, 0.004)
    await fire(store)
    assert ["cancelled", "queued"] == [task.state for task in await tasks(store)]


async def test_one_that_waits_fires_when_the_last_task_has_ended(store: Store) -> None:
    """Only one waits; the next is skipped while it does."""
    worker, running = await busy(store, overlap="queue_one")
    await fire(store)
    pending = (await read(store)).pending_ms
    await hours_late(store, 0.003)
    await fire(store)
    await look_now(store, "s1")
    await fire(store)
    assert ["fired", "put_off", "skipped"] == await kinds(store)
    assert pending == (await read(store)).pending_ms
    await worker.succeed(running)
    await look_now(store, "s1")
    await fire(store)
    after = await read(store)
    assert (["fired", "put_off", "skipped", "fired"], 0, 2, pending) == (
        await kinds(store), after.pending_ms, after.runs, after.last_ms,
    )  # fmt: skip
    assert after.next_ms > after.last_ms


async def test_one_that_waits_when_it_is_paused_fires_when_it_is_resumed(store: Store) -> None:
    """It had come before the pause, so it is not of those that the pause leaves out."""
    worker, running = await busy(store, overlap="queue_one")
    await fire(store)
    paused = await save(store, defined(store, overlap="queue_one"), await read(store), is_paused=True)
    assert paused.pending_ms
    await worker.succeed(running)
    await fire(store)
    assert ["fired", "put_off"] == await kinds(store)
    await save(store, defined(store, overlap="queue_one"), await read(store))
    await look_now(store, "s1")
    await fire(store)
    assert ["fired", "put_off", "fired"] == await kinds(store)


async def test_the_last_occurrence_may_wait_too(store: Store) -> None:
    """A schedule that is at its end stays active until what waits has fired."""
    worker, running = await busy(store, overlap="queue_one")
    schedule = await read(store)
    late = schedule.next_ms
    definition = {**schedule.definition, "at": [at_text(late)]}
    definition.pop("every_seconds")
    await move(store, definition=definition)
    await fire(store)
    waiting = await read(store)
    assert (ACTIVE, 0, late) == (waiting.state, waiting.next_ms, waiting.pending_ms)
    await worker.succeed(running)
    await look_now(store, "s1")
    await fire(store)
    after = await read(store)
    assert (OVER, 2, 0) == (after.state, after.runs, after.pending_ms)


def at_text(ms: int) -> str:
    return moment(ms).isoformat()


# ---------------------------------------------------------------- what cannot be


async def test_a_handler_that_nobody_knows_any_more_is_called_as_it_was_saved(store: Store) -> None:
    """Its task waits in the queue and lane of the day on which the schedule was saved."""
    schedule = defined(store)
    schedule.definition["target"] = {"queue": "slow", "lane": "process"}
    await save(store, schedule)
    await hours_late(store, 0.005)
    await fire(store)
    [task] = await tasks(store)
    assert ("slow", "process") == (task.record.queue, task.record.lane)


async def test_what_its_handler_says_today_decides(store: Store) -> None:
    """Not what it said when the schedule was saved."""
    schedule = defined(store)
    schedule.definition["target"] = {"queue": "slow", "lane": "process"}
    await save(store, schedule)
    await store.workers.publish("default", [{"name": "demo.add", "lane": "thread", "queue": "fast"}], 1)
    await store.handlers.refresh()
    await hours_late(store, 0.005)
    await fire(store)
    [task] = await tasks(store)
    assert ("fast", "thread") == (task.record.queue, task.record.lane)


async def test_schedules_that_cannot_be_read_do_not_hold_up_others(
    store: Store, caplog: pytest.LogCaptureFixture, deployment: Deployment
) -> None:
    """A hundred and forty of them are due first; the log names them."""
    good = await made(store, "good")
    shard = store.schedules.shard_of(good.member)
    names = [f"x{n}" for n in range(10_000) if store.schedules.shard_of(f"default/x{n}") == shard][:140]
    for name in names:
        schedule = await made(store, name)
        if name == names[0]:  # of a later version of ours
            key = keys.schedule(shard, schedule.member)
            await store.tasks.scripts.command("SETRANGE", key, 0, b"\x09")
            await store.tasks.scripts.command("ZADD", keys.due_schedules(shard), 1, schedule.member)
        else:  # a zone that has gone from this machine
            await move(store, name, next_ms=1, definition={**schedule.definition, "timezone": "Mars/Base"})
    await hours_late(store, 0.005, "good")
    caplog.set_level(logging.ERROR)
    await fire(store)
    assert 1 == (await read(store, "good")).runs
    assert all(f"default/{name}" in caplog.text for name in names)
    found = await store.schedules.page("default", 1000)
    assert {*names[1:], "good"} == {one.name for one in found}
    first, due = [], await store.schedules.due(shard)
    assert (first, first) == (due.schedules, due.unreadable)
    await store.tasks.scripts.command("SETRANGE", keys.schedule(shard, f"default/{names[0]}"), 0, b"\x01")


@pytest.mark.deployments("valkey-1", "redis-1")
async def test_a_full_redis_fires_later(store: Store, deployment: Deployment) -> None:
    """Nothing changes until there is room; then it fires, as late as it is."""
    await made(store, misfire_grace_seconds=HOUR_MS)
    await hours_late(store, 0.005)
    client = deployment.clients[0]
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(StoreFull):
            await fire(store)
        assert (0, []) == ((await read(store)).runs, await kinds(store))
    finally:
        client.config_set("maxmemory", "0")
    if store.tasks.memory.asking is not None:  # it may have been answered before there was room
        await store.tasks.memory.asking
    await store.tasks.memory.look()
    await fire(store)
    assert 1 == (await read(store)).runs


async def test_an_emptied_redis_needs_no_restart(store: Store, deployment: Deployment) -> None:
    """Its schedules are gone; new ones fire."""
    await made(store, "old")
    firer = Firer(store, store.settings)
    deployment.empty()
    for shard in range(store.shards):
        assert await firer.fire_all(shard) is None
    await made(store, "new")
    await hours_late(store, 0.005, "new")
    await fire(store)
    assert ["fired"] == await kinds(store, "new")
