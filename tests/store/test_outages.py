"""What happens to the store when Redis hangs, restarts, is emptied or replaced; nothing of ours needs a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from service.errors import InvalidSetting, StoreFull, StoreUnavailable
from service.scheduler.janitor import Janitor
from service.settings import Settings
from service.store import Store, keys
from service.store.endings import Ending
from service.store.memory import EVERY_SECONDS
from tests.servers import Server
from tests.store import invariants
from tests.store.acting import Worker, ask_cancel, new, state, submit, submit_everywhere
from tests.store.deployments import Deployment

KINDS = ["valkey", pytest.param("redis", marks=pytest.mark.full)]
DEADLINE_SECONDS = 60
BIG = {"name": "n", "args": {"x": "x" * 10_000}}


@pytest.fixture(params=KINDS)
def own(request: pytest.FixtureRequest, start_server: Callable[..., Server]) -> Server:
    """A server of the test's own, which keeps an append-only file."""
    return start_server(request.param, appendonly="yes", appendfsync="always")


@pytest.fixture
async def own_store(own: Server) -> AsyncIterator[Store]:
    opened = await Store.open(Settings(redis_url=own.url), DEADLINE_SECONDS)
    yield opened
    await opened.close()


async def recovered(store: Store) -> None:
    """Until the store answers again."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await store.ping()
                return
            except StoreUnavailable:
                await asyncio.sleep(0.05)


def agree(server: Server) -> None:
    """The keyspace of a server of the test's own has no faults."""
    deployment = Deployment(server.url, [server], 1)
    assert [] == invariants.faults_of(deployment)
    deployment.close()


async def test_scripts_are_loaded_again_after_a_flush(store: Store, worker: Worker, deployment: Deployment) -> None:
    """SCRIPT FLUSH in the middle of work is not noticed."""
    ids = await submit_everywhere(store, each=2)
    for client in deployment.clients:
        client.script_flush()
    leased = await worker.lease()
    for client in deployment.clients:
        client.script_flush()
    assert b"1" * len(ids) == await worker.succeed(*leased)


async def test_an_emptied_server_needs_no_restart(store: Store, worker: Worker, deployment: Deployment) -> None:
    """FLUSHALL in the middle: what was held is lost and said to be; new work goes on."""
    await submit_everywhere(store, each=3)
    leased = await worker.lease()
    deployment.empty()
    assert b"0" * len(leased) == await worker.succeed(*leased)
    assert b"0" == await store.tasks.extend(0, [(leased[0].id, leased[0].token)], 15_000)
    ids = await submit_everywhere(store, each=3)
    assert b"1" * len(ids) == await worker.succeed(*await worker.lease())


async def test_tasks_survive_a_crash_of_the_server(own: Server, own_store: Store) -> None:
    """Killed and started again: a waiter is woken, a lease holds, the submission that failed is answered 503."""
    worker = Worker(own_store)
    ids = await submit(own_store, new(), new())
    one, two = await worker.lease()
    wait = await own_store.events.ended(ids[0])
    await asyncio.to_thread(own.kill)
    with pytest.raises(StoreUnavailable) as caught:
        await own_store.tasks.submit([new()])
    assert "2" == caught.value.headers["Retry-After"]
    await asyncio.to_thread(own.restart)
    await recovered(own_store)
    assert b"11" == await worker.succeed(one, two)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await state(own_store, ids[0]) != "succeeded":
            await wait
            wait = await own_store.events.ended(ids[0])
    agree(own)


async def test_a_hanging_server_is_given_up_in_time(own: Server, own_store: Store) -> None:
    """The process is stopped in place: everybody is answered within two seconds, also those who came later."""
    own.pause()
    started = time.monotonic()
    waiting = [asyncio.create_task(own_store.tasks.submit([new()]))]
    await asyncio.sleep(0.5)
    waiting += [asyncio.create_task(own_store.tasks.submit([new()])) for _ in range(50)]
    waiting.append(asyncio.create_task(own_store.tasks.read([bytes(16)])))  # type: ignore[arg-type]
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {StoreUnavailable} == {type(answer) for answer in answers}
    assert time.monotonic() - started < DEADLINE_SECONDS
    own.resume()
    await recovered(own_store)
    await submit(own_store, new())


async def test_a_step_repeated_through_an_outage_counts_once(own: Server, own_store: Store) -> None:
    """The worker sends the same call until it is answered; its results are recorded once."""
    worker = Worker(own_store)
    await submit(own_store, *[new() for _ in range(10)])
    leased = await worker.lease()
    token = worker.token()
    reports = [worker.ending(task, Ending("succeeded", b"5")) for task in leased]
    own.pause()
    with pytest.raises(StoreUnavailable):
        await worker.step(0, reports, token=token)
    own.resume()
    await recovered(own_store)
    stepped = await worker.step(0, reports, token=token)
    assert b"1" * 10 == stepped.statuses
    agree(own)


async def test_the_store_waits_for_a_server_that_is_not_there_yet(start_server: Callable[..., Server]) -> None:
    """Processes may start before Redis does."""
    server = start_server("valkey")
    url = server.url
    server.kill()
    with pytest.raises(StoreUnavailable):
        await Store.open(Settings(redis_url=url), 0.2)
    opening = asyncio.create_task(Store.open(Settings(redis_url=url), DEADLINE_SECONDS))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(server.restart)
    store = await opening
    assert store.is_ready
    await store.close()


