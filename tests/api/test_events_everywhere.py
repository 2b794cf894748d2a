"""Events over sixteen shards, on a cluster, and while Redis is away: nothing is missed, and nothing comes twice."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable

import httpx
import pytest

from service.settings import Settings
from service.store import Store
from tests.api.live import Reader, Seen, following, told
from tests.api.serving import ADD, Serving, publish, serving
from tests.servers import Server
from tests.store.acting import Worker

WHOLE_LIFE = ["queued", "running", "succeeded"]
DEADLINE_SECONDS = 60.0


async def live_through(api: Serving, worker: Worker, many: int) -> list[str]:
    """Ids of so many tasks that were done, in all shards."""
    batch = [{**ADD, "idempotency_key": f"{many}-{n}"} for n in range(many)]
    receipts = (await api.http.post("/v1/tasks/batch", json=batch)).json()
    done = 0
    while done < many:
        leased = await worker.lease()
        await worker.succeed(*leased)
        done += len(leased)
    return [one["task"]["id"] for one in receipts]


def lives(events: list[Seen]) -> dict[str, list[str]]:
    """What was told of each task, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for id_, state in told(events):
        found[id_].append(state)
    return dict(found)


async def see_everything(redis_url: str) -> None:
    """One client that stays, and one that comes back after every few events."""
    store = await Store.open(Settings(redis_url=redis_url, shards=16))
    try:
        await publish(store)
        async with serving(redis_url, shards=16) as api, following(api.http) as whole:
            async with following(api.http) as stream:
                last_id, seen = stream.last_id, list[Seen]()
                seen.append((await asyncio.gather(stream.next(), live_through(api, Worker(store), 64)))[0])
                last_id = stream.last_id
            while len(seen) < 3 * 64:
                async with following(api.http, last_id=last_id) as stream:
                    seen += await stream.take(min(7, 3 * 64 - len(seen)))
                    last_id = stream.last_id
            expected = lives(await whole.take(3 * 64))
            assert [WHOLE_LIFE] * 64 == list(expected.values())
            assert expected == lives(seen)
    finally:
        await store.close()


async def test_sixteen_shards_on_one_server(redis_url: str) -> None:
    """A cursor names a place in each of them."""
    await see_everything(redis_url)


@pytest.mark.full
async def test_a_cluster_of_three_nodes(cluster_url: str) -> None:
    """With a reader for each shard."""
    await see_everything(cluster_url)


async def test_a_cursor_of_another_deployment_is_told_as_a_gap(redis_url: str) -> None:
    """Its shards are others; what happens now is told all the same."""
    store = await Store.open(Settings(redis_url=redis_url, shards=16))
    await publish(store)
    async with serving(redis_url, shards=16) as api, following(api.http, last_id="AQAAAAAAAAAAAAA") as stream:
        gap = await stream.next()
        assert ("gap", "replaced") == (gap.kind, gap.data["reason"])
        task = await api.submitted(ADD)
        assert [(task["id"], "queued")] == told([await stream.next()])
    await store.close()


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_streams_outlive_an_outage(start_server: Callable[..., Server], how: str) -> None:
    """Clients stay; when Redis is back they are told what happens, and all of it."""
    server = start_server(appendonly="yes", appendfsync="always")
    store = await Store.open(Settings(redis_url=server.url))
    await publish(store)
    async with serving(server.url) as api, following(api.http) as stream:
        before = await live_through(api, Worker(store), 3)
        seen = await stream.take(9)
        getattr(server, how)()
        await until_status(api, 503)
        server.restart() if how == "kill" else server.resume()
        await until_status(api, 200)
        after = await live_through(api, Worker(store, "w2"), 4)
        seen += await stream.take(12)
        assert dict.fromkeys(before + after, WHOLE_LIFE) == lives(seen)
    await store.close()


async def until_status(api: Serving, wanted: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await api.http.get("/readyz")).status_code != wanted:
            await asyncio.sleep(0.05)


async def test_a_stream_that_cannot_begin_is_refused(start_server: Callable[..., Server]) -> None:
    """With 503, in time, while Redis is away and nobody follows yet."""
    server = start_server()
    async with serving(server.url) as api:
        server.pause()
        for path in ("/v1/events", f"/v1/tasks/{'0' * 26}/events"):
            answer = await api.http.get(path)
            assert (503, "/problems/store-unavailable") == (answer.status_code, answer.json()["type"])
        server.resume()
        await until_status(api, 200)
        async with following(api.http):
            assert 1 == len(api.api.runtime.hub.following)


async def test_a_store_that_lost_everything_is_told(start_server: Callable[..., Server]) -> None:
    """Redis comes back empty: who followed is told that something is missing, and goes on."""
    server = start_server()
    store = await Store.open(Settings(redis_url=server.url))
    await publish(store)
    async with serving(server.url) as api, following(api.http) as stream:
        await api.submitted(ADD)
        await stream.next()
        server.kill()
        server.restart()
        async with asyncio.timeout(DEADLINE_SECONDS):
            events = await stream.until(lambda event: event.kind == "gap")
        assert "replaced" == events[-1].data["reason"]
        await until_status(api, 200)
        await publish(store)
        task: httpx.Response | None = None
        while task is None or task.status_code != 201:
            task = await api.post(ADD)
        events = await stream.until(lambda event: event.kind == "task")
        assert task.json()["id"] == events[-1].data["id"]
    await store.close()


async def test_many_clients_are_told_the_same_by_one_look_up(redis_url: str) -> None:
    """A hundred follow everything, a hundred a state, a hundred a task each; each task is read once for all."""
    store = await Store.open(Settings(redis_url=redis_url))
    await publish(store)
    reads: Counter[bytes] = Counter()
    async with serving(redis_url) as api:
        tasks = api.api.runtime.store.tasks
        original = tasks.read

        async def counted(ids: list[bytes]) -> list[object]:
            reads.update(ids)
            return await original(ids)  # type: ignore[return-value]

        async with httpx.AsyncClient(
            base_url=api.http.base_url, timeout=60, trust_env=False, limits=httpx.Limits(max_connections=1000)
        ) as http, asyncio.TaskGroup() as group:
            begun, few = 0, asyncio.Semaphore(20)  # few begin at once, so that each is answered in time
            waiting = [await api.submitted({**ADD, "delay_seconds": 1000}) for _ in range(20)]

            async def follow(path: str, most: int) -> list[Seen]:
                nonlocal begun
                async with few, http.stream("GET", path) as answer:
                    assert 200 == answer.status_code
                    begun += 1
                    few.release()
                    try:
                        return await Reader(answer).take(most)
                    finally:
                        await few.acquire()

            everything = [group.create_task(follow("/v1/events", 30)) for _ in range(100)]
            some = [group.create_task(follow("/v1/events?queue=default&state=succeeded", 10)) for _ in range(100)]
            one = [group.create_task(follow(f"/v1/tasks/{task['id']}/events", 1)) for task in waiting * 5]
            while begun < 300:
                await asyncio.sleep(0.01)
            tasks.read = counted  # type: ignore[method-assign, assignment]
            ids = await live_through(api, Worker(store), 10)
        assert {tuple(ids)} == {tuple(lives(each.result())) for each in everything}
        assert {tuple(ids)} == {tuple(lives(each.result())) for each in some}
        assert {1} == {len(each.result()) for each in one}
        assert 10 == len(reads)
        assert max(reads.values()) <= 2  # when it was queued, and when it ran
    await store.close()
