"""Time limits that hold whatever a handler does, and leases that outlive a blocked event loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from service.store import Store
from service.ties import Ties
from tests.faults.acting import (
    Part,
    cancel_task,
    eventually,
    given,
    lines,
    outcome,
    submit,
    until_ended,
    until_state,
)
from tests.store.acting import rows

Start = Callable[..., Part]


async def test_a_handler_that_blocks_its_loop_keeps_its_lease(store: Store, start: Start, tmp_path: Path) -> None:
    """Its parent sends the heartbeats; another worker waits for the task in vain."""
    worker = await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("block", args={"seconds": 6, "path": str(path)}))
    await eventually(lambda: lines(path))
    await start().ready()
    [found] = await until_ended(store, id_)
    assert ("succeeded", "blocked") == outcome(found)
    assert 1 == len(lines(path))
    assert "its lease was lost" not in worker.text


async def test_a_handler_that_blocks_beyond_its_limit_fails_by_it(store: Store, start: Start, tmp_path: Path) -> None:
    """Only the end of its process stops it. It fails by its time limit, not as crashed; those beside it run on."""
    worker = await start().ready()
    path, beside = tmp_path / "ran", tmp_path / "beside"
    [other] = await submit(store, given("sleep", args={"seconds": 3, "path": str(beside)}))
    await eventually(lambda: lines(beside))
    [id_] = await submit(
        store, given("block", args={"seconds": 600, "path": str(path)}, timeout_seconds=1, retries=1, max_crashes=0,
        backoff={"kind": "constant", "base_seconds": 0.1, "jitter": "none"}),
    )  # fmt: skip
    [found, slept] = await until_ended(store, id_, other)
    assert ("failed", "TimeLimitExceeded") == outcome(found)
    assert (2, 2) == (len(lines(path)), (found.record.outcome or {})["attempt"])
    noted = await rows(store, id_)
    assert ["retried", "failed"] == [row["outcome"] for row in noted]
    assert ("succeeded", "slept") == outcome(slept)
    assert "crashes" not in (slept.record.outcome or {})
    assert "blocks its event loop" in worker.text


async def test_a_blocked_task_that_is_to_be_cancelled_ends_as_cancelled(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """It cannot hear of it; when its process is ended, it does not run again."""
    await start().ready()
    path = tmp_path / "ran"
    [id_] = await submit(store, given("block", args={"seconds": 600, "path": str(path)}, timeout_seconds=1))
    await eventually(lambda: lines(path))
    assert "stopping" == await cancel_task(store, id_)
    [found] = await until_ended(store, id_)
    assert "cancelled" == found.state
    assert 1 == len(lines(path))


async def test_a_thread_beyond_its_limit_fails_and_keeps_only_its_thread(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """It cannot be killed: its process lives, and has one thread less."""
    worker = await start(threads="2").ready()
    path = tmp_path / "ran"
    slow = {"args": {"seconds": 600, "path": str(path)}, "timeout_seconds": 0.5, "retries": 0}
    [id_] = await submit(store, given("thread", lane="thread", **slow))
    [found] = await until_ended(store, id_)
    assert ("failed", "TimeLimitExceeded") == outcome(found)
    ids = await submit(store, *[given("thread", args={"seconds": 0.01}, lane="thread") for _ in range(5)])
    assert {("succeeded", "slept")} == {outcome(one) for one in await until_ended(store, *ids)}
    assert "is ended" not in worker.text


async def test_limits_are_told_and_kept(store: Store, start: Start) -> None:
    """The soft limit lets a handler finish up; the hard one fails it."""
    await start().ready()
    soft, hard = await submit(
        store,
        given("soft", soft_timeout_seconds=0.3, timeout_seconds=30),
        given("sleep", args={"seconds": 600}, timeout_seconds=0.3, retries=0),
    )
    found = await until_ended(store, soft, hard)
    assert [("succeeded", "finished up"), ("failed", "TimeLimitExceeded")] == [outcome(one) for one in found]


async def test_a_task_that_waits_for_a_slot_runs_out_of_no_time(store: Store, start: Start, tmp_path: Path) -> None:
    """Limits count from the lease; a full lane leaves its tasks in the queue, and takes them as slots come free."""
    await start(concurrency="2").ready()
    path = tmp_path / "ran"
    tasks = [given("sleep", args={"seconds": 0.3, "path": str(path)}, timeout_seconds=2, retries=0)] * 20
    ids = await submit(store, *tasks)
    await until_state(store, ids[-1], "queued")
    found = await until_ended(store, *ids)
    assert {("succeeded", "slept")} == {outcome(one) for one in found}
    assert 20 == len(lines(path))


async def test_large_results_do_not_pile_up(store: Store, start: Start) -> None:
    """A call carries a megabyte; new tasks wait until the results before them are recorded."""
    worker = await start(concurrency="20", url_concurrency="0", threads="0").ready()
    tasks = [given("large", args={"size": 600_000}, result_ttl_seconds=0)] * 100
    ids = [id_ for _ in range(4) for id_ in await submit(store, *tasks)]
    assert {"succeeded"} == {one.state for one in await until_ended(store, *ids)}
    assert "ended with exit code" not in worker.text


async def test_a_worker_does_not_start_what_has_expired(store: Store, start: Start) -> None:
    """Whoever comes first ends it, here the worker: no handler ran, and others do."""
    await start().ready()
    [late] = await submit(store, given("add", args={}, ties=Ties(expires_ms=1000)))
    ended = await until_state(store, late, "expired")
    assert (0, None) == (ended.record.outcome["attempt"], ended.record.outcome.get("started_ms"))  # type: ignore[index]
    [soon] = await submit(store, given("add", args={"a": 1, "b": 2}, ties=Ties(expires_ms=4_000_000_000_000)))
    await until_state(store, soon, "succeeded")
