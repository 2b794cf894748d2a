"""Thousands of tasks over many shards and several workers, also while these are killed: all end, once each."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.store import Store
from tests import servers
from tests.faults.acting import Part, eventually, given, lines, outcome, submit, until_ended
from tests.servers import Cluster
from tests.store import invariants
from tests.store.deployments import Deployment

pytestmark = pytest.mark.both_servers

Start = Callable[..., Part]
sixteen = pytest.mark.parametrize("deployment", [16], indirect=True)


async def submit_many(store: Store, many: int, path: Path) -> list[bytes]:
    """*many* tasks, over all shards and three queues."""
    ids: list[bytes] = []
    for start in range(0, many, 50):
        queue = ("default", "one", "two")[start // 50 % 3]
        ids += await submit(
            store,
            *[given("add", args={"a": n, "b": 1, "path": str(path)}, queue=queue) for n in range(start, start + 50)],
        )
    return ids


async def check(store: Store, ids: list[bytes]) -> None:
    """All of them have succeeded with their own result."""
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        found = await until_ended(store, *some)
        assert [("succeeded", n + 1) for n in range(start, start + len(some))] == [outcome(one) for one in found]


@sixteen
async def test_tasks_of_sixteen_shards_are_done(store: Store, start: Start, tmp_path: Path) -> None:
    """One server, sixteen shards, two workers of two processes."""
    path = tmp_path / "ran"
    workers = [start(processes="2", shards="16") for _ in range(2)]
    start("scheduler")
    ids = await submit_many(store, 3000, path)
    assert 16 == len({id_[6] for id_ in ids})
    await check(store, ids)
    assert 3000 == len(lines(path))
    assert [0, 0] == [await worker.stop() for worker in workers]


@sixteen
async def test_killed_processes_lose_nothing_under_load(store: Store, start: Start, tmp_path: Path) -> None:
    """Processes die all the time, by chance in the middle of a report; a task may run again, none is lost."""
    path = tmp_path / "ran"
    worker = await start(processes="2", shards="16").ready()
    await start("scheduler").ready()
    ids: list[bytes] = []
    for _ in range(4):
        first = len(lines(path))
        ids += await submit(store, *[given("add", args={"a": n, "b": 1, "path": str(path)}) for n in range(500)])
        await eventually(lambda first=first: len(lines(path)) > first)
        for child in worker.children()[:1]:
            os.kill(child, signal.SIGKILL)
    found = await until_ended(store, *ids)
    assert {"succeeded"} == {one.state for one in found}
    assert [n % 500 + 1 for n in range(2000)] == [(one.record.outcome or {})["result"] for one in found]


@pytest.fixture
def whole_cluster(redis_cluster: Cluster) -> Iterator[Deployment]:
    made = Deployment(redis_cluster.url, redis_cluster.nodes, 16, redis_cluster)
    yield made
    made.close()


@pytest.mark.cluster
async def test_tasks_of_a_cluster_are_done(whole_cluster: Deployment, tmp_path: Path) -> None:
    """Three nodes, sixteen shards: delayed, retried, cancelled and plain ones, by two workers and a scheduler."""
    store = await whole_cluster.open()
    path = tmp_path / "ran"
    parts = [
        Part(kind, tmp_path / f"{number}.log", whole_cluster.url, {"processes": "2"} if kind == "worker" else {})
        for number, kind in enumerate(("worker", "worker", "scheduler"))
    ]
    try:
        ids = await submit_many(store, 2000, path)
        later = await submit(store, *[given("add", args={"a": 1, "b": 1}, delay_ms=50 * n) for n in range(40)])
        again = await submit(store, *[given("flaky", args={"fail_times": 1}, backoff=[0.05]) for _ in range(40)])
        await check(store, ids)
        assert {("succeeded", 2)} == {outcome(one) for one in await until_ended(store, *later)}
        assert {("succeeded", "attempt 2")} == {outcome(one) for one in await until_ended(store, *again)}
        assert 2000 == len(lines(path))
        assert [0, 0, 0] == [await part.stop() for part in parts]
        assert [] == invariants.faults_of(whole_cluster)
    finally:
        for part in parts:
            part.close()
            print(part.text)
        await store.close()


@pytest.mark.cluster
@pytest.mark.full
async def test_a_dead_node_stops_only_its_own_shards(tmp_path: Path) -> None:
    """Tasks of the other shards keep their leases and their pace; when the node is back, so are its tasks."""
    with servers.cluster("valkey", appendonly="yes", cluster_require_full_coverage="no") as formed:
        deployment = Deployment(formed.url, formed.nodes, 16, formed)
        store = await deployment.open()
        worker = Part("worker", tmp_path / "worker.log", formed.url, {"lease_ms": "10000", "heartbeat_ms": "1000"})
        try:
            await worker.ready()
            path = tmp_path / "ran"
            tasks = [given("sleep", args={"seconds": 15, "path": str(path)}) for _ in range(32)]
            ids = [id_ for task in tasks for id_ in await submit(store, task)]
            await eventually(lambda: len(lines(path)) == 32)
            formed.nodes[2].kill()
            await eventually(lambda: "Trying again" in worker.text)
            formed.nodes[2].restart()
            found = await until_ended(store, *ids)
            assert {("succeeded", "slept")} == {outcome(one) for one in found}
            assert 32 == len(lines(path))
            assert 0 == await worker.stop()
        finally:
            worker.close()
            print(worker.text)
            await store.close()
            deployment.close()
