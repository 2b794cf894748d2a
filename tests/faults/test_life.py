"""What a running worker makes of retries, deferring, progress, and names that it does not know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson

from service.ids import shard_of
from service.store import Store
from tests.faults.acting import (
    Part,
    eventually,
    given,
    lines,
    outcome,
    snapshot,
    submit,
    until_ended,
    until_state,
)
from tests.store.acting import new, rows

Start = Callable[..., Part]
SOON = {"kind": "constant", "base_seconds": 0.05, "jitter": "none"}


async def test_retries_come_after_their_backoff_until_one_succeeds(store: Store, start: Start) -> None:
    """Each failed attempt is kept, with the time of the next."""
    await start().ready()
    [id_] = await submit(store, given("flaky", args={"fail_times": 3}, retries=3, backoff=[0.1, 0.2, 0.05]))
    [found] = await until_ended(store, id_)
    assert ("succeeded", "attempt 4") == outcome(found)
    noted = await rows(store, id_)
    assert ["retried"] * 3 + ["succeeded"] == [row["outcome"] for row in noted]
    assert [1, 2, 3, 4] == [row["attempt"] for row in noted]
    for row, following, delay_ms in zip(noted, noted[1:], (100, 200, 50), strict=False):
        assert delay_ms == row["retry_ms"] - row["finished_ms"]
        assert following["started_ms"] >= row["retry_ms"] - 2, "by two clocks that are a moment apart"


async def test_a_task_fails_when_its_retries_are_used_up(store: Store, start: Start) -> None:
    """With the last error; a `Fail` at once, whatever is left."""
    await start().ready()
    used_up, at_once = await submit(
        store, given("flaky", args={"fail_times": 9}, retries=2, backoff=SOON), given("fail", retries=9)
    )
    found = await until_ended(store, used_up, at_once)
    assert [("failed", "RuntimeError"), ("failed", "Fail")] == [outcome(one) for one in found]
    assert [3, 1] == [(one.record.outcome or {})["attempt"] for one in found]


async def test_no_retry_comes_later_than_the_whole_time_allows(store: Store, start: Start, tmp_path: Path) -> None:
    """`retry_for_seconds` bounds retries and deferring alike."""
    await start().ready()
    path = tmp_path / "ran"
    late = {"args": {"times": 9, "seconds": 600, "path": str(path)}, "retry_for_seconds": 60}
    retried, deferred = await submit(
        store, given("retry_after", args={"seconds": 600}, retry_for_seconds=60), given("defer", **late)
    )
    found = await until_ended(store, retried, deferred)
    assert [("failed", "Retry"), ("failed", "RetryTimeExceeded")] == [outcome(one) for one in found]


async def test_deferring_spends_no_attempt(store: Store, start: Start, tmp_path: Path) -> None:
    """A task without retries may come back as often as it likes."""
    await start().ready()
    args = {"times": 3, "seconds": 0.05, "path": str(tmp_path / "ran")}
    [id_] = await submit(store, given("defer", args=args, retries=0))
    [found] = await until_ended(store, id_)
    assert ("succeeded", "at last") == outcome(found)
    assert 1 == (found.record.outcome or {})["attempt"]


async def test_progress_is_seen_while_it_runs_and_kept_with_the_outcome(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """The last word wins; a thousand in quick succession cost a few calls."""
    await start().ready()
    path = tmp_path / "go"
    calls = int(store_info(await store.client.info("commandstats"), "cmdstat_evalsha"))
    [id_] = await submit(store, given("progress", args={"steps": 1000, "path": str(path)}))

    async def is_seen() -> bool:
        found = await snapshot(store, id_)
        return found.progress is not None and found.progress["current"] == 1000

    await eventually(is_seen)
    assert "running" == (await snapshot(store, id_)).state
    path.touch()
    [found] = await until_ended(store, id_)
    told = (found.record.outcome or {})["progress"]
    assert (1000, 1000, "step 1000") == (told["current"], told["total"], told["message"])
    assert int(store_info(await store.client.info("commandstats"), "cmdstat_evalsha")) - calls < 500


def store_info(stats: dict[str, dict[str, int]], command: str) -> int:
    """How often Redis has run *command*."""
    return stats.get(command, {}).get("calls", 0)


async def test_a_task_for_a_newer_worker_waits_for_one(store: Store, start: Start) -> None:
    """In a rolling deploy both serve the queue: the older hands it back, unspent, until the newer takes it."""
    await start().ready()
    [id_] = await submit(store, new({"name": "faults.newer"}))
    found = await until_state(store, id_, "scheduled")
    assert found.run is not None
    assert 0 == found.run.attempt
    await start(handlers="tests.faults.more_handlers:registry").ready()
    [found] = await until_ended(store, id_)
    assert ("succeeded", "by the newer worker") == outcome(found)
    assert [] == [row for row in await rows(store, id_) if row["outcome"] == "deferred"]


async def test_a_task_for_nobody_fails_in_the_end(store: Store, start: Start) -> None:
    """Not before the time is over in which it may be retried."""
    await start().ready()
    [id_] = await submit(store, new({"name": "faults.nobodys", "retry_for_seconds": 2}))
    [found] = await until_ended(store, id_)
    assert ("failed", "RetryTimeExceeded") == outcome(found)
    assert "faults.nobodys" in (found.record.outcome or {})["error"]["message"]


async def test_wrong_arguments_fail_at_once(store: Store, start: Start) -> None:
    """Those that were not checked at submit, because nobody knew the handler yet."""
    await start().ready()
    [id_] = await submit(store, given("add", args={"a": "one"}))
    [found] = await until_ended(store, id_)
    assert ("failed", "InvalidArguments") == outcome(found)


async def test_a_callback_is_made_with_the_end(store: Store, start: Start, tmp_path: Path) -> None:
    """By the same call that records the result; here a dead endpoint, so that it waits for its retry."""
    await start().ready()
    hook = {"url": "http://127.0.0.1:1/hook"}
    [id_] = await submit(store, given("add", args={"a": 1, "b": 2}, callback=hook))
    [found] = await until_ended(store, id_)
    assert ("succeeded", 3) == outcome(found)
    await eventually(lambda: any_callback(store, shard_of(id_)))


async def any_callback(store: Store, shard: int) -> bool:
    return "callbacks" in await store.queues.names()


async def test_what_a_worker_is_can_be_read(store: Store, start: Start, tmp_path: Path) -> None:
    """Its handlers, slots, and how many tasks it runs."""
    worker = await start(processes="2", concurrency="3").ready()
    path = tmp_path / "ran"
    await submit(store, *[given("sleep", args={"seconds": 600, "path": str(path)})] * 4)
    await eventually(lambda: len(lines(path)) == 4)

    async def shown() -> bool:
        live = await store.workers.live(store.tasks.clock.now_ms())
        told = [(one["pid"], one["processes"], one["slots"]["async"], one["running"]) for one in live]
        return [(worker.pid, 2, 6, 4)] == told

    await eventually(shown)
    [one] = await store.workers.live(store.tasks.clock.now_ms())
    assert "faults.add" in one["handlers"]
    assert orjson.dumps(one)
