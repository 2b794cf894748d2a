"""Slow attempts in Redis: the slowest of each minute, for a day, by namespace; and how many there were."""

from __future__ import annotations

from collections import Counter

import pytest

from service.histogram import step_of
from service.ids import new_ids
from service.slow import KEPT_MINUTES, MOST_A_MINUTE, MOST_OF_NAME, SlowAttempt
from service.store import Store
from service.store.statistics import MINUTE_MS, Scope
from tests.store.acting import Worker, submit_everywhere
from tests.store.deployments import Deployment

COUNTED = {b"L\x1fmail\x01email:send": 7}


def slow(store: Store, run_ms: float, name: str = "email:send", ended_ms: int | None = None) -> SlowAttempt:
    now_ms = store.tasks.clock.now_ms()
    return SlowAttempt(
        id=new_ids(0, 1, now_ms)[0], name=name, queue="mail", attempt=1, outcome="succeeded", worker="w",
        ended_ms=now_ms if ended_ms is None else ended_ms, threshold_ms=500.0, run_ms=run_ms, wait_ms=3,
        call=[1.0, None, None, 2.5, 0.1, 3.6],
    )  # fmt: skip


async def kept(store: Store, namespace: str = "default", minutes: int = KEPT_MINUTES) -> list[SlowAttempt]:
    now = store.statistics.now_minute()
    return sorted(await store.slow.read(namespace, now - minutes, now + 1), key=lambda one: one.run_ms)


async def counted(store: Store) -> Counter[str]:
    now = store.statistics.now_minute()
    return (await store.statistics.read(Scope("default"), now - 5, now + 1, 1)).totals.counts


async def test_the_slowest_of_a_minute_are_kept_whoever_tells_of_them(store: Store) -> None:
    """Of a thousand by four workers ten, three of one name at most; read as they were told."""
    at = store.tasks.clock.now_ms()
    told = [slow(store, 1000.0 + n, f"name:{n % 5}", at) for n in range(1000)]
    for n in range(0, 1000, 50):
        await store.slow.tell(f"worker-{n % 4}", n + 1, [("default", one) for one in told[n : n + 50]], {})
    found = await kept(store)
    assert told[-MOST_A_MINUTE:] == found
    await store.slow.tell("worker-0", 2000, [("default", slow(store, 9000.0 + n, "other", at)) for n in range(9)], {})
    assert Counter({"other": MOST_OF_NAME}) == Counter(one.name for one in await kept(store) if one.run_ms >= 9000)
    assert MOST_A_MINUTE == len(await kept(store))


async def test_what_is_told_again_changes_nothing(store: Store) -> None:
    """The answer to the first call was lost; and then there is a next one."""
    one = slow(store, 700.0)
    for number in (1, 1, 2):
        await store.slow.tell("s", number, [("default", one)], COUNTED)
    assert [one] == await kept(store)
    assert 14 == (await counted(store))["L"]


async def test_a_namespace_sees_its_own(store: Store) -> None:
    """Also one whose name begins like that of another."""
    rows = [(namespace, slow(store, 700.0, namespace)) for namespace in ("default", "acme", "acme-2")]
    await store.slow.tell("s", 1, rows, {})
    for namespace, _ in rows:
        assert [namespace] == [one.name for one in await kept(store, namespace)]
    assert [] == await kept(store, "acm")


async def test_a_minute_is_kept_for_a_day_by_redis_clock(store: Store, deployment: Deployment) -> None:
    """What is older is not kept at all, and who is ahead is put into this minute."""
    now_ms = store.tasks.clock.now_ms()
    ago = {"ahead": -3_600_000, "now": 0, "old": 3_600_000, "over": (KEPT_MINUTES + 2) * MINUTE_MS}
    rows = [("default", slow(store, 700.0, name, now_ms - ms)) for name, ms in ago.items()]
    await store.slow.tell("s", 1, rows, {})
    assert {"ahead", "now", "old"} == {one.name for one in await kept(store)}
    assert {"ahead", "now"} == {one.name for one in await kept(store, minutes=10)}


@pytest.mark.deployments("valkey-1", "valkey-16")
async def test_how_long_attempts_usually_run_is_read_of_those_that_are_asked_for(store: Store, worker: Worker) -> None:
    """Over all shards; not how long they waited, and no other names."""
    now = store.statistics.now_minute()
    for name in ("wanted", "other"):
        await submit_everywhere(store, 2, submission={"name": name, "args": {}})
        await worker.succeed(*await worker.lease_all())
    found = await store.slow.runs(now, store.statistics.now_minute() + 1, lambda key: key == ("default", "wanted"))
    assert [("default", "wanted")] == list(found)
    assert 2 * store.shards == found["default", "wanted"].total()
    assert max(found["default", "wanted"]) < step_of(60_000)
