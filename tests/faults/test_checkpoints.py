"""Checkpoints of long tasks: whatever ends the worker, and wherever, the next one goes on from there."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.ids import shard_of
from service.store import Store, keys
from tests.faults.acting import Part, eventually, outcome, until_ended
from tests.faults.import_handlers import STEPS
from tests.store.acting import new, snapshot, submit
from tests.store.deployments import Deployment

Start = Callable[..., Part]
LANES = ["async", pytest.param("thread", marks=pytest.mark.full), "process"]


def imported(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def given(name: str, lane: str, **args: Any) -> Any:
    return new({"name": f"import.{name}", "args": args}, lane=lane, max_crashes=100)


async def import_with_interruptions(
    store: Store, start: Start, path: Path, lane: str, rows: int, interrupt: Callable[[Part], None], **settings: str
) -> None:
    """Import *rows*; the worker that runs it is interrupted once at each step of each row, with another one waiting."""
    settings |= {"handlers": "tests.faults.import_handlers", "threads": "1"}
    worker = await start(**settings).ready()
    [id_] = await submit(store, given(lane, lane, path=str(path), rows=rows))
    for row in range(1, rows + 1):
        for step in STEPS:
            next_ = start(**settings)
            await eventually(Path(f"{path}.{step}.{row}").exists, f"it is at {step} of row {row}")
            await next_.ready()
            found = await snapshot(store, id_)
            assert found.run is not None
            # What a dead worker held may have gone to either of the two.
            holder, other = (next_, worker) if f"-{next_.process.pid}-" in found.run.worker else (worker, next_)
            interrupt(holder)
            worker = other
    [found] = await until_ended(store, id_)
    assert ("succeeded", rows) == outcome(found)
    # Interrupted before its row was written, after that, and after it was kept: one more writing of each, no other.
    assert [row for row in range(1, rows + 1) for _ in range(2)] == imported(path)
    assert found.checkpoint is None


@pytest.mark.parametrize("lane", LANES)
async def test_an_import_whose_host_is_killed_at_each_step_repeats_only_what_was_in_flight(
    store: Store, start: Start, tmp_path: Path, lane: str
) -> None:
    """SIGKILL to the whole worker before each row, after it was written, after it was kept: in order, none left out."""
    await import_with_interruptions(
        store, start, tmp_path / "rows", lane, 2, lambda worker: worker.signal_all(signal.SIGKILL)
    )


@pytest.mark.parametrize("lane", LANES)
async def test_an_import_goes_on_through_a_rolling_stop_at_each_step(
    store: Store, start: Start, tmp_path: Path, lane: str
) -> None:
    """SIGTERM, as a deploy sends it: the same, and no attempt is spent."""
    await import_with_interruptions(
        store, start, tmp_path / "rows", lane, 3, lambda worker: worker.signal(signal.SIGTERM), drain_seconds="0"
    )


async def test_a_host_that_is_killed_while_a_checkpoint_is_on_its_way_repeats_one_step_at_most(
    store: Store, start: Start, tmp_path: Path, deployment: Deployment
) -> None:
    """Whether Redis has heard of it or not."""
    path, go = tmp_path / "rows", tmp_path / "go"
    worker = await start(handlers="tests.faults.import_handlers").ready()
    [id_] = await submit(store, given("ask", "async", path=str(path), go=str(go)))
    await eventually(lambda: imported(path) == [1, 2])
    deployment.node(shard_of(id_)).execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    try:
        go.touch()
        await eventually(lambda: imported(Path(f"{path}.asks")))
        await asyncio.sleep(0.05)  # so that it is on its way; were it not yet, the claim holds as well
        worker.signal_all(signal.SIGKILL)
    finally:
        deployment.node(shard_of(id_)).execute_command("CLIENT", "UNPAUSE")
    await start(handlers="tests.faults.import_handlers").ready()
    [found] = await until_ended(store, id_)
    assert ("succeeded", 2) == outcome(found)
    assert imported(path) in ([1, 2], [1, 2, 2])


async def test_a_late_worker_cannot_overwrite_a_checkpoint_and_learns_that_its_lease_is_lost(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """It was paused longer than its lease; when it goes on, the other one\'s word stands, and it stops."""
    path, go = tmp_path / "pids", tmp_path / "go"
    late = await start(handlers="tests.faults.import_handlers").ready()
    [id_] = await submit(store, given("beside", "async", path=str(path), go=str(go)))

    async def kept() -> int | None:
        stored = await store.scripts.command("GET", keys.checkpoint(id_))
        return json.loads(stored[10:])["pid"] if stored else None

    await eventually(lambda: imported(path))
    await eventually(kept)
    late.signal_all(signal.SIGSTOP)
    await start(handlers="tests.faults.import_handlers").ready()
    pids = await eventually(lambda: imported(path) if len(imported(path)) == 2 else None)

    async def is_overtaken() -> bool:
        return await kept() == pids[1]

    await eventually(is_overtaken)
    late.signal_all(signal.SIGCONT)
    await eventually(lambda: "its lease was lost" in late.text)
    assert await is_overtaken()
    assert "Traceback" not in late.text
    assert pids == imported(path), "the late one has not begun again"
    go.touch()
    assert [("succeeded", "gone")] == [outcome(one) for one in await until_ended(store, id_)]


async def test_a_checkpoint_survives_every_way_to_come_back(store: Store, start: Start) -> None:
    """A defer, a retry, the death of its process: each finds what the one before has kept."""
    await start(handlers="tests.faults.import_handlers").ready()
    [id_] = await submit(store, given("defer", "process"))
    [found] = await until_ended(store, id_)
    assert ("succeeded", [1, 1, 2, 2]) == outcome(found)


@pytest.mark.parametrize(("name", "lane"), [("ask", "async"), ("ask_process", "process")])
async def test_a_checkpoint_waits_until_redis_is_back(
    store: Store, start: Start, tmp_path: Path, deployment: Deployment, name: str, lane: str
) -> None:
    """Nothing fails and nothing is repeated while the server takes no writes."""
    path, go = tmp_path / "rows", tmp_path / "go"
    worker = await start(
        handlers="tests.faults.import_handlers", lease_ms="60000", heartbeat_ms="5000"
    ).ready()  # fmt: skip
    [id_] = await submit(store, given(name, lane, path=str(path), go=str(go)))
    await eventually(lambda: imported(path) == [1, 2])
    deployment.node(shard_of(id_)).execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    try:
        go.touch()
        await eventually(lambda: "checkpoints (1) wait" in worker.text)
    finally:
        deployment.node(shard_of(id_)).execute_command("CLIENT", "UNPAUSE")
    [found] = await until_ended(store, id_)
    assert ("succeeded", 2) == outcome(found)
    assert [1, 2] == imported(path)
