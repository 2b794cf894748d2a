"""What groups promise: they take turns by their weights, and nobody waits for more than one round of the others."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from service.ids import shard_of
from service.store import Store
from service.store.tasks import New
from tests.store.acting import Worker, ask_cancel, new, snapshot, submit


async def put(store: Store, *tasks: New) -> list[bytes]:
    """The ids of *tasks*, all in the first shard: turns are promised within a shard."""
    ids: list[bytes] = []
    for start in range(0, len(tasks), 128):
        ids += [one.id for one in await store.tasks.submit_call(0, list(tasks[start : start + 128]))]
    return ids


async def groups_of(store: Store, worker: Worker, many: int) -> list[str]:
    """The groups of the next *many* tasks, in the order in which they are taken."""
    taken: list[str] = []
    while len(taken) < many:
        stepped = await worker.step(0, wants=[("default", "async", min(100, many - len(taken)))])
        assert stepped.leased
        taken += [(await snapshot(store, task.id)).record.ties.group for task in stepped.leased]
    return taken


async def test_a_single_task_waits_for_one_round_at_most(store: Store, worker: Worker) -> None:
    """Behind a crowd of others' tasks it is among the first as many as there are groups."""
    await put(store, *[new(group="crowd") for _ in range(1000)], *[new(group="few") for _ in range(3)])
    await put(store, new(group="late"))
    assert "late" in await groups_of(store, worker, 3)


async def test_a_group_that_joins_goes_before_any_second_round(store: Store, worker: Worker) -> None:
    """Whatever it is called, and wherever in their round the others are."""
    others = "abcde"
    await put(store, *[new(group=group) for group in others for _ in range(40)])
    for joined in range(20):
        await groups_of(store, worker, joined % 4 + 1)
        await put(store, new(group=f"z{joined}"))
        taken = Counter(await groups_of(store, worker, len(others) + 1))
        assert 1 == taken[f"z{joined}"], taken


async def test_groups_take_turns(store: Store, worker: Worker) -> None:
    """Each has the same part, while it has something to do."""
    await put(store, *[new(group=group) for group in "abc" for _ in range(40)])
    assert {"a": 20, "b": 20, "c": 20} == Counter(await groups_of(store, worker, 60))


async def test_turns_go_by_weight(store: Store, worker: Worker) -> None:
    """Three times the weight, three times the tasks."""
    await store.tasks.flows.weigh(store.shards, "default", "heavy", 3)
    await put(store, *[new(group=group) for group in ("heavy", "light") for _ in range(100)])
    assert {"heavy": 60, "light": 20} == Counter(await groups_of(store, worker, 80))


async def test_tasks_without_a_group_are_a_group_more(store: Store, worker: Worker) -> None:
    """A crowd of them holds no group back, nor the other way round."""
    await put(store, *[new() for _ in range(100)], *[new(group=group) for group in "ab" for _ in range(50)])
    counted = Counter(await groups_of(store, worker, 60))
    assert {19, 20, 21} >= set(counted.values()), counted


async def test_who_comes_back_has_saved_up_nothing(store: Store, worker: Worker) -> None:
    """A group, or the tasks without one, that had nothing to do for long shares from then on."""
    await put(store, *[new(group=group) for group in "ab" for _ in range(100)], new(group="c"), new())
    await groups_of(store, worker, 60)
    await put(store, *[new(group="c") for _ in range(50)], *[new() for _ in range(50)])
    counted = Counter(await groups_of(store, worker, 40))
    assert all(9 <= many <= 11 for many in counted.values()), counted
    assert 4 == len(counted)


async def test_who_comes_one_at_a_time_has_no_more_than_a_part(store: Store, worker: Worker) -> None:
    """A group that is empty after each of its tasks does not go before one that always waits."""
    await put(store, *[new(group="crowd") for _ in range(50)])
    taken = []
    for _ in range(20):
        await put(store, new(group="single"))
        taken += await groups_of(store, worker, 2)
    assert {"crowd": 20, "single": 20} == Counter(taken)


