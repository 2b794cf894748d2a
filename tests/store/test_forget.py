"""What is forgotten, when, and that an emptied system is as small as a new one."""

from __future__ import annotations

import asyncio

import pytest

from service.ids import shard_of
from service.scheduler import janitor
from service.scheduler.janitor import Janitor
from service.store import Store
from service.store.endings import Ending, Origin, report
from service.store.queues import Queues
from service.store.upkeep import promote, prune, sweep
from service.task import options_of
from tests.store.acting import ADD, Worker, ask_cancel, new, snapshot, state, submit, submit_everywhere
from tests.store.deployments import Deployment

ONE = pytest.mark.deployments("valkey-1", "redis-1", "valkey-cluster")


def move_ends(deployment: Deployment, ids: list[bytes], by_ms: int) -> None:
    """As if *ids* had ended *by_ms* earlier, for the lists' sake."""
    for id_ in ids:
        shard = shard_of(id_)
        for name in ("done", "dead"):
            if (ended_ms := deployment.node(shard).zscore(f"tp:{{{shard}}}:{name}", id_)) is not None:
                deployment.node(shard).zadd(f"tp:{{{shard}}}:{name}", {id_: int(ended_ms) - by_ms})


def drop_records(deployment: Deployment, ids: list[bytes]) -> None:
    """As if the time to live of *ids* were over."""
    for id_ in ids:
        node, prefix = deployment.node(shard_of(id_)), f"tp:{{{shard_of(id_)}}}:".encode()
        for kind in (b"t:", b"o:", b"a:"):
            node.delete(prefix + kind + id_)


async def sweep_all(store: Store) -> int:
    return sum([await sweep(store.tasks, store.settings, shard) for shard in range(store.shards)])


async def prune_all(store: Store, deployment: Deployment) -> None:
    """Prune every bucket, as if all were older than the youngest that are looked at."""
    age(store, deployment)
    for shard in range(store.shards):
        place, _ = await prune(store.tasks, shard, 0)
        while place:
            place, _ = await prune(store.tasks, shard, place)


def age(store: Store, deployment: Deployment) -> None:
    """As if every bucket had been opened two minutes earlier."""
    for shard in range(store.shards):
        node, made = deployment.node(shard), f"tp:{{{shard}}}:made"
        for bucket, opened_ms in node.zrange(made, 0, -1, withscores=True):
            node.zadd(made, {bucket: int(opened_ms) - 120_000})


