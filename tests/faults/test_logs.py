"""What a running worker keeps of what handlers log: in every lane, in time, and after a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.attempts import MOST_BYTES, log_of
from service.store import Store
from tests.faults.acting import Part, eventually, outcome, submit, until_confirmed, until_ended, until_state
from tests.store.acting import new

Start = Callable[..., Part]
LANES = {"log.async": "async", "log.async.waits": "async", "log.process": "process", "log.thread": "thread"}


def said(name: str, lane: str = "process", **more: Any) -> Any:
    return new({"name": name, **more}, lane=lane)


async def logs(store: Store, id_: bytes) -> list[list[str]]:
    """The messages of each attempt that has ended, oldest first."""
    history = await store.attempts.history(id_)
    assert history is not None
    return [[line["message"] for line in log_of(row.get("log_said", 0), row.get("log", ()))] for row in history.rows]


def worker(start: Start, **settings: str) -> Part:
    return start(handlers="tests.faults.log_handlers", **settings)


@pytest.mark.parametrize("name", LANES)
async def test_lines_are_kept_in_every_lane(store: Store, start: Start, name: str) -> None:
    """A first attempt that succeeds keeps them too; and they are logged as ever."""
    running = await worker(start).ready()
    [id_] = await submit(store, said(name, LANES[name]))
    [found] = await until_ended(store, id_)
    assert "succeeded" == found.state, found.record.outcome
    history = await store.attempts.history(id_)
    assert history is not None
    [row] = history.rows
    levels, texts = [line[1] for line in row["log"]], [line[2] for line in row["log"]]
    assert ["info", "warning", "error", "info", "error"] == levels
    assert ["row 1 of 2", "{'no': 'text'}", "%d 'no number'"] == texts[:3]
    assert "<Hostile that cannot be shown: ValueError>" == texts[3]
    assert texts[4].startswith("cannot go on with it\nTraceback (most recent call last):\n")
    assert texts[4].endswith('raise LookupError("row 7")\nLookupError: row 7')
    assert "workers/" not in texts[4]
    times = [line[0] for line in row["log"]]
    assert sorted(times) == times
    assert row["started_ms"] - 2 <= times[0]
    assert times[-1] <= row["finished_ms"] + 2
    await eventually(lambda: "row 1 of 2" in running.text)


async def test_lines_are_seen_while_the_attempt_runs_and_survive_a_kill(store: Store, start: Start) -> None:
    """SIGKILL of the whole worker: what was sent is in the row of the crash."""
    running = await worker(start).ready()
    [id_] = await submit(store, said("log.hold", "async"))

    async def has_line() -> bool:
        history = await store.attempts.history(id_)
        return history is not None and [line[2] for line in history.lines] == ["before the crash"]

    await eventually(has_line)
    await until_confirmed(store, id_)
    await running.kill()
    await start("scheduler").ready()
    await until_state(store, id_, "queued")
    assert [["before the crash"]] == await logs(store, id_)


async def test_a_child_that_dies_has_said_its_last_words(store: Store, start: Start) -> None:
    """Each line leaves the child before the next statement runs."""
    await worker(start).ready()
    [id_] = await submit(store, new({"name": "log.die", "max_crashes": 1}, lane="process", max_crashes=1))
    [found] = await until_ended(store, id_)
    assert "failed" == found.state
    assert [["last words"]] * 2 == await logs(store, id_)


async def test_of_many_lines_the_last_are_kept(store: Store, start: Start) -> None:
    """200 of them, or as many as 32 KiB hold; the first line says how many are missing."""
    await worker(start).ready()
    short, long = await submit(
        store, said("log.many", args={"lines": 5000}), said("log.many", args={"lines": 30, "text": "x" * 3000})
    )
    await until_ended(store, short, long)
    [kept] = await logs(store, short)
    assert ["… 4,800 earlier lines were left out", *[f"line {n}" for n in range(4800, 5000)]] == kept
    [kept] = await logs(store, long)
    fit = MOST_BYTES // 3030
    assert [f"… {30 - fit} earlier lines were left out", *[f"{'x' * 3000} {n}" for n in range(30 - fit, 30)]] == kept


async def test_each_attempt_has_its_own_lines(store: Store, start: Start) -> None:
    """The one that failed, and the one that went well."""
    await worker(start).ready()
    [id_] = await submit(store, said("log.again"))
    await until_ended(store, id_)
    assert [["attempt 1"], ["attempt 2"]] == await logs(store, id_)


async def test_hooks_log_into_the_attempt(store: Store, start: Start) -> None:
    """What stands around a handler has the same Context."""
    await worker(start).ready()
    [id_] = await submit(store, said("log.hook", "async"))
    await until_ended(store, id_)
    assert [["hook: gone wrong"]] == await logs(store, id_)


async def test_a_thread_that_was_left_behind_does_not_log_into_the_next_task(store: Store, start: Start) -> None:
    """It holds the Context of an attempt that is over."""
    await worker(start, children="1").ready()
    [first] = await submit(store, said("log.leave"))
    await until_ended(store, first)
    [second] = await submit(store, said("log.many", args={"lines": 200}))
    await until_ended(store, second)
    assert [[f"line {n}" for n in range(200)]] == await logs(store, second)


@pytest.mark.parametrize(("name", "lane"), [("log.fork", "process"), ("log.fork.async", "async")])
async def test_a_forked_process_logs_and_is_not_kept(store: Store, start: Start, name: str, lane: str) -> None:
    """Its lines are in the worker's log alone; nothing fails, and nothing is mixed up."""
    running = await worker(start).ready()
    [id_] = await submit(store, said(name, lane))
    [found] = await until_ended(store, id_)
    assert ("succeeded", 0) == outcome(found)
    assert [["mine"]] == await logs(store, id_)
    assert "from a fork" in running.text


async def test_a_worker_that_stops_keeps_what_it_hands_back(store: Store, start: Start) -> None:
    """The attempt was not spent, and reads as released; without a word it is no attempt."""
    running = await worker(start, drain_seconds="0").ready()
    [id_] = await submit(store, said("log.hold", "async"))
    await until_state(store, id_, "running")

    async def has_line() -> bool:
        history = await store.attempts.history(id_)
        return history is not None and len(history.lines) == 1

    await eventually(has_line)
    await running.stop()
    history = await store.attempts.history(id_)
    assert history is not None
    [row] = history.rows
    assert ("released", 1, "before the crash") == (row["outcome"], row["attempt"], row["log"][0][2])
    assert "queued" == (await until_state(store, id_, "queued")).state


async def test_debug_lines_are_kept_where_they_are_logged(store: Store, start: Start) -> None:
    """The level of the logs decides that; it does not take away what is kept from info on."""
    await worker(start, log_level="debug").ready()
    [id_] = await submit(store, said("log.async", "async"))
    await until_ended(store, id_)
    [kept] = await logs(store, id_)
    assert "nobody asked for this" == kept[0]


async def test_a_quiet_log_still_keeps_what_handlers_say(store: Store, start: Start) -> None:
    """Who reads an attempt is seldom who chose the level of the logs."""
    running = worker(start, log_level="error")
    [id_] = await submit(store, said("log.async", "async"))
    await until_ended(store, id_)
    [kept] = await logs(store, id_)
    assert "row 1 of 2" == kept[0]
    assert "row 1 of 2" not in running.text
