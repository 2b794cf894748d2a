"""Commands to workers: they wait in order for a worker that lives, and never for ever."""

from __future__ import annotations

from typing import Any

import orjson

from service.store import Store, keys
from service.store.wakes import COMMAND
from tests.store.deployments import Deployment

WORKER = {"id": "w-1", "started_ms": 0, "handlers": []}


async def announced(store: Store, **detail: Any) -> None:
    await store.workers.announce(WORKER, store.tasks.clock.now_ms(), detail)


async def test_commands_wait_in_order_until_they_are_obeyed(store: Store, deployment: Deployment) -> None:
    """The marker of the worker is raised, and both go by themselves when nobody comes."""
    await announced(store)
    one, two = {"id": "a", "kind": "quiet"}, {"id": "b", "kind": "resume"}
    assert await store.workers.command("w-1", one)
    assert await store.workers.command("w-1", two)
    texts = await store.workers.commands("w-1")
    assert [one, two] == [orjson.loads(text) for text in texts]
    node, marker = deployment.node(0), keys.wake_worker(0, "w-1")
    assert [COMMAND] == node.zrange(marker, 0, -1)
    assert 0 < node.pttl(marker) <= 600_000
    assert 0 < node.pttl(keys.commands("w-1")) <= 600_000
    await store.workers.heeded("w-1", texts[:1])
    assert texts[1:] == await store.workers.commands("w-1")


async def test_a_command_that_was_told_twice_is_taken_away_once(store: Store) -> None:
    """A call whose answer was lost is sent again: the worker knows both by one id."""
    await announced(store)
    for _ in range(2):
        assert await store.workers.command("w-1", {"id": "a", "kind": "quiet"})
    texts = await store.workers.commands("w-1")
    assert 1 == len(set(texts))
    await store.workers.heeded("w-1", texts[:1])
    assert [] == await store.workers.commands("w-1")


async def test_nobody_is_told_who_is_not_there(store: Store, deployment: Deployment) -> None:
    """Nor is anything kept for somebody who might come."""
    before = deployment.all_keys()
    assert not await store.workers.command("w-1", {"id": "a", "kind": "quiet"})
    assert before == deployment.all_keys()


async def test_a_worker_that_leaves_takes_all_of_it_along(store: Store) -> None:
    """What it told of itself, and what it was told."""
    await announced(store, tasks=[])
    assert await store.workers.command("w-1", {"id": "a", "kind": "stop"})
    assert {**WORKER, "tasks": []} == await store.workers.read("w-1")
    await store.workers.leave("w-1")
    assert (None, []) == (await store.workers.read("w-1"), await store.workers.commands("w-1"))


async def test_lists_of_workers_carry_no_detail(store: Store) -> None:
    """A hundred busy workers can be listed."""
    await announced(store, tasks=[["x"] * 8] * 200)
    assert [WORKER] == await store.workers.live(store.tasks.clock.now_ms())
