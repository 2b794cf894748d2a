"""
`durability`: a submission that is answered when Redis has it on disk, or at a replica.

On servers of its own, which keep files and have replicas.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.ids import new_ids
from service.settings import Settings
from service.store import Store
from tests import servers
from tests.api.serving import ADD, Serving, publish, serving, until_async
from tests.servers import Sentinels, Server

SAFE = {**ADD, "durability": "fsync"}
COPIED = {**ADD, "durability": "replica"}


@pytest.fixture(scope="module")
def disk() -> Iterator[Server]:
    """A server that writes its file to disk once a second."""
    with servers.single("valkey", appendonly="yes", appendfsync="everysec") as server:
        yield server


@pytest.fixture(scope="module")
def pair() -> Iterator[Sentinels]:
    """A master and its replica."""
    with servers.sentinel("valkey") as watched:
        yield watched


async def prepared(url: str) -> None:
    store = await Store.open(Settings(redis_url=url), 30)
    await publish(store)
    await store.close()


def waits(server: Server, command: str) -> int:
    """How often the server was asked to wait."""
    told = server.admin.info("commandstats").get(f"cmdstat_{command}")
    return int(told["calls"]) if told else 0


async def test_the_answer_comes_when_it_is_on_disk(disk: Server) -> None:
    """Redis was asked to wait, once for all that came together; what is not asked for that is answered at once."""
    await prepared(disk.url)
    async with serving(disk.url) as api:
        task = await api.submitted(ADD)
        assert ("queued", 0) == (task["state"], waits(disk, "waitaof"))
        task = await api.submitted(SAFE)
        assert "durability" not in task
        assert task == await api.read(task["id"])
        before = waits(disk, "waitaof")
        tasks = await asyncio.gather(*(api.submitted(SAFE) for _ in range(50)))
        assert waits(disk, "waitaof") - before < 10
        assert 50 == len({one["id"] for one in tasks})


async def test_a_batch_and_a_stream_wait_for_those_that_ask(disk: Server) -> None:
    """Each with its own receipt."""
    await prepared(disk.url)
    async with serving(disk.url) as api:
        before = waits(disk, "waitaof")
        receipts = (await api.http.post("/v1/tasks/batch", json=[ADD, SAFE, {"name": "demo.add"}, SAFE])).json()
        assert [201, 201, 422, 201] == [one["status"] for one in receipts]
        assert waits(disk, "waitaof") > before
        lines = b'{"name":"demo.add","args":{"a":1,"b":2},"durability":"fsync"}\n' * 3
        headers = {"content-type": "application/x-ndjson"}
        streamed = await api.http.post("/v1/tasks/stream", content=lines, headers=headers)
        assert 3 == streamed.text.count('"status":201')


async def test_the_same_key_waits_once_more_and_means_the_same_task(disk: Server) -> None:
    """How durable an answer is to be is no part of what is submitted."""
    await prepared(disk.url)
    async with serving(disk.url) as api:
        first = await api.submitted({**ADD, "idempotency_key": "k-1"})
        before = waits(disk, "waitaof")
        again = await api.post({**SAFE, "idempotency_key": "k-1"})
        assert (200, first["id"]) == (again.status_code, again.json()["id"])
        assert waits(disk, "waitaof") > before


async def test_a_setting_says_it_for_all_that_say_nothing(disk: Server) -> None:
    await prepared(disk.url)
    async with serving(disk.url, durability="fsync") as api:
        before = waits(disk, "waitaof")
        await api.submitted({**ADD, "durability": "memory"})
        assert before == waits(disk, "waitaof")
        await api.submitted(ADD)
        assert waits(disk, "waitaof") > before


async def refused(api: Serving, submission: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post(submission)
    problem: dict[str, Any] = answer.json()
    assert (501, "/problems/durability-missing") == (answer.status_code, problem["type"])
    assert "/durability" == problem["errors"][0]["pointer"]
    return problem


@pytest.mark.parametrize("shared_server", ["valkey", pytest.param("redis", marks=pytest.mark.full)], indirect=True)
async def test_what_redis_cannot_do_is_refused_and_nothing_is_stored(api: Serving) -> None:
    """
    No append-only file, or a Redis that is too old; no replica, though one may come. Of a batch only those that ask
    for it.
    """
    assert "appendonly yes" in (await refused(api, SAFE))["detail"]
    problem = await not_durable(api, COPIED)
    assert ("Nothing was stored" in problem["detail"], "task_id" in problem) == (True, False)
    receipts = (await api.http.post("/v1/tasks/batch", json=[SAFE, ADD, COPIED])).json()
    assert [501, 201, 503] == [one["status"] for one in receipts]
    assert 1 == len((await api.http.get("/v1/tasks")).json()["items"])


async def not_durable(api: Serving, submission: dict[str, Any]) -> dict[str, Any]:
    answer: httpx.Response = await api.post(submission)
    problem: dict[str, Any] = answer.json()
    assert (503, "/problems/not-durable") == (answer.status_code, problem["type"]), problem
    assert answer.headers["retry-after"]
    return problem


async def test_a_disk_that_is_never_waited_for_is_told_with_the_task(disk: Server) -> None:
    """`appendfsync no` never says that anything is on disk: the task is there, and its id is in the problem."""
    await prepared(disk.url)
    async with serving(disk.url) as api:
        await api.submitted(SAFE)
        disk.admin.config_set("appendfsync", "no")
        try:
            problem = await not_durable(api, {**SAFE, "idempotency_key": "late"})
            assert "queued" == (await api.read(problem["task_id"]))["state"]
            [receipt] = (await api.http.post("/v1/tasks/batch", json=[SAFE])).json()
            assert 503 == receipt["status"]
        finally:
            disk.admin.config_set("appendfsync", "everysec")
        again = await api.post({**SAFE, "idempotency_key": "late"})
        assert (200, problem["task_id"]) == (again.status_code, again.json()["id"])


async def test_a_redis_that_dies_meanwhile_confirms_nothing(disk: Server) -> None:
    """The wait is cut off: the task is there when Redis is, and the same submission is confirmed then."""
    await prepared(disk.url)
    async with serving(disk.url) as api:
        await api.submitted(SAFE)
        disk.admin.config_set("appendfsync", "no")  # so that the wait lasts
        asked = asyncio.create_task(api.post({**SAFE, "idempotency_key": "cut-off"}))

        async def is_waiting() -> bool:
            return any(one["cmd"] == "waitaof" and "b" in one["flags"] for one in disk.admin.client_list())

        await until_async(is_waiting, "Redis waits")
        disk.kill()
        answer = await asked
        assert (503, "/problems/not-durable") == (answer.status_code, answer.json()["type"])
        disk.restart()

        async def is_confirmed() -> bool:
            again = await api.post({**SAFE, "idempotency_key": "cut-off"})
            return bool(again.status_code == 200 and again.json()["id"] == answer.json()["task_id"])

        await until_async(is_confirmed, "the same submission is confirmed")


async def test_a_task_that_is_gone_is_not_confirmed(disk: Server) -> None:
    """As after a failover to a server that never had it: that the disk is written says nothing of it."""
    store = await Store.open(Settings(redis_url=disk.url), 30)
    [unknown] = new_ids(0, 1, store.tasks.clock.now_ms())
    assert [unknown] == list(await store.fences.wait("fsync", [unknown]))
    await store.close()


@pytest.mark.full
async def test_a_replica_has_it_before_the_answer(pair: Sentinels) -> None:
    """A replica that stands still confirms nothing; when it goes on, the same submission is confirmed."""
    await prepared(pair.url)
    replica = next(one for one in pair.pair if one is not pair.master)
    async with serving(pair.url) as api:
        task = await api.submitted(COPIED)
        assert 1 == replica.admin.eval("return #redis.call('KEYS', 'tp:*:t:*')", 0), task
        replica.pause()
        try:
            problem = await not_durable(api, {**COPIED, "idempotency_key": "slow"})
        finally:
            replica.resume()
        again = await api.post({**COPIED, "idempotency_key": "slow"})
        assert problem["task_id"] == again.json()["id"]


@pytest.mark.full
async def test_on_a_cluster_each_node_waits_for_its_own() -> None:
    """Tasks of several shards in one batch."""
    with servers.cluster("valkey", appendonly="yes", appendfsync="always") as formed:
        await prepared(formed.url)
        async with serving(formed.url) as api:
            batch = [{**SAFE, "idempotency_key": f"b{n}"} for n in range(8)]
            receipts = (await api.http.post("/v1/tasks/batch", json=batch)).json()
            assert [201] * 8 == [one["status"] for one in receipts]
            for n in range(8):
                await api.submitted({**SAFE, "idempotency_key": f"k{n}"})
        assert all(waits(node, "waitaof") for node in formed.nodes)
