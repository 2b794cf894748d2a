"""A cluster: a slot that moves under load, and what the servers and the library say meanwhile; and a failover."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from redis.exceptions import AskError, TryAgainError

from service.errors import StoreUnavailable
from service.ids import shard_of
from service.settings import Settings
from service.store import Store, keys
from service.store.endings import Ending
from service.store.scripts import SCRIPTS
from tests import servers
from tests.servers import Migration, until
from tests.store.acting import Worker, new, state, submit, submit_everywhere
from tests.store.deployments import Deployment

ON_CLUSTERS = pytest.mark.deployments("valkey-cluster", "redis-cluster")
DEADLINE_SECONDS = 120
SHARD = 3


def moving(deployment: Deployment) -> Migration:
    """A migration of the slot of a shard."""
    assert deployment.cluster is not None
    return deployment.cluster.migration(deployment.cluster.slot(keys.conf(SHARD)))


async def insist(call: Callable[[], object]) -> object:
    """Send again what was not answered, as the API's clients and the workers do."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                return await call()  # type: ignore[misc]
            except StoreUnavailable:
                await asyncio.sleep(0.02)


@ON_CLUSTERS
async def test_every_node_holds_tasks(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Sixteen shards on three nodes; lists and reads join them."""
    await submit_everywhere(store, each=2)
    assert all(client.dbsize() > 0 for client in deployment.clients)
    assert 32 == len(await worker.lease())


@ON_CLUSTERS
async def test_a_script_refuses_while_its_slot_moves(store: Store, deployment: Deployment) -> None:
    """Neither node runs it on the half of the keys that it has: TRYAGAIN or ASK, and nothing changes."""
    await store.tasks.submit_call(SHARD, [new() for _ in range(50)])
    migration = moving(deployment)
    source = next(c for n, c in zip(deployment.nodes, deployment.clients, strict=True) if n is migration.source)
    target = next(c for n, c in zip(deployment.nodes, deployment.clients, strict=True) if n is migration.target)
    named = (2, keys.conf(SHARD), keys.none(SHARD), keys.prefix(SHARD), bytes(16))
    text = SCRIPTS["read"].text
    migration.begin()
    with pytest.raises(TryAgainError):
        source.eval(text, *named)
    while True:
        moved = migration.move(7)
        with pytest.raises((AskError, TryAgainError)):
            source.eval(text, *named)
        with target.client() as asking:
            asking.execute_command("ASKING")
            with pytest.raises(TryAgainError):
                asking.eval(text, *named)
        if not moved:
            break
    migration.finish()
    assert target.eval(text, *named)


@ON_CLUSTERS
async def test_plain_commands_find_keys_while_their_slot_moves(store: Store, deployment: Deployment) -> None:
    """One key a command: it is where it is."""
    [taken] = await store.tasks.submit_call(SHARD, [new()])
    migration = moving(deployment)
    migration.begin()
    for _ in range(100):
        assert await insist(lambda: store.tasks.raw(taken.id)) is not None
        if not migration.move(1):
            break
    migration.finish()
    assert await store.tasks.raw(taken.id) is not None


@ON_CLUSTERS
async def test_a_slot_moves_under_load(store: Store, deployment: Deployment) -> None:
    """Tasks are submitted, leased and ended all the time: none is lost, none is done twice."""
    done: Counter[bytes] = Counter()
    taken: set[bytes] = set()
    is_moving, is_submitting = True, True

    async def submitter() -> None:
        nonlocal is_submitting
        n = 0
        while is_moving or n < 40:
            # A call that got no answer may have been taken in: its key says so.
            tasks = [new(key=f"{n}-{i}") for i in range(8)]
            for answer in await insist(lambda tasks=tasks: store.tasks.submit(tasks)):  # type: ignore[attr-defined]
                taken.add(answer.id)
            n += 1
        is_submitting = False

    async def works(shard: int) -> None:
        worker, finished = Worker(store, f"w{shard}"), []
        while is_submitting or len(taken) > len(done):
            token = worker.token()
            wants = [("default", "async", 5)]
            stepped = await insist(lambda f=finished, t=token, w=wants: worker.step(shard, f, w, t))
            for task in stepped.leased:  # type: ignore[attr-defined]
                done[task.id] += 1
            finished = [worker.ending(task, Ending("succeeded", b"1")) for task in stepped.leased]  # type: ignore[attr-defined]
            if not finished:
                await asyncio.sleep(0.01)
        await insist(lambda: worker.step(shard, finished))

    async def mover() -> None:
        nonlocal is_moving
        for _ in range(2):
            migration = moving(deployment)
            migration.begin()
            for _ in range(20):
                await asyncio.to_thread(migration.move, 2)
                await asyncio.sleep(0.01)
            await asyncio.to_thread(migration.finish)
            await asyncio.sleep(0.1)
        is_moving = False

    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(submitter(), mover(), *(works(shard) for shard in range(store.shards)))
    assert taken == set(done)
    assert {1} == set(done.values())
    assert {"succeeded"} == {await state(store, id_) for id_ in taken}
    assert SHARD in {shard_of(id_) for id_ in taken}


@ON_CLUSTERS
async def test_waiters_follow_a_slot_to_its_new_node(store: Store, worker: Worker, deployment: Deployment) -> None:
    """A long poll that began before the migration ends behind it."""
    [taken] = await store.tasks.submit_call(SHARD, [new()])
    wait = await store.events.ended(taken.id)
    migration = moving(deployment)
    migration.begin()
    migration.finish()
    leased = await insist(lambda: worker.step(SHARD, wants=[("default", "async", 1)]))
    await insist(lambda: worker.succeed(*leased.leased))  # type: ignore[attr-defined]
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await state(store, taken.id) != "succeeded" or not wait.done():
            await wait
    assert "succeeded" == await state(store, taken.id)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_work_goes_on_after_a_failover(kind: str) -> None:
    """Sentinel names another master: submissions, leases and waiters move there."""
    with servers.sentinel(kind) as watched:
        store = await Store.open(Settings(redis_url=watched.url), DEADLINE_SECONDS)
        worker = Worker(store)
        ids = await submit(store, *[new() for _ in range(5)])
        wait = await store.events.ended(ids[0])
        written = watched.master.admin.info("replication")["master_repl_offset"]
        replica = next(server for server in watched.pair if server is not watched.master)
        until(lambda: replica.admin.info("replication")["slave_repl_offset"] >= written, "the replica has it")
        await asyncio.to_thread(watched.fail_over)
        more = await insist(lambda: submit(store, new()))
        leased = await insist(worker.lease)
        assert {*ids, *more} == {task.id for task in leased}  # type: ignore[attr-defined,misc]
        await insist(lambda: worker.succeed(*leased))  # type: ignore[misc]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await state(store, ids[0]) != "succeeded" or not wait.done():
                await wait
        await store.close()