@pytest.mark.deployments("valkey-1")
async def test_looking_at_what_stays_is_rare(
    store: Store, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million waiting tasks are not looked at every two seconds: what was found for nothing is rested for."""
    monkeypatch.setattr(janitor, "STAYING_A_TURN", 10)
    await store.tasks.submit_call(0, [new(ADD)] * 35)
    age(store, deployment)
    duty, looks = Janitor(store, store.settings), store.scripts.meter.counts["taskpost_script_calls_total"]
    turns = []
    for _ in range(9):
        before = looks.get(("prune",), 0)
        await duty.run()
        turns.append(looks.get(("prune",), 0) - before)
    assert [1, *[0] * 4, 1, *[0] * 3] == turns  # three turns of rest, and one that finds the end


@pytest.mark.allows("unlisted")
async def test_old_tasks_leave_the_lists(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Successes after a day, failures after seven."""
    ids = await submit_everywhere(store, each=3)
    leased = await worker.lease()
    await worker.succeed(*leased[1:])
    await worker.fail(leased[0])
    assert 0 == await sweep_all(store)
    move_ends(deployment, ids, 86_400_000)
    assert len(ids) - 1 == await sweep_all(store)
    move_ends(deployment, ids, 6 * 86_400_000)
    assert 1 == await sweep_all(store)


@ONE
@pytest.mark.allows("unlisted")
async def test_a_longer_life_of_its_own_keeps_a_task_listed(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """`result_ttl_seconds: 604800` is listed for a week, also behind many such tasks."""
    long, short = {**ADD, "result_ttl_seconds": 604_800}, new()
    kept = [taken.id for taken in await store.tasks.submit_call(0, [new(long)] * 128)]
    kept += [taken.id for taken in await store.tasks.submit_call(0, [new(long)] * 100)]
    leaving = [taken.id for taken in await store.tasks.submit_call(0, [short] * 128)]
    while leased := await worker.lease():
        await worker.succeed(*leased)
    node = deployment.node(0)
    node.zadd("tp:{0}:done", dict.fromkeys(kept, 1_700_000_000_000) | dict.fromkeys(leaving, 1_700_000_000_001))
    assert len(leaving) == await sweep_all(store)
    assert len(kept) == node.zcard("tp:{0}:done")
    node.zadd("tp:{0}:exp", dict.fromkeys(kept, 1))
    assert len(kept) == await sweep_all(store)
    assert 0 == node.zcard("tp:{0}:exp")


@ONE
async def test_a_life_of_its_handler_counts_too(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Whoever says how long: what is kept for another time than the list's leaves it at its own."""
    ids = [taken.id for taken in await store.tasks.submit_call(0, [new(), new(key="k")])]
    one, two = await worker.lease()
    options = {**options_of(one.submission, None, store.settings), "result_ttl_seconds": 604_800}
    kept = report(
        Origin.of_leased(one, "w"), Ending("succeeded", b"1"), options, now_ms=store.tasks.clock.now_ms(),
        settings=store.settings,
    )  # fmt: skip
    assert b"1" == await worker.report([one], [kept])
    assert b"1" == await worker.succeed(two)
    assert [ids[0]] == deployment.node(0).zrange("tp:{0}:exp", 0, -1)


@ONE
async def test_lists_are_capped_by_number(deployment: Deployment) -> None:
    """The oldest go first, with all that belongs to them."""
    store = await deployment.open(max_finished=100, max_failed=100)
    worker = Worker(store)
    ids = [taken.id for _ in range(4) for taken in await store.tasks.submit_call(0, [new()] * 100)]
    while leased := await worker.lease():
        await worker.succeed(*leased)
    assert 300 == await sweep_all(store)
    await prune_all(store, deployment)
    assert [None] * 300 + ["succeeded"] * 100 == [await state(store, id_) for id_ in ids]
    await store.close()


@ONE
async def test_empty_queues_go(store: Store, worker: Worker, deployment: Deployment) -> None:
    """A queue made for one day leaves no name, list or marker; one with tasks stays."""
    await submit(store, new(queue="today"), new(queue="stays"))
    await worker.succeed(*await worker.lease(queue="today"))
    await sweep_all(store)
    assert {"stays"} == await Queues(store.tasks).names()
    assert not [key for key in deployment.all_keys() if b"today" in key]


@ONE
async def test_cancelled_tasks_of_a_queue_that_nobody_serves_go(store: Store, deployment: Deployment) -> None:
    """Their entries are skipped although no worker comes."""
    ids = await submit(store, *[new(queue="nobody") for _ in range(300)])
    await asyncio.gather(*(ask_cancel(store, id_) for id_ in ids))
    await sweep_all(store)
    assert not [key for key in deployment.all_keys() if b"nobody" in key]


@pytest.mark.allows("expired")
async def test_an_emptied_system_is_as_it_was_at_its_start(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Everything that was ever done leaves no key, but for settings and the empty stream."""
    before = deployment.all_keys()
    long = {"name": "n", "args": {"x": "x" * 900}, "callback": {"url": "http://127.0.0.1/"}}
    ids = await submit_everywhere(store, each=4, submission=long)
    ids += await submit_everywhere(store, each=2, delay_ms=1)
    ids += await submit(store, new(key="once"), new(queue="other", priority=1))
    [one, two, three, *rest] = await worker.lease()
    await worker.again(b"R", one, row=b"{}")
    await store.tasks.note_progress(shard_of(two.id), [(two.id, two.token, b"{}")])
    for task in (two, three, rest[0]):
        await store.tasks.note_checkpoints(shard_of(task.id), [(task.id, task.token, 1, b"{}")])
    await ask_cancel(store, three.id)
    await worker.end_cancelled(three)
    await worker.fail(two)
    await worker.succeed(*rest)
    for queue, lane in (("default", "async"), ("other", "async"), ("callbacks", "url")):
        for shard in range(store.shards):
            await promote(store.tasks, shard)
        while leased := await worker.lease_all(queue=queue, lane=lane):
            ids += [task.id for task in leased]
            await worker.succeed(*leased)
    move_ends(deployment, ids, 8 * 86_400_000)
    drop_records(deployment, ids)
    await sweep_all(store)
    await prune_all(store, deployment)
    left = deployment.all_keys() - before
    left = {key for key in left if deployment_ttl(deployment, key) == -1}
    allowed = {f"tp:{{{shard}}}:{name}".encode() for shard in range(16) for name in ("conf", "ev", "wake:@queues")}
    assert set() == left - allowed


def deployment_ttl(deployment: Deployment, key: bytes) -> int:
    """The key's time to live, -1 when it never goes by itself."""
    return int(deployment.node(int(key[4 : key.index(b"}")])).pttl(key))


@pytest.mark.parametrize("how", ["succeeded", "failed", "cancelled", "large"])
async def test_a_deleted_task_leaves_no_trace(store: Store, worker: Worker, deployment: Deployment, how: str) -> None:
    """Nothing but the events that told of it, and the last reply of its worker's session, knows its id."""
    given = {"name": "n", "args": {"x": "x" * 900}} if how == "large" else ADD
    ids = [taken.id for taken in await store.tasks.submit_call(0, [new(given, key=f"k{n}") for n in range(5)])]
    if how == "cancelled":
        for id_ in ids:
            await ask_cancel(store, id_)
    else:
        leased = await worker.lease()
        await (worker.fail(*leased) if how == "failed" else worker.succeed(*leased))
    for id_ in (ids[2], ids[0], ids[4]):
        assert 1 == await store.tasks.forget(id_, (await snapshot(store, id_)).record)
        assert None is await state(store, id_)
        traces = [key for key, value in deployment.values() if id_ in value or id_ in key]
        assert [] == [key for key in traces if not key.endswith(b":ev") and b":sess:" not in key]
    assert await state(store, ids[1]) == await state(store, ids[3]) is not None


async def test_a_key_may_be_used_again_after_its_task_was_deleted(store: Store, worker: Worker) -> None:
    """The deleted task does not answer any more; a new one does."""
    [first] = await store.tasks.submit([new(key="k")])
    await worker.succeed(*await worker.lease())
    await store.tasks.forget(first.id, (await snapshot(store, first.id)).record)
    [second] = await store.tasks.submit([new(key="k")])
    assert not second.is_earlier


async def test_only_ended_tasks_can_be_deleted(store: Store, worker: Worker) -> None:
    """Waiting and running ones are refused; what does not exist is said to."""
    [id_] = await submit(store, new())
    record = (await snapshot(store, id_)).record
    assert -1 == await store.tasks.forget(id_, record)
    [task] = await worker.lease()
    assert -1 == await store.tasks.forget(id_, record)
    await worker.succeed(task)
    assert 1 == await store.tasks.forget(id_, record)
    assert 0 == await store.tasks.forget(id_, record)


@ONE
async def test_a_task_that_came_in_late_is_found_and_deleted(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Its submission was sent again for seconds, while many others came in."""
    await store.tasks.submit_call(0, [new()])
    node, made = deployment.node(0), "tp:{0}:made"
    [bucket] = node.zrange(made, 0, -1)
    for late_ms in (0, 4000, -3000):
        [taken] = await store.tasks.submit_call(0, [new()])
        node.zadd(made, {bucket: int.from_bytes(taken.id[:6], "big") + late_ms})
        await worker.succeed(*await worker.lease())
        await store.tasks.forget(taken.id, (await snapshot(store, taken.id)).record)
        assert not [run for run in node.lrange(b"tp:{0}:made:" + bucket, 0, -1) if run[:14] == taken.id[:14]]


@ONE
@pytest.mark.allows("expired")
async def test_pruning_keeps_what_is_there(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Of a run of ids some are gone: the others stay in the order of creation."""
    ids = [taken.id for taken in await store.tasks.submit_call(0, [new()] * 100)]
    leased = await worker.lease_all()
    gone = {id_ for n, id_ in enumerate(ids) if n % 3}
    await worker.succeed(*[task for task in leased if task.id in gone])
    drop_records(deployment, list(gone))
    await prune_all(store, deployment)
    assert {"running"} == {await state(store, id_) for id_ in ids if id_ not in gone}


@ONE
@pytest.mark.allows("untold")
async def test_old_events_go(store: Store, worker: Worker, deployment: Deployment) -> None:
    """The stream of an idle system is empty after an hour."""
    await submit(store, new())
    await worker.succeed(*await worker.lease())
    shards = range(store.shards)
    while sum(deployment.node(shard).xlen(f"tp:{{{shard}}}:ev") for shard in shards):
        await asyncio.sleep(0.001)  # what happened in this very millisecond stays
        for shard in shards:
            await store.tasks.scripts.call(shard, "sweep", 86_400_000, 100, 86_400_000, 100, 0)


async def test_promotion_needs_no_worker(store: Store, deployment: Deployment) -> None:
    """Due tasks of a queue that nobody serves read as queued and are counted so."""
    ids = await submit(store, *[new(queue="nobody", delay_ms=5) for _ in range(300)])
    due_ms = max([(await snapshot(store, id_)).record.time_ms for id_ in ids])
    while store.tasks.clock.now_ms() <= due_ms:
        await asyncio.sleep(0.01)
    for shard in range(store.shards):
        await promote(store.tasks, shard)
    [queue] = [one for one in await store.queues.list("default") if one["name"] == "nobody"]
    assert (300, 0, 0) == (queue["queued"], queue["scheduled"], queue["running"])
