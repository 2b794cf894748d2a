"""Workers, and processes of workers, that are killed: nothing is lost, and nothing kills for ever."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from service.store import Store
from tests.faults.acting import (
    Part,
    eventually,
    given,
    is_alive,
    lines,
    outcome,
    snapshot,
    submit,
    until_confirmed,
    until_ended,
    until_state,
)
from tests.store.acting import rows

pytestmark = pytest.mark.both_servers

Start = Callable[..., Part]


@pytest.mark.parametrize("left", ["worker", "scheduler"])
async def test_tasks_of_a_killed_worker_run_again(store: Store, start: Start, tmp_path: Path, left: str) -> None:
    """On a system with nothing else to do, whoever is left gives them back; a worker then runs them."""
    worker = await start().ready()
    path = str(tmp_path / "ran")
    ids = await submit(store, *[given("sleep", args={"seconds": 600, "path": path}) for _ in range(5)])
    await until_confirmed(store, *ids)
    other = start(left, queues="nothing") if left == "worker" else start(left)
    await other.ready()
    await worker.kill()
    for id_ in ids:
        assert "queued" == (await until_state(store, id_, "queued")).state
    await start().ready()
    await eventually(lambda: len(lines(path)) == 10)
    noted = await rows(store, ids[0])
    assert ["crashed"] == [row["outcome"] for row in noted]
    found = await snapshot(store, ids[0])
    assert found.run is not None
    assert (1, 0) == (found.run.attempt, found.run.crashes), "lost together, so none is to blame"


async def test_a_worker_takes_over_from_a_killed_one(store: Store, start: Start, tmp_path: Path) -> None:
    """Nothing but the other worker is there, and it is idle."""
    first = await start().ready()
    path = str(tmp_path / "ran")
    [id_] = await submit(store, given("sleep", args={"seconds": 0.5, "path": path}))
    await eventually(lambda: lines(path))
    first.signal_all(signal.SIGSTOP)  # so that it cannot finish before it dies
    await start().ready()
    await first.kill()
    [found] = await until_ended(store, id_)
    assert ("succeeded", "slept") == outcome(found)
    assert 2 == len(lines(path))


async def test_a_killed_worker_counts_a_crash_once_its_heartbeat_was_heard(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """A single task, alone on its worker for a heartbeat: it is to blame, and keeps its attempt."""
    worker = await start().ready()
    [id_] = await submit(store, given("sleep", args={"seconds": 600}))
    await until_confirmed(store, id_)
    await start("scheduler").ready()
    await worker.kill()
    found = await until_state(store, id_, "queued")
    assert found.run is not None
    assert (0, 1) == (found.run.attempt, found.run.crashes)


async def test_a_task_that_may_not_crash_never_runs_again(store: Store, start: Start, tmp_path: Path) -> None:
    """`max_crashes` 0: work that must not repeat fails as `worker_lost`, beside others and before any heartbeat too."""
    worker = await start(heartbeat_ms="1000").ready()
    paths, go = [tmp_path / "once", tmp_path / "again"], tmp_path / "go"
    once, again = await submit(
        store,
        given("sleep", args={"seconds": 600, "path": str(paths[0])}, max_crashes=0),
        given("until", args={"go": str(go), "path": str(paths[1])}),
    )
    await eventually(lambda: lines(paths[0]) and lines(paths[1]))
    await start().ready()
    await worker.kill()
    go.touch()
    found = await until_ended(store, once, again)
    assert [("failed", "worker_lost"), ("succeeded", "gone")] == [outcome(one) for one in found]
    assert (1, 2) == (len(lines(paths[0])), len(lines(paths[1])))


async def test_tasks_of_a_killed_process_come_back_at_once(store: Store, start: Start, tmp_path: Path) -> None:
    """Its parent saw it die; nobody waits for a lease of ten minutes."""
    worker = await start(lease_ms="600000", heartbeat_ms="5000").ready()
    path = tmp_path / "ran"
    ids = await submit(store, *[given("sleep", args={"seconds": 0.3, "path": str(path)}) for _ in range(3)])
    await eventually(lambda: len(lines(path)) == 3)
    [child] = worker.children()
    os.kill(child, signal.SIGKILL)
    found = await until_ended(store, *ids)
    assert {("succeeded", "slept")} == {outcome(one) for one in found}
    assert re.search(r"was ended by SIGKILL; it had used up to \d+ MiB of memory; tasks that it held: 3", worker.text)
    assert [child] != worker.children()
    for id_ in ids:
        [crashed] = [row for row in await rows(store, id_) if row["outcome"] == "crashed"]
        assert re.fullmatch(
            r"its worker process was ended by SIGKILL; it had used up to \d+ MiB of memory; it ran 3 tasks",
            crashed["error"]["message"],
        )


async def test_another_process_takes_the_tasks_of_a_killed_one(store: Store, start: Start, tmp_path: Path) -> None:
    """The one beside it need not wait until it is back."""
    worker = await start(processes="2", lease_ms="600000", heartbeat_ms="5000", concurrency="1").ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("sleep", args={"seconds": 1, "path": str(path)}))
    [pid] = await eventually(lambda: lines(path))
    os.kill(pid, signal.SIGKILL)
    await until_ended(store, id_)
    assert 2 == len(set(lines(path)))
    await eventually(lambda: len(worker.children()) == 2)


async def test_a_task_that_kills_its_process_ends_as_worker_lost(store: Store, start: Start, tmp_path: Path) -> None:
    """After `max_crashes` crashes, each with its process; the worker lives on."""
    worker = await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("kill", args={"path": str(path)}, max_crashes=2))
    [found] = await until_ended(store, id_)
    assert ("failed", "worker_lost") == outcome(found)
    assert (3, 3) == (len(lines(path)), (found.record.outcome or {})["crashes"])
    assert ["crashed"] * 3 == [row["outcome"] for row in await rows(store, id_)]
    [sound] = await submit(store, given("add", args={"a": 1, "b": 2}))
    assert [("succeeded", 3)] == [outcome(one) for one in await until_ended(store, sound)]
    assert await worker.stop() == 0


async def test_a_task_that_kills_the_whole_worker_ends_as_worker_lost(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """Also before the first heartbeat was heard; however many workers it takes."""
    path = tmp_path / "ran"
    [id_] = await submit(store, given("kill_worker", args={"path": str(path)}, max_crashes=0))
    worker = start()
    await worker.ended()
    await start("scheduler").ready()
    [found] = await until_ended(store, id_)
    assert ("failed", "worker_lost") == outcome(found)
    assert 1 == len(lines(path))


async def test_children_die_with_their_parent(store: Store, start: Start) -> None:
    """A worker killed by SIGKILL leaves no process behind that goes on running tasks."""
    worker = await start(processes="3").ready()
    children = worker.children()
    assert 3 == len(children)
    await worker.kill()
    assert not any(is_alive(pid) for pid in children)


@pytest.mark.parametrize(
    ("handlers", "told"),
    [
        ("tests.faults.nowhere", "there is no module 'tests.faults.nowhere'"),
        ("tests.faults.broken", "ZeroDivisionError"),
    ],
)
async def test_handlers_that_cannot_be_loaded_end_the_worker(
    store: Store, start: Start, handlers: str, told: str
) -> None:
    """With the reason and status 1, at once: starting again would not help."""
    worker = start(handlers=handlers, processes="2")
    assert 1 == await worker.ended()
    assert told in worker.text
    assert worker.text.count(" ERROR ") <= 2, "once a process, not in a loop"


async def test_a_duty_that_breaks_ends_its_process_and_says_why(store: Store, start: Start) -> None:
    """A process without one of its duties must not live on half; its parent starts another, with growing pauses."""
    worker = start(handlers="tests.faults.sabotage:registry")
    await eventually(lambda: worker.text.count("ended with exit code 1") >= 2)
    assert worker.text.count("a fault of ours ends this worker process") >= 2
    assert "a duty is broken" in worker.text
    assert 0 == await worker.stop()


@pytest.mark.parametrize("deployment", [1, 3], indirect=True)
async def test_two_tasks_that_kill_are_the_only_two_that_fail(store: Store, start: Start, tmp_path: Path) -> None:
    """A hundred run together, and two of them kill the process: the others succeed, each of them once it runs alone."""
    path = str(tmp_path / "ran")
    poison = [given("kill_beside", args={"path": path, "many": 50}, max_crashes=1) for _ in range(2)]
    sound = [given("sleep", args={"seconds": 0.02}, max_crashes=1) for _ in range(98)]
    ids = await submit(store, *sound[:40], *poison, *sound[40:])
    worker = await start(concurrency="100").ready()
    found = dict(zip(ids, await until_ended(store, *ids), strict=True))
    failed = [id_ for id_ in ids if found[id_].state == "failed"]
    assert ids[40:42] == failed
    assert {("failed", "worker_lost")} == {outcome(found[id_]) for id_ in failed}
    assert {("succeeded", "slept")} == {outcome(found[id_]) for id_ in ids if id_ not in failed}
    assert await worker.stop() == 0


async def test_a_suspect_runs_once_the_long_tasks_beside_it_are_done(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """Its process takes no other work until it is empty; then the suspect runs, and then what waited."""
    path, go = tmp_path / "ran", tmp_path / "go"
    worker = await start(processes="2", concurrency="3").ready()
    ids = await submit(store, *[given("until", args={"go": str(go), "path": str(path)}) for _ in range(6)])
    await eventually(lambda: len(lines(path)) == 6)
    os.kill(lines(path)[0], signal.SIGKILL)
    suspects = await eventually(lambda: suspects_of(store, ids))
    assert 3 == len(suspects)
    go.touch()
    assert {("succeeded", "gone")} == {outcome(one) for one in await until_ended(store, *ids)}
    assert await worker.stop() == 0


async def suspects_of(store: Store, ids: list[bytes]) -> list[bytes]:
    """Those of *ids* that were lost together."""
    found = await store.tasks.read(ids)
    return [one.id for one in found if one is not None and one.run is not None and one.run.is_suspect]


@pytest.mark.full
async def test_with_the_default_lease_tasks_of_a_killed_worker_come_back(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """The true lengths: a lease of 15 s, a heartbeat of 5 s."""
    path = tmp_path / "ran"
    settings = {"lease_ms": "15000", "heartbeat_ms": "5000"}
    worker = await start(**settings).ready()
    [id_] = await submit(store, given("sleep", args={"seconds": 600, "path": str(path)}))
    await eventually(lambda: lines(path))
    await start(**settings).ready()
    await worker.kill()
    await eventually(lambda: len(lines(path)) == 2)
    assert "running" == (await snapshot(store, id_)).state
