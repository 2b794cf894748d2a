"""Redis away: 503 in time, and back to work by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from service.completion import token_of
from service.ids import encode_id
from service.settings import Settings
from service.store import Store
from service.store.endings import Ending
from tests.api.serving import ADD, Serving, publish, serving
from tests.servers import Server
from tests.store.acting import Worker

pytestmark = pytest.mark.both_servers

DEADLINE_SECONDS = 30.0


async def known(server: Server) -> None:
    """Publish the demo handlers."""
    store = await Store.open(Settings(redis_url=server.url))
    await publish(store)
    await store.close()


async def until_status(api: Serving, wanted: int, path: str = "/readyz") -> httpx.Response:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (answer := await api.http.get(path)).status_code != wanted:
            await asyncio.sleep(0.05)
    return answer


def is_unavailable(answer: httpx.Response) -> None:
    assert (503, "/problems/store-unavailable") == (answer.status_code, answer.json()["type"]), answer.text
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("how", ["pause", "kill"])
async def test_outage_is_told_in_time_and_is_over_by_itself(start_server: Callable[..., Server], how: str) -> None:
    """Whether Redis is gone or only silent, every request has its 503; when it is back, nothing needs a restart."""
    server = start_server(appendonly="yes")
    await known(server)
    async with serving(server.url) as api:
        task = await api.submitted(ADD)
        getattr(server, how)()
        # Each request gives up by itself: the client's own time limit is far off, and no answer may need it.
        answers = await asyncio.gather(
            *(api.post(ADD) for _ in range(5)),
            api.post({"name": "of.nobody"}),
            api.http.get(f"/v1/tasks/{task['id']}"),
            api.http.get(f"/v1/tasks/{task['id']}?wait=25"),
            api.http.get("/v1/tasks"),
            api.http.get("/v1/queues"),
            api.http.get("/v1/workers"),
            api.http.post(f"/v1/tasks/{task['id']}/cancel"),
            api.http.delete(f"/v1/tasks/{task['id']}"),
            api.http.get("/readyz"),
        )
        for answer in answers:
            is_unavailable(answer)
            assert answer.elapsed.total_seconds() < 10
        assert 200 == (await api.http.get("/livez")).status_code
        batch = await api.http.post("/v1/tasks/batch", json=[ADD, {"x": 1}])
        assert [503, 422] == [one["status"] for one in batch.json()]
        server.resume() if how == "pause" else server.restart()
        await until_status(api, 200)
        await api.submitted(ADD)
        assert task["id"] == (await api.read(task["id"]))["id"]


async def test_service_answers_before_the_store_is_there(start_server: Callable[..., Server]) -> None:
    """It starts without Redis, says so, and works once Redis is there."""
    server = start_server()
    await known(server)
    server.kill()
    async with serving(server.url, is_ready=False) as api:
        assert 200 == (await api.http.get("/livez")).status_code
        for answer in (await api.post(ADD), await api.http.get("/v1/tasks"), await api.http.get("/readyz")):
            is_unavailable(answer)
        server.restart()
        await until_status(api, 200)
        assert 201 == (await api.post({"url": "http://a.example"})).status_code


async def test_flushed_server_needs_no_restart(api: Serving, redis_server: Server) -> None:
    """Scripts and tasks are gone; the next submission works."""
    await api.submitted(ADD)
    redis_server.admin.flushall()
    redis_server.admin.script_flush()
    await api.submitted({"url": "http://a.example"})
    assert 1 == len((await api.http.get("/v1/tasks")).json()["items"])


async def test_full_server_is_told_apart(start_server: Callable[..., Server]) -> None:
    """503 as well, with a type of its own, and the reason."""
    server = start_server(maxmemory="100mb")
    await known(server)
    async with serving(server.url) as api:
        await api.submitted(ADD)
        server.admin.config_set("maxmemory", 1_000_000)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (answer := await api.post(ADD)).status_code != 503:
                await asyncio.sleep(0.05)
        assert "/problems/store-full" == answer.json()["type"]
        assert answer.headers["retry-after"]
        assert 200 == (await api.http.get("/v1/tasks")).status_code
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await api.http.get("/readyz")).json()["checks"]["memory"] != "full":
                await asyncio.sleep(0.05)


async def test_a_result_that_was_left_out_is_gone_and_said_so(api: Serving, store: Store, worker: Worker) -> None:
    """The task succeeded; how large its result was is shown."""
    task = await api.submitted(ADD)
    [leased] = await worker.lease()
    await worker.report([leased], [worker.ending(leased, Ending("succeeded", dropped_bytes=5000))])
    assert ("succeeded", 5000) == ((shown := await api.read(task["id"]))["state"], shown["dropped_bytes"])
    gone = await api.http.get(f"/v1/tasks/{task['id']}/result")
    assert (410, True) == (gone.status_code, "5,000 bytes" in gone.json()["detail"])


async def test_process_that_stops_is_not_ready(api: Serving) -> None:
    """Load balancers look elsewhere from then on."""
    api.api.runtime.stop()
    answer = await api.http.get("/readyz")
    is_unavailable(answer)
    assert "stopping" == answer.json()["checks"]["process"]


async def test_an_endpoint_is_told_to_come_again(start_server: Callable[..., Server]) -> None:
    """What it says of its attempt while Redis is away is answered 503 in time, and taken once Redis is back."""
    server = start_server(appendonly="yes")
    await known(server)
    async with serving(server.url) as api:
        store = api.api.runtime.store
        task = await api.submitted({"url": "https://hooks.example.com/"})
        [leased] = await Worker(store).lease(lane="url")
        assert task["id"] == encode_id(leased.id)
        place = f"/v1/completions/{token_of(await store.completions.secret.get(), leased.id, leased.token)}"
        server.pause()
        for answer in await asyncio.gather(
            *(api.http.post(f"{place}/{action}") for action in ("complete", "heartbeat"))
        ):
            is_unavailable(answer)
        server.resume()
        await until_status(api, 200)
        assert 200 == (await api.http.post(f"{place}/complete", json={"result": 1})).status_code
        assert "succeeded" == (await api.read(task["id"]))["state"]
