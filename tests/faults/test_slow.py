"""Slow attempts, as a worker sees them: which are slow, where their time went, how little it keeps and logs of them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.errors import StoreUnavailable
from service.ids import new_ids
from service.settings import Settings
from service.slow import MOST_A_MINUTE, MOST_OF_NAME, SlowAttempt
from service.store import Store
from service.store.statistics import Scope
from service.task import Leased
from tests.faults import slow_handlers
from tests.faults.acting import Part, until_ended
from tests.store.acting import Worker, new, submit
from workers.context import Context
from workers.registry import Registry, default_registry
from workers.run import Attempt
from workers.slow import Slowness

LANES = {"slow.async": "async", "slow.blocking": "async", "slow.thread": "thread", "slow.process": "process",
         "slow.never": "async", "slow.patient": "async"}  # fmt: skip
SLOW = {"slow.async", "slow.blocking", "slow.thread", "slow.process"}
ENOUGH = 25


@asynccontextmanager
async def endpoint() -> AsyncIterator[str]:
    """The URL of one that thinks for a while before each answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(slow_handlers.WAITED)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def kept(store: Store, namespace: str = "default") -> list[SlowAttempt]:
    now = store.statistics.now_minute()
    return await store.slow.read(namespace, now - 60, now + 1)


@pytest.mark.full
async def test_where_the_time_of_slow_attempts_went_is_told(store: Store, start: Callable[..., Part]) -> None:
    """In every lane and of calls, by the threshold of each; a worker that is asked to stop tells first."""
    async with endpoint() as url:
        running = await start(handlers="tests.faults.slow_handlers", slow_after="0.2").ready()
        given = [new({"name": name}, lane=lane, queue="mail") for name, lane in LANES.items()]
        called = new({"url": url, "method": "GET"}, lane="url", queue="mail")
        await until_ended(store, *await submit(store, *given, called))
        assert 0 == await running.stop()
    found = {one.name: one for one in await kept(store)}
    assert SLOW | {url.removesuffix("/").replace("http://", "http:")} == found.keys()
    computed, waited = slow_handlers.COMPUTED * 1000, slow_handlers.WAITED * 1000
    for name, one in found.items():
        assert ("mail", 1, "succeeded") == (one.queue, one.attempt, one.outcome)
        assert None not in (one.wait_ms, one.hold_ms, one.report_ms)
        assert one.run_ms >= (computed if name == "slow.blocking" else waited) - 1
        if name in SLOW:
            assert computed - 1 <= (one.busy_ms or 0) <= one.run_ms - (0 if name == "slow.blocking" else waited / 2)
        else:
            assert one.call is not None
            assert one.call[3]  # the wait for the first byte
    told = Counter(re.findall(r"WARNING.*\((\S+), queue mail, attempt 1\) was slow: it ran", running.text))
    assert dict.fromkeys(found, 1) == told


def held(slowness: Slowness, task: Leased, began: float) -> Attempt:
    """The attempt of *task*, which began at the time *began* of the monotonic clock."""
    name = task.submission.get("name", "")
    options = {"timeout_seconds": 60.0}
    attempt = Attempt(task, default_registry.find(name), options, 0)
    attempt.ctx = Context(id="1")
    attempt.ctx.began = began
    return attempt


async def test_a_multiple_is_one_of_the_names_own_p95(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the statistics of the last hour have it; until enough was measured nothing of that name is slow."""
    worker, slowness = Worker(store), Slowness(Settings(slow_after="0"), default_registry, "w", store)
    long_ago, now = asyncio.get_running_loop().time() - 100.0, store.statistics.now_minute

    async def judged(many: int) -> SlowAttempt | None:
        await submit(store, *[new({"name": "slow.usual"}) for _ in range(many)])
        tasks = await worker.lease()
        await worker.succeed(*tasks)
        monkeypatch.setattr(store.statistics, "now_minute", lambda: now() + 1)  # the minute is over
        slowness.usual.learnt = 0
        slowness.usual.measured.clear()
        await slowness.usual.learn(store, slowness.is_multiple)
        return slowness.judge(held(slowness, tasks[0], long_ago), "succeeded", store.tasks.clock.now_ms())

    assert slowness.is_learning
    assert None is await judged(3)
    found = await judged(ENOUGH)
    assert found is not None
    assert found.threshold_ms < 100_000 <= found.run_ms
    assert found.threshold_ms == pytest.approx(
        max(3000 * slowness.usual.p95_seconds["default", "slow.usual"], 10), abs=0.01
    )


async def test_a_process_keeps_and_logs_little_of_a_thousand(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a name at once, the others in one later; while Redis is away the slowest wait, and are counted once."""
    slowness = Slowness(Settings(slow_after="0.001"), Registry(), "w", store)
    await submit(store, *[new({"name": f"name:{n}"}, queue="mail") for n in range(5)])
    tasks = await Worker(store).lease(queue="mail")
    now_ms = store.tasks.clock.now_ms()
    with caplog.at_level(logging.WARNING, "taskpost.worker"):
        for n in range(1000):
            task = tasks[n % 5]
            found = slowness.judge(held(slowness, task, 0.0), "succeeded", now_ms)
            assert found is not None
            found.id, found.run_ms = new_ids(0, 1, now_ms)[0], 1000.0 + n
            slowness.keep(task, found, 1)
        assert MOST_A_MINUTE == sum(map(len, slowness.rows.values()))
        assert 5 == len(caplog.records)
        slowness.lines.since = dict.fromkeys(slowness.lines.since, float("-inf"))
        slowness.lines.say()
    assert 10 == len(caplog.records)
    assert "the slowest of 199 since" in caplog.text
    telling = store.slow.tell

    async def unheard(*given: Any) -> None:
        await telling(*given)
        raise StoreUnavailable("the answer was lost")

    monkeypatch.setattr(store.slow, "tell", unheard)
    with pytest.raises(StoreUnavailable):
        await slowness.tell()
    monkeypatch.setattr(store.slow, "tell", telling)
    await slowness.tell()
    assert [1999.0 - n for n in range(MOST_A_MINUTE)] == sorted((one.run_ms for one in await kept(store)), reverse=True)
    assert {MOST_OF_NAME - 1} == set(Counter(one.name for one in await kept(store)).values())
    now = store.statistics.now_minute()
    assert 1000 == (await store.statistics.read(Scope("default"), now - 5, now + 1, 1)).totals.counts["L"]
    assert ({}, Counter(), None) == (slowness.rows, slowness.counts, slowness.sending)


async def test_what_never_began_is_not_slow() -> None:
    """However long it was held; nor is anything where everything is switched off."""
    slowness = Slowness(Settings(slow_after="0"), Registry(), "w", None)
    assert float("inf") == slowness.least_ms
    slowness = Slowness(Settings(), Registry(), "w", None)
    task = Leased(b"\0" * 16, b"", b"", {"name": "a"}, "mail", "default", 5, "async", 1, 0, 0)
    attempt = held(slowness, task, 0.0)
    assert attempt.ctx is not None
    assert slowness.judge(attempt, "succeeded", 10_000) is not None
    attempt.ctx.began = None
    assert slowness.judge(attempt, "deferred", 10_000) is None
