"""What holds back the tasks of queues: paused, so many at once, so many in a time; in one shard or in several."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.ids import shard_of
from service.store import Store, keys
from service.store.endings import Ending
from service.store.limits import Gate, gate_of, parse_gate, portions
from service.task import Leased
from tests.store.acting import Worker, new, submit, submit_everywhere
from tests.store.deployments import Deployment

SINGLE = pytest.mark.deployments("valkey-1", "redis-1")
SEVERAL = pytest.mark.deployments("valkey-16", "valkey-cluster")


async def limited(store: Store, **settings: Any) -> None:
    await store.limits.apply("default", settings)


def woken(deployment: Deployment, shard: int = 0) -> bool:
    """Whether a marker says that there is work; it is taken away."""
    return bool(deployment.node(shard).delete(keys.wake(shard, "default", "a")))


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Its tasks stay queued, no worker spins for them, and who waits is woken when it goes on; other queues go on."""
    ids = await submit_everywhere(store)
    await submit(store, new(queue="other"))
    await limited(store, paused={})
    woken(deployment)
    assert ([], False, None) == (await worker.lease(), worker.is_work_left, worker.next_due_ms)
    assert not woken(deployment), "nobody comes for nothing"
    assert 1 == len(await worker.lease(queue="other"))
    await limited(store)
    assert all(woken(deployment, shard) for shard in range(store.shards))
    assert set(ids) == {task.id for task in await worker.lease()}
    assert {} == await store.limits.read(0), "what holds nothing back is not kept"


async def test_delayed_tasks_of_a_paused_queue_become_due(store: Store, worker: Worker) -> None:
    """They read as queued, and run when it is resumed."""
    [id_] = await submit(store, new(due_ms=store.tasks.clock.now_ms() + 1))
    await limited(store, paused={})
    async with asyncio.timeout(30):
        while (await store.queues.counts())["default"]["queued"] == 0:
            assert [] == await worker.lease()
    await limited(store)
    assert [id_] == [task.id for task in await worker.lease()]