@pytest.mark.deployments("valkey-1", "valkey-16", "valkey-cluster")
async def test_the_number_of_shards_is_agreed_once(deployment: Deployment) -> None:
    """A process that was configured with another number refuses to start; one that says nothing adopts it."""
    store = await deployment.open()
    adopting = await Store.open(Settings(redis_url=deployment.url), DEADLINE_SECONDS)
    assert deployment.shards == adopting.shards
    with pytest.raises(InvalidSetting, match=f"a deployment of {deployment.shards} shards"):
        await Store.open(Settings(redis_url=deployment.url, shards=5), DEADLINE_SECONDS)
    await adopting.close()
    await store.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_server_refuses_tasks_and_lets_work_finish(start_server: Callable[..., Server], kind: str) -> None:
    """Submissions are answered 503; what runs is recorded, cancelled and forgotten, and frees memory."""
    server = start_server(kind)
    store = await Store.open(Settings(redis_url=server.url, max_memory_ratio=1), DEADLINE_SECONDS)
    worker = Worker(store)
    ids = await submit(store, *[new(BIG) for _ in range(300)])
    leased = await worker.lease(room=20)
    server.admin.config_set("maxmemory", server.admin.info("memory")["used_memory"] - 100_000)
    with pytest.raises(StoreFull) as caught:
        await store.tasks.submit_call(0, [new()])
    assert "2" == caught.value.headers["Retry-After"]
    assert b"1" * len(leased) == await worker.succeed(*leased)
    assert "ended" == await ask_cancel(store, ids[-1])
    assert "succeeded" == await state(store, ids[0])
    more = await worker.lease(room=20)
    assert more
    assert b"1" * len(more) == await worker.succeed(*more)
    server.admin.config_set("maxmemory", 0)
    await submit(store, new())
    await store.close()
    agree(server)


async def test_submissions_stop_below_the_limit(start_server: Callable[..., Server]) -> None:
    """Finishing needs memory too, so some is left for it; the answer says how much is used."""
    server = start_server("valkey")
    store = await Store.open(Settings(redis_url=server.url, max_memory_ratio=0.5), DEADLINE_SECONDS)
    await submit(store, new())
    used = server.admin.info("memory")["used_memory"]
    server.admin.config_set("maxmemory", int(used * 1.5))
    store.memory.asked -= EVERY_SECONDS
    refused = await until_submitting(store, is_full=True)
    assert refused is not None
    assert "over the share of 0.5" in refused.detail
    server.admin.config_set("maxmemory", used * 10)
    await until_submitting(store, is_full=False)
    await store.close()


async def test_a_ceiling_of_our_own_holds_where_redis_has_none(start_server: Callable[..., Server]) -> None:
    """Submissions are refused above so many bytes, work in hand drains, and its large results are left out."""
    server = start_server("valkey")
    store = await Store.open(Settings(redis_url=server.url), DEADLINE_SECONDS)
    worker = Worker(store)
    await submit(store, *[new() for _ in range(3)])
    leased = await worker.lease()
    store.memory.most_bytes = server.admin.info("memory")["used_memory"] - 1000
    store.memory.asked -= EVERY_SECONDS
    refused = await until_submitting(store, is_full=True)
    assert refused is not None
    assert "raise TASKPOST_MAX_MEMORY_BYTES" in refused.detail
    for task, size in zip(leased, (10, 5000, 5000), strict=True):
        ending = Ending("succeeded", b'"%b"' % (b"x" * size))
        store.memory.relieve(ending)
        assert b"1" == await worker.report([task], [worker.ending(task, ending)])
    found = await store.tasks.read([task.id for task in leased])
    kept = [(len(task.record.outcome.get("result", "")), task.record.outcome.get("dropped_bytes")) for task in found]  # type: ignore[union-attr]
    assert [(10, None), (0, 5002), (0, 5002)] == kept
    store.memory.most_bytes = 0
    await until_submitting(store, is_full=False)
    await store.close()
    agree(server)


async def test_the_oldest_successes_go_first_when_redis_is_nearly_full(start_server: Callable[..., Server]) -> None:
    """None that ended within a minute, no failure, and nothing that waits; the rest stays until there is room."""
    server = start_server("valkey")
    store = await Store.open(Settings(redis_url=server.url), DEADLINE_SECONDS)
    worker = Worker(store)
    await submit(store, *[new() for _ in range(6)])
    leased = await worker.lease()
    await worker.succeed(*leased[:4])
    await worker.fail(leased[4])
    janitor = Janitor(store, store.settings)
    store.memory.most_bytes = 1
    await janitor.do(0)
    assert ["succeeded"] * 4 == [await state(store, task.id) for task in leased[:4]], "they are young"
    for task in leased[:2]:
        server.admin.zadd(keys.ended(0, False), {task.id: store.tasks.clock.now_ms() - 120_000})
    await janitor.do(0)
    states = [await state(store, task.id) for task in leased]
    assert [None, None, "succeeded", "succeeded", "failed", "running"] == states
    await store.close()


async def until_submitting(store: Store, *, is_full: bool) -> StoreFull | None:
    """Submit until that is refused, or accepted."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            refused = None
            try:
                await submit(store, new())
            except StoreFull as exc:
                refused = exc
            if is_full == (refused is not None):
                return refused
            await asyncio.sleep(0.05)


@pytest.mark.deployments("valkey-cluster", "redis-cluster")
async def test_memory_is_watched_on_every_node(store: Store, deployment: Deployment) -> None:
    """One full node of a cluster is enough to refuse."""
    full = deployment.nodes[1].admin
    full.config_set("maxmemory", full.info("memory")["used_memory"] + 1000)
    try:
        await store.memory.look()
        with pytest.raises(StoreFull):
            store.memory.check()
    finally:
        full.config_set("maxmemory", 0)
    await store.memory.look()
    store.memory.check()