async def test_priority_goes_before_turns(store: Store, worker: Worker) -> None:
    """Groups share a priority, not a queue."""
    await put(store, *[new(group="a") for _ in range(10)], *[new(group="b", priority=9) for _ in range(10)])
    assert ["b"] * 10 == await groups_of(store, worker, 10)


async def test_a_thousand_groups_that_come_and_go_are_served_evenly(store: Store, worker: Worker) -> None:
    """Each with a few tasks, and every one is served before any is served twice."""
    names = [f"g{n}" for n in range(300)]
    await put(store, *[new(group=name) for name in names for _ in range(2)])
    first = await groups_of(store, worker, 300)
    assert set(names) == set(first)
    assert set(names) == set(await groups_of(store, worker, 300))
    assert [] == await worker.lease()


async def test_groups_share_a_full_key_by_turns(store: Store, worker: Worker) -> None:
    """Tenants that wait for the same service get its slots in turn, by weight, not as they came."""
    await store.tasks.flows.weigh(store.shards, "default", "heavy", 2)
    made = [new(group=group, flow="api", concurrency=1) for group in ("light", "other", "heavy") for _ in range(30)]
    await submit(store, *made)
    taken: Counter[str] = Counter()
    for _ in range(40):
        [task] = await worker.lease()
        taken[(await snapshot(store, task.id)).record.ties.group] += 1
        await worker.succeed(task)
    assert {"heavy": 20, "light": 10, "other": 10} == taken


async def test_within_a_group_tasks_go_as_they_came(store: Store, worker: Worker) -> None:
    """Also when some of them have flow keys."""
    ids = []
    for n in range(9):
        made = new(group="a", flow="api") if n % 3 == 0 else new(group="a")
        ids += await put(store, made)
        await asyncio.sleep(0.002)  # their order is that of the times in their ids
    assert ids == [task.id for task in (await worker.step(0, wants=[("default", "async", 20)])).leased]


@pytest.mark.parametrize("kind", [b"R", b"B", b"D"])
async def test_a_task_comes_back_to_its_group(store: Store, worker: Worker, kind: bytes) -> None:
    """Retried, handed back or deferred it keeps its line."""
    [first, second] = await put(store, *[new(group="a") for _ in range(2)])
    stepped = await worker.step(0, wants=[("default", "async", 1)])
    assert b"1" == await worker.again(kind, *stepped.leased)
    expected = [first, second] if kind == b"B" else [second, first]
    assert expected == [task.id for task in await worker.lease()]


async def test_groups_are_counted(store: Store, worker: Worker) -> None:
    """Their tasks that have not ended, and those that have a weight although they have none."""
    ids = await submit(store, *[new(group="a") for _ in range(3)], new(group="b", queue="mail"), new())
    await store.tasks.flows.weigh(store.shards, "default", "quiet", 0.5)
    await store.tasks.flows.weigh(store.shards, "default", "a", 2)
    assert "ended" == await ask_cancel(store, ids[0])
    await worker.lease()
    assert {"a": (2, 2.0), "quiet": (0, 0.5)} == await store.tasks.flows.groups(store.shards, "default")
    assert {"b": (1, 1.0)} == await store.tasks.flows.groups(store.shards, "mail")
    await store.tasks.flows.weigh(store.shards, "default", "quiet", 1)
    assert ["a"] == list(await store.tasks.flows.groups(store.shards, "default"))


async def test_a_forgotten_task_leaves_its_line(store: Store) -> None:
    """With every trace, as all that is forgotten."""
    [id_] = await submit(store, new(group="a"))
    assert "ended" == await ask_cancel(store, id_)
    assert 1 == await store.tasks.forget(id_, (await snapshot(store, id_)).record)
    await store.scripts.call(shard_of(id_), "retire")
    assert {} == await store.tasks.flows.groups(store.shards, "default")