@SINGLE
async def test_no_more_run_than_the_concurrency_of_a_queue(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Whoever asks, whatever room it has, in whatever lane; each that ends makes room for one."""
    await submit(store, *[new(lane=("async", "thread")[n % 2]) for n in range(10)])
    await limited(store, concurrency=3)
    stepped = await worker.step(wants=[("default", "async", 2), ("default", "thread", 100)])
    assert 3 == len(stepped.leased)
    assert [] == await Worker(store, "w2").lease(lane="thread")
    woken(deployment)
    one = stepped.leased[0]
    await worker.succeed(one)
    assert woken(deployment), "who waits hears that there is room"
    assert 1 == len(await Worker(store, "w2").lease())
    assert [] == await worker.lease()


@SINGLE
@pytest.mark.parametrize("how", ["succeed", "retry", "crash", "cancel"])
async def test_room_of_a_queue_comes_back_however_an_attempt_ends(
    store: Store, worker: Worker, deployment: Deployment, how: str
) -> None:
    """And a worker that waits is told."""
    await submit(store, *[new() for _ in range(3)])
    await limited(store, concurrency=1)
    [task] = await worker.lease()
    woken(deployment)
    if how == "succeed":
        await worker.succeed(task)
    elif how == "retry":
        await worker.again(b"R", task, delay_ms=60_000)
    elif how == "cancel":
        await worker.end_cancelled(task)
    else:
        await store.tasks.reap(0, [(task.id, task.token)])
    assert woken(deployment)
    assert 1 == len(await worker.lease(lane="async"))
    assert [] == await worker.lease()


@SINGLE
async def test_a_report_and_its_successor_go_in_one_call(store: Store, worker: Worker) -> None:
    """What ends in a call makes room in the same one; a worker that asked for nothing hears that there is work."""
    await submit(store, *[new() for _ in range(3)])
    await limited(store, concurrency=1)
    [first] = await worker.lease()
    stepped = await worker.step(0, [worker.ending(first, Ending("succeeded", b"1"))], [("default", "async", 5)])
    [second] = stepped.leased
    assert (await worker.step(0, [worker.ending(second, Ending("succeeded", b"1"))])).is_work_left


@SINGLE
async def test_a_lowered_concurrency_stops_nothing_that_runs(store: Store, worker: Worker) -> None:
    """The next starts when fewer run than it says; a raised one starts more at once."""
    await submit(store, *[new() for _ in range(9)])
    await limited(store, concurrency=3)
    first = await worker.lease()
    await limited(store, concurrency=1)
    await worker.succeed(*first[:2])
    assert [] == await worker.lease()
    await worker.succeed(first[2])
    assert 1 == len(await worker.lease())
    await limited(store, concurrency=4)
    assert 3 == len(await worker.lease())


@SINGLE
async def test_starts_come_at_the_rate_of_a_queue(store: Store, worker: Worker) -> None:
    """A burst at once, then each in its time; the answer says when to come again."""
    await submit(store, *[new() for _ in range(20)])
    await limited(store, rate=2, period_seconds=60, burst=3)
    begun_ms = store.tasks.clock.now_ms()
    assert 3 == len(await worker.lease())
    assert [] == await worker.lease()
    assert worker.next_due_ms is not None
    assert 25_000 < worker.next_due_ms - begun_ms <= 90_000
    await limited(store, rate=1000)
    async with asyncio.timeout(30):
        leased: list[Leased] = []
        while len(leased) < 17:
            leased += await worker.lease()


@SINGLE
async def test_a_rate_lets_nobody_come_for_an_empty_queue(store: Store, worker: Worker) -> None:
    """Only who has tasks to wait for comes again."""
    await submit(store, new())
    await limited(store, rate=1, period_seconds=3600)
    assert 1 == len(await worker.lease())
    assert ([], None) == (await worker.lease(), worker.next_due_ms)


@SINGLE
async def test_a_repeated_lease_call_spends_nothing_twice(store: Store, worker: Worker) -> None:
    """The same call answers the same tasks, and the rate is paid once."""
    await submit(store, *[new() for _ in range(9)])
    await limited(store, rate=2, period_seconds=3600, burst=2)
    token = worker.token()
    wants = [("default", "async", 1)]
    first = await worker.step(wants=wants, token=token)
    again = await worker.step(wants=wants, token=token)
    assert [one.id for one in first.leased] == [one.id for one in again.leased]
    assert 1 == len(await worker.lease())


@SINGLE
async def test_an_older_change_comes_too_late(store: Store, worker: Worker) -> None:
    """The newer one stands, whoever is slower; a change that is sent again changes nothing."""
    older, newer = store.limits.number(), store.limits.number() + 10**9
    paused = Gate(is_paused=True).packed()
    assert (await store.limits.set(0, "default", newer, paused)).is_done
    assert not (await store.limits.set(0, "default", older, Gate(concurrency=9).packed())).is_done
    assert (await store.limits.set(0, "default", newer, paused)).is_done
    assert (await store.limits.one(0, "default")).is_paused


async def test_gates_are_mended_by_the_settings(store: Store) -> None:
    """What a process that died left behind, either way, is made what the settings say."""
    await limited(store, paused={})
    await store.limits.reconcile({"mail": {"concurrency": 2}})
    gates = [await store.limits.read(shard) for shard in range(store.shards)]
    assert 2 == sum(one["mail"].concurrency or 0 for one in gates)
    assert all("default" not in one for one in gates)
    before = [portions_in(one) for one in gates]
    await store.limits.reconcile({"mail": {"concurrency": 2}})
    assert before == [portions_in(await store.limits.read(shard)) for shard in range(store.shards)]


def portions_in(gates: dict[str, Gate]) -> list[tuple[str, int | None]]:
    return [(name, one.concurrency) for name, one in sorted(gates.items())]


@SEVERAL
async def test_a_limit_is_dealt_to_the_shards_that_have_work(store: Store, worker: Worker) -> None:
    """Together they never run more than it says, and all of it is used wherever the work is."""
    await limited(store, concurrency=5)
    await store.tasks.submit_call(3, [new() for _ in range(20)])
    await submit_everywhere(store, 2)
    done: set[bytes] = set()
    async with asyncio.timeout(60):
        while len(done) < 20 + 2 * store.shards:
            await store.limits.reconcile({"default": {"concurrency": 5}})
            leased = await worker.lease()
            running = (await store.queues.counts())["default"]["running"]
            assert running <= 5
            await worker.succeed(*leased)
            done |= {task.id for task in leased}


@SEVERAL
async def test_room_that_runs_is_not_given_to_another_shard(store: Store, worker: Worker) -> None:
    """Only what nobody uses moves."""
    await store.tasks.submit_call(1, [new() for _ in range(5)])
    await limited(store, concurrency=2)
    first = await worker.lease()
    assert 2 == len(first)
    await store.tasks.submit_call(7, [new() for _ in range(50)])
    for _ in range(3):
        await store.limits.reconcile({"default": {"concurrency": 2}})
        assert [] == await worker.lease()
    await worker.succeed(*first)
    seen: set[int] = set()
    for _ in range(20):
        await store.limits.reconcile({"default": {"concurrency": 2}})
        leased = await worker.lease()
        assert len(leased) <= 2
        seen |= {shard_of(task.id) for task in leased}
        await worker.succeed(*leased)
    assert 7 in seen


@SEVERAL
async def test_two_who_deal_at_once_never_give_too_much(store: Store) -> None:
    """One of them comes too late, or both say the same."""
    await submit_everywhere(store, 3)
    for _ in range(5):
        await asyncio.gather(*(limited(store, concurrency=4) for _ in range(3)))
        given = [(await store.limits.one(shard, "default")).concurrency or 0 for shard in range(store.shards)]
        assert sum(given) <= 4


@SEVERAL
async def test_a_rate_is_dealt_to_the_shards_that_have_work(store: Store, worker: Worker) -> None:
    """Together they start what it allows, and no more."""
    await submit_everywhere(store, 5)
    for _ in range(3):
        await store.limits.reconcile({"default": {"rate": 3, "period_seconds": 3600, "burst": 3}})
        leased = await worker.lease()
        assert len(leased) in (0, 3)
        await worker.succeed(*leased)
    counted = (await store.queues.counts())["default"]
    assert 5 * store.shards - 3 == counted["queued"]


@SEVERAL
async def test_a_rate_comes_and_goes_with_the_settings(store: Store) -> None:
    """Also when nothing waits, and whoever changed it died before the shards knew."""
    both, one = {"concurrency": 3, "rate": 5}, {"concurrency": 3}
    for settings in (one, both, one):
        await store.limits.reconcile({"default": settings})
        gates = [await store.limits.one(shard, "default") for shard in range(store.shards)]
        assert {"rate" in settings} == {gate.dealt is not None for gate in gates}
        assert 3 == sum(gate.concurrency or 0 for gate in gates)
    assert "#default" not in await store.limits.read(0)


@pytest.mark.parametrize("limit", [0, 1, 5, 16, 100])
def test_portions_are_the_whole_of_a_limit(limit: int) -> None:
    """Each shard with work gets some while there is any; none gets more than it asks for while another lacks."""
    for demands in ([0] * 16, [1] * 16, [0, 50, 1, 0], [1000, 0, 0, 1], [7]):
        for turn in range(4):
            given = portions(limit, demands, turn)
            assert limit == sum(given)
            if limit >= sum(demands):
                assert all(one >= demand for one, demand in zip(given, demands, strict=True))
            elif limit >= sum(map(bool, demands)):
                assert all(given[n] for n, demand in enumerate(demands) if demand)


def test_a_gate_reads_as_it_was_written() -> None:
    """Whatever is set in it."""
    settings = {"rate": 5, "period_seconds": 60, "concurrency": 7, "max_length": 9, "when_full": "drop_oldest"}
    for given in (settings, {"paused": {}}, {"draining": {}}, {}):
        assert gate_of(given) == parse_gate(gate_of(given).packed() + b"0" * 19)
    assert (12_000, 1) == (gate_of(settings).every_ms, gate_of(settings).burst)
    assert 100 == gate_of({"rate": 1000}).burst, "a high rate comes in handfuls"
