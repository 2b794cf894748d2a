"""A flow key while workers die: no more of its tasks run at once than may, and all are done."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.flow import flow_hash
from service.store import Store
from service.store.flows import shard_of
from tests.faults.acting import Part, eventually, given, lines, outcome, until_ended
from tests.store.acting import new, submit

pytestmark = pytest.mark.both_servers

Start = Callable[..., Part]
KEY, PLACES, MANY = "api.example.com", 3, 60


def keyed(folder: Path, many: int) -> list[Any]:
    """Tasks of the key in two queues, which each take a place that is really there."""
    args = {"folder": str(folder), "most": PLACES, "seconds": 0.1}
    task = {"name": "faults.place", "args": args}
    queues = ("default", "other")
    return [new(task, queue=queues[n % 2], flow=KEY, concurrency=PLACES, max_crashes=100) for n in range(many)]


@pytest.mark.parametrize("deployment", [1, 16], indirect=True)
async def test_a_key_holds_while_workers_are_killed(store: Store, start: Start, tmp_path: Path) -> None:
    """
    Over workers, processes and shards, when a process dies and when a whole worker does, in the midst of others' tasks.

    The kernel counts: each task takes one of three locks, which are free as soon as who holds them is dead.
    """
    started, over = tmp_path / "started", tmp_path / "over"
    settings = {"processes": "2", "shards": str(store.shards)}
    workers = [await start(**settings).ready() for _ in range(2)]
    await start("scheduler").ready()
    ids = await submit(store, *keyed(tmp_path, MANY))
    assert {shard_of(flow_hash("default", KEY), store.shards)} == {id_[6] for id_ in ids}
    ids += await submit(store, *[given("sleep", args={"seconds": 0.01}, max_crashes=100) for _ in range(200)])

    async def began(many: int) -> None:
        await eventually(lambda: len(lines(started)) >= many, f"{many} have begun")

    await began(6)
    for child in workers[0].children():  # whichever of the two runs some
        os.kill(child, signal.SIGKILL)
        await began(min(len(lines(started)) + 4, MANY))
    await workers[1].kill()
    await start(**settings).ready()
    found = await until_ended(store, *ids)
    assert {("succeeded", "had a place"), ("succeeded", "slept")} == {outcome(one) for one in found}
    assert [] == lines(over, "over"), "a task that began while three others ran"
    assert len(lines(started)) >= MANY
    standing = await store.tasks.flows.read(store.shards, "default", KEY)
    assert standing is not None
    assert (PLACES, 0, 0) == (standing.concurrency, standing.running, standing.waiting)
