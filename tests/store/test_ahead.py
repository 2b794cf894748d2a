"""What goes before a task, estimated: tasks without ties, and those that wait in lines for a key or a turn."""

from __future__ import annotations

from service.store import Store
from service.store.ahead import ahead_of
from service.store.tasks import New
from tests.store.acting import Worker, new, snapshot
from tests.store.test_groups import put


async def ahead(store: Store, id_: bytes) -> int:
    return await ahead_of(store.tasks.scripts, await snapshot(store, id_))


async def last_of(store: Store, *tasks: New) -> bytes:
    return (await put(store, *tasks))[-1]


async def test_groups_take_turns_with_tasks_that_have_none(store: Store) -> None:
    """A crowd's whole line is not before a single plain task, but its turns are; by weight."""
    await put(store, *[new(group="crowd") for _ in range(500)], *[new(group="few") for _ in range(2)])
    plain = await last_of(store, *[new() for _ in range(1)])
    assert 2 == await ahead(store, plain), "one of each group"
    await store.tasks.flows.weigh(store.shards, "default", "crowd", 10)
    assert 11 == await ahead(store, plain)
    second = await last_of(store, new(group="few"))
    assert 2 <= await ahead(store, second) <= 2 + 30 + 1, "its own two, ten of the crowd a turn, and the plain one"


async def test_lines_of_higher_priority_go_first(store: Store) -> None:
    """Whatever group or key they wait for; lower ones and those of another lane do not."""
    await put(store, *[new(group="a", priority=7) for _ in range(20)], *[new(priority=9) for _ in range(3)])
    await put(store, *[new(group="a", priority=2) for _ in range(9)], *[new(group="a", lane="url") for _ in range(9)])
    assert 23 == await ahead(store, await last_of(store, new()))


async def test_tasks_of_a_key_that_has_room_go_first_when_they_are_older(store: Store, worker: Worker) -> None:
    """Once the key is found full, its tasks go before nobody."""
    held = await store.tasks.submit([new(flow="k", concurrency=1) for _ in range(40)])
    shard = held[0].id[6]
    plain = (await store.tasks.submit_call(shard, [new()]))[0].id
    assert 40 == await ahead(store, plain)
    assert 1 == len((await worker.step(shard, wants=[("default", "async", 1)])).leased)
    assert [plain] == [task.id for task in (await worker.step(shard, wants=[("default", "async", 100)])).leased]
    later = (await store.tasks.submit_call(shard, [new()]))[0].id
    assert 0 == await ahead(store, later)


async def test_many_lines_are_estimated_by_some(store: Store) -> None:
    """Three hundred groups with a task each; a hundred are looked at."""
    await put(store, *[new(group=f"g{n}") for n in range(300)])
    assert 300 == await ahead(store, await last_of(store, new()))
