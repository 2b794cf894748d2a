"""What the event stream promises to those who wait: woken at the end, also when Redis was away; nobody polls."""

from __future__ import annotations

import asyncio

from service.store import Store
from tests.store.acting import Worker, ask_cancel, new, state, submit, submit_everywhere
from tests.store.deployments import Deployment

DEADLINE_SECONDS = 30


async def soon(future: asyncio.Future[None]) -> None:
    await asyncio.wait_for(future, DEADLINE_SECONDS)


async def test_who_waits_is_woken_when_the_task_ends(store: Store, worker: Worker) -> None:
    """By success, failure and cancellation, in every shard; and by nothing before that."""
    ids = await submit_everywhere(store, each=3)
    waits = {id_: await store.events.ended(id_) for id_ in ids}
    leased = await worker.lease()
    assert not any(wait.done() for wait in waits.values())
    await worker.succeed(*leased[1:-1])
    await worker.fail(leased[0])
    await ask_cancel(store, leased[-1].id)
    await worker.end_cancelled(leased[-1])
    await asyncio.gather(*map(soon, waits.values()))
    assert not store.events.waiting


async def test_a_task_that_ended_before_the_first_look_is_not_missed(store: Store, worker: Worker) -> None:
    """Take the future, then read: between the two nothing falls."""
    [id_] = await submit(store, new())
    wait = await store.events.ended(id_)
    await worker.succeed(*await worker.lease())
    await soon(wait)
    assert "succeeded" == await state(store, id_)


async def test_many_wait_with_one_reader(store: Store, worker: Worker, deployment: Deployment) -> None:
    """A thousand long polls are one blocking read a server (a shard on a cluster)."""
    [id_] = await submit(store, new())
    waits = [await store.events.ended(id_) for _ in range(1000)]
    assert (16 if deployment.cluster else 1) == len(store.events.readers)
    await worker.succeed(*await worker.lease())
    await asyncio.gather(*map(soon, waits))


async def test_the_reader_survives_a_lost_connection(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Its connection is cut: who waits may be told to look again, and is told of the end."""
    [id_] = await submit(store, new())
    wait = await store.events.ended(id_)
    for client in deployment.clients:
        client.client_kill_filter(_type="normal", skipme=True)
    leased: list[object] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not leased:
            try:
                leased = list(await worker.lease())
                await worker.succeed(*leased)  # type: ignore[arg-type]
            except Exception:
                await asyncio.sleep(0.05)
        while await state(store, id_) != "succeeded":
            await wait
            wait = await store.events.ended(id_)
    wait.cancel()


async def test_waiting_is_given_up_without_a_trace(store: Store) -> None:
    """A client that goes away leaves nothing in memory."""
    [id_] = await submit(store, new())
    wait = await store.events.ended(id_)
    wait.cancel()
    await asyncio.sleep(0)
    assert not store.events.waiting


async def test_everything_that_happens_can_be_followed(store: Store, worker: Worker) -> None:
    """Queued, running, succeeded: as it happens, each once."""
    told: dict[bytes, list[str]] = {}
    started = asyncio.Event()

    async def follow(many: int) -> None:
        stream = store.events.follow()
        following = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.2)  # until it reads; what comes before that is not promised
        started.set()
        while sum(len(states) for states in told.values()) < 3 * many:
            for name, id_ in await following:
                told.setdefault(id_, []).append(name)
            following = asyncio.ensure_future(anext(stream))
        following.cancel()

    follower = asyncio.create_task(follow(2 * store.shards))
    await started.wait()
    ids = await submit_everywhere(store, each=2)
    await worker.succeed(*await worker.lease())
    await asyncio.wait_for(follower, DEADLINE_SECONDS)
    assert {id_: ["queued", "running", "succeeded"] for id_ in ids} == told
