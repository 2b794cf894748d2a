"""Schedules in Redis: saved once, by versions, found by name, and gone with all that is theirs."""

from __future__ import annotations

import asyncio

import pytest

from service.schedule import ACTIVE, OVER, PAUSED
from service.store import Store, keys
from service.store.schedules import ANY, NEW
from tests.store.deployments import Deployment
from tests.store.scheduling import defined, fire, hours_late, kinds, made, move, read, save, tasks


async def test_only_the_first_of_two_with_one_name_is_saved(store: Store) -> None:
    """The other learns what stands there."""
    first, second = defined(store), defined(store, every_seconds=60)
    answers = await asyncio.gather(*(store.schedules.save(one, NEW, 0) for one in (first, second)))
    [(_, winner)] = [answer for answer in answers if answer[0]]
    assert [winner] == [found for saved, found in answers if not saved]


async def test_a_change_of_an_old_version_is_refused(store: Store) -> None:
    """Each change makes another version, and takes effect only on the one that it was decided on."""
    first = await made(store)
    second = await save(store, defined(store, description="x"), first)
    assert (1, 2) == (first.version, second.version)
    saved, found = await store.schedules.save(defined(store), first.version, None)
    assert (False, second.definition) == (saved, found and found.definition)
    assert (False, True) == tuple([(await store.schedules.drop(first.member, n))[0] for n in (1, 2)])


async def test_a_save_that_is_sent_again_is_known_by_what_it_saved(store: Store) -> None:
    """Its first answer was lost on the way; it is no conflict with itself."""
    schedule = defined(store)
    await save(store, schedule)
    put = store.schedules.put

    async def lost(*args: object) -> object:
        await put(*args)  # type: ignore[arg-type]
        return await put(*args)  # type: ignore[arg-type]

    store.schedules.put = lost  # type: ignore[assignment, method-assign]
    saved, found = await store.schedules.save(defined(store, description="again"), 1, None)
    assert (True, 2) == (saved, found and found.version)


async def test_a_changed_definition_with_the_same_times_goes_on_where_it_was(store: Store) -> None:
    """Nothing fires twice and nothing is lost because somebody saved it again."""
    first = await made(store)
    moved = await move(store, next_ms=first.next_ms + 1, runs=7, last_ms=5)
    again = await save(store, defined(store, description="new"), first)
    assert (moved.next_ms, 7, 5) == (again.next_ms, again.runs, again.last_ms)
    other = await save(store, defined(store, every_seconds=7200), again)
    assert (True, 7) == (other.next_ms != again.next_ms, other.runs)


async def test_a_schedule_that_ends_while_it_is_changed_has_ended(store: Store) -> None:
    """Its last occurrence fires between reading and saving; saving does not bring it back to life."""
    before = await made(store, max_runs=1)
    await hours_late(store, 0.001)
    await fire(store)
    assert OVER == (await read(store)).state
    after = await save(store, defined(store, max_runs=1, description="x"), before)
    assert (OVER, 0, "x") == (after.state, after.next_ms, after.definition["description"])


async def test_a_raised_bound_lets_an_ended_schedule_go_on(store: Store) -> None:
    await made(store, max_runs=1)
    await hours_late(store, 0.001)
    await fire(store)
    after = await save(store, defined(store, max_runs=2), await read(store))
    assert (ACTIVE, 1) == (after.state, after.runs)
    assert after.next_ms > store.tasks.clock.now_ms()


async def test_a_lowered_bound_ends_it_without_another_run(store: Store) -> None:
    """Also when the schedule has fired since the bound was decided on."""
    await made(store, max_runs=5)
    await hours_late(store, 0.001)
    await move(store, runs=3)
    schedule = await read(store)
    await move(store, definition={**schedule.definition, "max_runs": 2})
    await fire(store)
    after = await read(store)
    assert (OVER, 3, []) == (after.state, after.runs, await kinds(store))


async def test_a_paused_schedule_does_not_fire_and_goes_on_with_what_is_to_come(store: Store) -> None:
    """The occurrences in between are not made up for."""
    first = await made(store)
    paused = await save(store, defined(store), first, is_paused=True)
    await hours_late(store, 3)
    await fire(store)
    assert (PAUSED, []) == ((await read(store)).state, await kinds(store))
    resumed = await save(store, defined(store), await read(store))
    assert (ACTIVE, True) == (resumed.state, resumed.next_ms > store.tasks.clock.now_ms())
    assert paused.version + 1 == resumed.version
    await fire(store)
    assert [] == await kinds(store)


async def test_dropping_a_schedule_takes_all_of_it_but_its_tasks(store: Store, deployment: Deployment) -> None:
    schedule = await made(store)
    await hours_late(store, 0.001)
    await fire(store)
    [task] = await tasks(store)
    dropped, found = await store.schedules.drop(schedule.member, ANY)
    assert (True, 1) == (dropped, found and found.runs)
    of_schedules = (b"s:", b"sh:", b"sb:", b"sched")  # sched, schedules
    assert not {key for key in deployment.all_keys() if key.partition(b"}:")[2].startswith(of_schedules)}
    assert "queued" == (await store.tasks.read([task.id]))[0].state  # type: ignore[union-attr]
    assert (False, None) == await store.schedules.drop(schedule.member, 2)


async def test_pages_are_by_name_over_all_shards(store: Store) -> None:
    """And of one namespace: others may have names that begin alike."""
    names = [f"n{number:02}" for number in range(20)]
    await asyncio.gather(*(made(store, name) for name in names))
    other = defined(store, "n00")
    other.namespace = "default2"
    await save(store, other)
    found = await store.schedules.page("default", 12)
    rest = await store.schedules.page("default", 12, found[-1].name)
    assert names == [one.name for one in found + rest]
    assert ["n00"] == [one.name for one in await store.schedules.page("default2", 12)]


@pytest.mark.parametrize("is_earlier", [True, False])
async def test_a_schedule_that_is_due_first_wakes_a_scheduler(
    store: Store, deployment: Deployment, is_earlier: bool
) -> None:
    """Nobody need look again and again."""
    schedule = await made(store)
    shard = store.schedules.shard_of(schedule.member)
    marker = keys.wake_schedules(shard)
    assert deployment.node(shard).delete(marker)
    other = next(f"x{n}" for n in range(1000) if store.schedules.shard_of(f"default/x{n}") == shard)
    await made(store, other, every_seconds=60 if is_earlier else 7200)
    assert is_earlier == bool(deployment.node(shard).exists(marker))
