"""Workers that are paused, and workers that are asked to stop: late results lose, and nobody waits for the end."""

from __future__ import annotations

import asyncio
import signal
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
    state,
    submit,
    until_confirmed,
    until_ended,
    until_state,
)

pytestmark = pytest.mark.both_servers

Start = Callable[..., Part]


async def test_a_late_worker_cannot_replace_the_result(store: Store, start: Start, tmp_path: Path) -> None:
    """Paused as a whole beyond its lease, it comes back with a result of its own: refused, and it works on."""
    late = await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("sleep", args={"seconds": 1, "path": str(path)}))
    await until_confirmed(store, id_)
    late.signal_all(signal.SIGSTOP)
    other = await start().ready()
    await until_ended(store, id_)
    before = await store.tasks.raw(id_)
    assert 0 == await other.stop()
    late.signal_all(signal.SIGCONT)
    await eventually(lambda: "its lease was lost" in late.text)
    assert before == await store.tasks.raw(id_)
    [next_] = await submit(store, given("add", args={"a": 1, "b": 2}))
    assert [("succeeded", 3)] == [outcome(one) for one in await until_ended(store, next_)]


async def test_a_late_worker_stops_what_is_no_longer_its_own(store: Store, start: Start, tmp_path: Path) -> None:
    """The other worker still runs the task when the late one wakes up: only one of them goes on."""
    late = await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("sleep", args={"seconds": 600, "path": str(path)}))
    await until_confirmed(store, id_)
    late.signal_all(signal.SIGSTOP)
    await start().ready()
    await eventually(lambda: len(lines(path)) == 2)
    late.signal_all(signal.SIGCONT)
    await eventually(lambda: "its lease was lost" in late.text)
    assert "running" == await state(store, id_)
    assert 2 == len(lines(path))


async def test_a_pause_is_no_reason_to_kill_a_process(store: Store, start: Start) -> None:
    """A machine that slept wakes up with its tasks beyond their limits: they fail by them, each process lives."""
    worker = await start().ready()
    [id_] = await submit(store, given("sleep", args={"seconds": 600}, timeout_seconds=1, retries=0))
    await until_confirmed(store, id_)
    children = worker.children()
    worker.signal_all(signal.SIGSTOP)
    await asyncio.sleep(6)  # the pause that is tested: beyond the limit and what is granted beyond it
    worker.signal_all(signal.SIGCONT)
    [found] = await until_ended(store, id_)
    assert ("failed", "TimeLimitExceeded") == outcome(found)
    assert children == worker.children()


@pytest.mark.parametrize("repeated", ["once", "repeated", "to all"])
async def test_sigterm_lets_short_tasks_finish_and_hands_long_ones_back(
    store: Store, start: Start, tmp_path: Path, repeated: str
) -> None:
    """Also when the signal comes again and again, or to every process, as Heroku sends it. No attempt is spent."""
    worker = await start(drain_seconds="3", processes="2").ready()
    short, long, thread = (tmp_path / name for name in ("short", "long", "thread"))
    ids = await submit(
        store,
        given("sleep", args={"seconds": 1, "path": str(short)}),
        given("sleep", args={"seconds": 600, "path": str(long)}),
        given("thread", args={"seconds": 600, "path": str(thread)}, lane="thread"),
    )
    await eventually(lambda: lines(short) and lines(long) and lines(thread))
    worker.signal(signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGTERM) * 5 if repeated != "once" else ():
        (worker.signal_all if repeated == "to all" else worker.signal)(number)
    assert 0 == await worker.ended()
    found = await store.tasks.read(ids)
    assert ["succeeded", "queued", "queued"] == [one.state if one else None for one in found]
    for one in found[1:]:
        assert one is not None
        assert one.run is not None
        assert (0, 0, 0) == (one.run.attempt, one.run.crashes, one.run.undelivered)
    assert "Traceback" not in worker.text
    assert "ERROR" not in worker.text
    assert [] == await store.workers.live(store.tasks.clock.now_ms())


async def test_what_was_handed_back_runs_elsewhere_at_once(store: Store, start: Start, tmp_path: Path) -> None:
    """In front of what waits, in its first attempt still."""
    worker = await start(drain_seconds="0").ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("sleep", args={"seconds": 600, "path": str(path)}))
    await eventually(lambda: lines(path))
    await start().ready()
    assert 0 == await worker.stop()
    await eventually(lambda: len(lines(path)) == 2)
    found = await until_state(store, id_, "running")
    assert found.run is not None
    assert 1 == found.run.attempt


async def test_a_handler_that_refuses_to_stop_does_not_hold_up_the_end(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """It is handed back all the same."""
    worker = await start(drain_seconds="1").ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("stubborn", args={"seconds": 600, "path": str(path)}))
    await eventually(lambda: lines(path))
    assert 0 == await worker.stop()
    assert lines(path, "refused")
    assert "queued" == await state(store, id_)


async def test_a_handler_that_blocks_its_loop_does_not_hold_up_the_end(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """Its process cannot hear that it is to stop: it is killed, and its tasks are handed back without a crash."""
    worker = await start(drain_seconds="1").ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("block", args={"seconds": 600, "path": str(path)}))
    await eventually(lambda: lines(path))
    assert 0 == await worker.stop()
    found = await until_state(store, id_, "queued")
    assert found.run is not None
    assert (0, 0) == (found.run.attempt, found.run.crashes)


async def test_a_worker_that_has_nothing_to_do_stops_at_once(store: Store, start: Start) -> None:
    """Nothing of the time for running tasks is spent."""
    worker = await start(drain_seconds="3600").ready()
    assert 0 == await worker.stop()


async def test_a_worker_that_waits_for_redis_can_be_stopped(store: Store, start: Start) -> None:
    """There is no server at all."""
    worker = start(url="redis://127.0.0.1:1/0")
    await eventually(lambda: "trying again" in worker.text)
    assert 0 == await worker.stop()


async def test_programs_that_handlers_start_can_be_stopped(store: Store, start: Start, tmp_path: Path) -> None:
    """They do not inherit the worker's deafness to SIGTERM."""
    await start().ready()
    [id_] = await submit(store, given("program", lane="thread"))
    [found] = await until_ended(store, id_)
    assert ("succeeded", -signal.SIGTERM) == outcome(found)
