"""Idle workers start what there is at once, and what was missed within seconds."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from service.store import Store
from tests.faults.acting import (
    Part,
    eventually,
    given,
    lines,
    outcome,
    snapshot,
    state,
    submit,
    until_ended,
)
from tests.servers import Server

pytestmark = pytest.mark.both_servers

Start = Callable[..., Part]


@pytest.mark.parametrize("delay_ms", [300, 7000])
async def test_delayed_tasks_start_on_time_on_an_idle_system(store: Store, start: Start, delay_ms: int) -> None:
    """Nothing else goes on; the delays lie below and above the longest rest of a worker."""
    await start().ready()
    ids = await submit(store, *[given("add", args={"a": 1, "b": 2}, delay_ms=delay_ms + n) for n in (0, 40, 80)])
    assert ["scheduled"] * 3 == [await state(store, id_) for id_ in ids]
    for n, found in zip((0, 40, 80), await until_ended(store, *ids), strict=True):
        started_ms, due_ms = (
            (found.record.outcome or {})["started_ms"],
            int.from_bytes(found.id[:6], "big") + delay_ms + n,
        )
        assert 0 <= started_ms - due_ms + 5, "not early"
        assert started_ms - due_ms < 5000, "by a timer, not by the look that comes every five seconds"


async def test_a_nearer_task_starts_before_one_further_away(store: Store, start: Start) -> None:
    """A worker that sleeps until the far one is woken for the near one."""
    await start().ready()
    [far] = await submit(store, given("add", args={"a": 1, "b": 2}, delay_ms=600_000))
    [near] = await submit(store, given("add", args={"a": 1, "b": 2}, delay_ms=200))
    await until_ended(store, near)
    assert "scheduled" == await state(store, far)


async def test_a_lost_marker_costs_seconds_only(store: Store, start: Start, redis_server: Server) -> None:
    """The marker of a submission is taken away before any worker hears it."""
    worker = await start().ready()
    [id_] = await submit(store, given("add", args={"a": 1, "b": 2}))
    await until_ended(store, id_)
    worker.signal(signal.SIGSTOP)  # the parent, which listens for markers
    [lost] = await submit(store, given("add", args={"a": 1, "b": 2}))
    redis_server.admin.delete("tp:{0}:wake:default:a")
    await until_ended(store, lost)
    worker.signal(signal.SIGCONT)


async def test_a_new_queue_is_served_at_once(store: Store, start: Start) -> None:
    """Also beside a worker that serves chosen queues and wants no news of others."""
    await start(queues="chosen").ready()
    await start().ready()
    waited_ms = []
    for n in range(5):
        [id_] = await submit(store, given("add", args={"a": 1, "b": 2}, queue=f"new-{n}"))
        [found] = await until_ended(store, id_)
        waited_ms.append((found.record.outcome or {})["started_ms"] - int.from_bytes(id_[:6], "big"))
    assert min(waited_ms) < 1000, "not by the look that comes every five seconds"
    assert sum(waited_ms) < 15_000


async def test_a_worker_of_chosen_queues_serves_no_other(store: Store, start: Start) -> None:
    """TASKPOST_QUEUES."""
    await start(queues="one, two").ready()
    ids = await submit(store, *[given("add", args={"a": 1, "b": 2}, queue=queue) for queue in ("three", "one", "two")])
    await until_ended(store, *ids[1:])
    assert "queued" == await state(store, ids[0])
    await start(queues="three").ready()
    await until_ended(store, ids[0])


async def test_two_workers_share_the_work(store: Store, start: Start, tmp_path: Path) -> None:
    """Each process gets some; no task runs twice."""
    await start(processes="2", concurrency="5").ready()
    await start(processes="1", concurrency="5").ready()
    path = tmp_path / "ran"
    ids = await submit(store, *[given("sleep", args={"seconds": 0.1, "path": str(path)}) for _ in range(90)])
    assert {("succeeded", "slept")} == {outcome(one) for one in await until_ended(store, *ids)}
    ran = Counter(lines(path))
    assert (90, 3) == (ran.total(), len(ran))


async def test_a_full_lane_keeps_no_other_waiting(store: Store, start: Start, tmp_path: Path) -> None:
    """All threads are taken, and more wait; coroutines run all the same, and threads follow as they come free."""
    await start(threads="2").ready()
    path = tmp_path / "ran"
    slow = await submit(store, *[given("thread", args={"seconds": 1, "path": str(path)}, lane="thread")] * 6)
    await eventually(lambda: len(lines(path)) == 2)
    quick = await submit(store, *[given("add", args={"a": 1, "b": 2})] * 10)
    assert {("succeeded", 3)} == {outcome(one) for one in await until_ended(store, *quick)}
    assert "queued" == await state(store, slow[-1])
    assert {("succeeded", "slept")} == {outcome(one) for one in await until_ended(store, *slow)}


async def test_a_marker_for_a_full_worker_reaches_another(store: Store, start: Start, tmp_path: Path) -> None:
    """One worker has no slot left; the other, idle, takes what comes."""
    await start(concurrency="1").ready()
    path = tmp_path / "ran"
    [held] = await submit(store, given("sleep", args={"seconds": 600, "path": str(path)}))
    await eventually(lambda: lines(path))
    await start(concurrency="1").ready()
    for _ in range(20):
        [id_] = await submit(store, given("add", args={"a": 1, "b": 2}))
        await until_ended(store, id_)
    assert "running" == (await snapshot(store, held)).state


@pytest.mark.parametrize("deployment", [1, 16], indirect=True)
async def test_queues_are_taken_by_their_weights(store: Store, start: Start, tmp_path: Path) -> None:
    """While both have work one queue gets five times as much, in every lane, from two processes; none starves."""
    ids, args = [], {"seconds": 0.01, "path": str(tmp_path / "ran")}
    for lane, name in (("async", "sleep"), ("thread", "thread")):
        for queue in ("low", "high"):
            tasks = [given(name, args=args, lane=lane, queue=queue) for _ in range(160)]
            ids += [id_ for task in tasks for id_ in await submit(store, task)]  # one by one, to all shards in turn
    await start(queues="high:5,low:1", processes="2", concurrency="2", threads="2").ready()
    found = await until_ended(store, *ids)
    for lane in ("async", "thread"):
        begun = [one for one in found if one.record.lane == lane]
        begun.sort(key=lambda one: (one.record.outcome or {})["started_ms"])
        order = [one.record.queue for one in begun]
        assert 76 <= order[:108].count("high") <= 102, order


async def test_in_strict_order_the_first_queue_is_emptied_first(store: Store, start: Start, tmp_path: Path) -> None:
    """TASKPOST_QUEUE_ORDER=strict; the last queue is served all the same, and wakes an idle worker."""
    args = {"seconds": 0.01, "path": str(tmp_path / "ran")}
    tasks = [given("sleep", args=args, queue=queue) for queue in ("last", "first") for _ in range(40)]
    ids = await submit(store, *tasks)
    await start(queues="first,last", queue_order="strict", concurrency="3").ready()
    found = await until_ended(store, *ids)
    found.sort(key=lambda one: (one.record.outcome or {})["started_ms"])
    assert {"first"} == {one.record.queue for one in found[:38]}
    for n in range(3):
        [id_] = await submit(store, given("add", args={"a": 1, "b": n}, queue="last"))
        [one] = await until_ended(store, id_)
        waited_ms = (one.record.outcome or {})["started_ms"] - int.from_bytes(id_[:6], "big")
        assert waited_ms < 5000, "woken, not by the look that comes every five seconds"


async def test_a_worker_with_queues_that_cannot_be_served_says_so_and_ends(start: Start) -> None:
    """A sentence instead of a worker that serves something else."""
    worker = start(queues="high:5,low:much")
    assert 0 != await worker.ended()
    assert "TASKPOST_QUEUES=high:5,low:much: low:much needs a whole number" in worker.text
    assert "Traceback" not in worker.text
