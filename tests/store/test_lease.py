"""What leasing promises: one holder, bounded calls, answers that may be asked for again."""

from __future__ import annotations

import asyncio

import pytest

from service.ids import shard_of
from service.store import Store
from service.store.endings import Ending, again
from service.ties import Ties
from tests.store.acting import LEASE_MS, Worker, ask_cancel, new, rows, snapshot, state, submit, submit_everywhere
from tests.store.deployments import Deployment


async def test_a_task_is_never_leased_twice(store: Store) -> None:
    """Eight workers at once: each task goes to one of them."""
    ids = await submit_everywhere(store, each=40)
    workers = [Worker(store, f"w{n}") for n in range(8)]
    leased = await asyncio.gather(*(worker.lease(room=9) for worker in workers))
    taken = [task.id for tasks in leased for task in tasks]
    assert len(taken) == len(set(taken)) == min(len(ids), 8 * 9 * store.shards)


async def test_a_lease_call_repeated_with_its_token_answers_the_same(store: Store, worker: Worker) -> None:
    """A reply that was lost is asked for again: same tasks, same statuses, nothing leased twice."""
    await store.tasks.submit_call(0, [new() for _ in range(6)])
    [first] = (await worker.step(0, wants=[("default", "async", 1)])).leased
    reports, token = [worker.ending(first, Ending("succeeded", b"5"))], worker.token()
    once = await worker.step(0, reports, [("default", "async", 2)], token)
    again = await worker.step(0, reports, [("default", "async", 2)], token)
    assert 2 == len(once.leased)
    assert (once.statuses, [task.id for task in once.leased]) == (again.statuses, [task.id for task in again.leased])
    assert once.leased[0].raw == again.leased[0].raw
    assert 3 == len((await Worker(store).step(0, wants=[("default", "async", 9)])).leased)


async def test_a_repeated_lease_call_leaves_out_what_was_lost_since(store: Store, worker: Worker) -> None:
    """Tasks whose leases were given to somebody else are not answered again."""
    await store.tasks.submit_call(0, [new(), new()])
    token = worker.token()
    one, two = (await worker.step(0, wants=[("default", "async", 2)], token=token)).leased
    await worker.store.tasks.reap(0, [(one.id, token)])
    answered = await worker.step(0, wants=[("default", "async", 2)], token=token)
    assert [two.id] == [task.id for task in answered.leased]


async def test_a_call_that_comes_too_late_leases_nothing(store: Store, worker: Worker) -> None:
    """A duplicate of an earlier call, stuck on a lost connection, must not take tasks that nobody hears of."""
    early = worker.token()
    await store.tasks.submit_call(0, [new(), new()])
    await worker.step(0, wants=[("default", "async", 1)])
    late = await worker.step(0, wants=[("default", "async", 1)], token=early)
    assert [] == late.leased


async def test_lanes_share_their_room_among_queues(store: Store, worker: Worker) -> None:
    """A worker with three free slots gets three tasks, from however many queues."""
    await store.tasks.submit_call(0, [new(queue=queue) for queue in ("a", "b") for _ in range(5)])
    stepped = await worker.step(0, wants=[("a", "async", 3), ("b", "async", 3)])
    assert 3 == len(stepped.leased)
    assert stepped.is_work_left


async def test_a_worker_that_leaves_work_raises_the_marker_again(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Workers wake one by one until there is nothing left to do."""
    node, marker = deployment.node(0), "tp:{0}:wake:default:a"
    await store.tasks.submit_call(0, [new(), new(), new()])
    node.delete(marker)
    assert (await worker.step(0, wants=[("default", "async", 2)])).is_work_left
    assert 1 == node.exists(marker)
    node.delete(marker)
    assert not (await worker.step(0, wants=[("default", "async", 2)])).is_work_left
    assert 0 == node.exists(marker)


async def test_three_thousand_cancelled_tasks_do_not_hold_back_a_live_one(store: Store, worker: Worker) -> None:
    """What was cancelled is skipped in bounded calls that say that work is left."""
    ids = await submit(store, *[new() for _ in range(3000)])
    [live] = [taken.id for taken in await store.tasks.submit_call(shard_of(ids[0]), [new()])]
    for start in range(0, 3000, 100):
        await asyncio.gather(*(ask_cancel(store, id_) for id_ in ids[start : start + 100]))
    shard = shard_of(live)
    calls, leased = 0, []
    while not leased:
        stepped = await worker.step(shard, wants=[("default", "async", 10)])
        calls, leased = calls + 1, stepped.leased
        assert leased or stepped.is_work_left
    assert [live] == [task.id for task in leased]
    assert calls > 1, "a call is bounded"


async def test_large_tasks_come_a_few_a_call(store: Store, worker: Worker) -> None:
    """A hundred tasks of 200 KB are not twenty megabytes of one reply."""
    big = {"name": "demo.add", "args": {"text": "x" * 200_000}}
    ids = [taken.id for n in range(5) for taken in await store.tasks.submit_call(0, [new(big)] * 4)]
    first = await worker.step(0, wants=[("default", "async", 100)])
    assert 0 < len(first.leased) < 10
    assert first.is_work_left
    leased = [*first.leased, *await worker.lease_all()]
    assert ids == [task.id for task in leased]


async def test_a_heartbeat_keeps_a_lease(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Its deadline moves; a task that is not held any more is named as lost."""
    await store.tasks.submit_call(0, [new(), new()])
    one, two = (await worker.step(0, wants=[("default", "async", 2)])).leased
    deployment.node(0).zadd("tp:{0}:lease", {one.id: 1, two.id: 1})
    await worker.succeed(two)
    assert b"10" == await store.tasks.extend(0, [(one.id, one.token), (two.id, two.token)], LEASE_MS)
    assert store.tasks.clock.now_ms() + LEASE_MS - 5000 < deployment.node(0).zscore("tp:{0}:lease", one.id)
    assert b"0" == await store.tasks.extend(0, [(one.id, bytes(12))], LEASE_MS)


async def test_a_heartbeat_says_that_cancellation_was_asked_for(store: Store, worker: Worker) -> None:
    """The worker hears of it at its next heartbeat at the latest."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await ask_cancel(store, id_)
    assert b"2" == await store.tasks.extend(shard_of(id_), [(id_, task.token)], LEASE_MS)


async def test_a_hand_back_spends_no_attempt_and_stays_in_front(store: Store, worker: Worker) -> None:
    """After a drain the tasks are leased again in their order, before those that waited behind them."""
    ids = [taken.id for taken in await store.tasks.submit_call(0, [new() for _ in range(5)])]
    leased = (await worker.step(0, wants=[("default", "async", 3)])).leased
    assert b"111" == await worker.again(b"B", *leased)
    again = (await worker.step(0, wants=[("default", "async", 9)])).leased
    assert ids == [task.id for task in again]
    assert [1] * 5 == [task.attempt for task in again]


async def test_a_retry_spends_an_attempt_and_a_deferral_does_not(store: Store, worker: Worker) -> None:
    """Retried: attempt 2 comes next. Deferred: attempt 1 again."""
    for kind, attempt in ((b"R", 2), (b"D", 1)):
        [id_] = await submit(store, new(queue=kind.decode()))
        [task] = await worker.lease(queue=kind.decode())
        row = b'{"attempt":1,"outcome":"failed"}' if kind == b"R" else None
        assert b"1" == await worker.again(kind, task, delay_ms=1, row=row)
        while (await snapshot(store, id_)).state != "queued":
            await asyncio.sleep(0.005)
        [again] = await worker.lease_all(queue=kind.decode())
        assert (id_, attempt) == (again.id, again.attempt)
        assert (1 if row else 0) == len(await rows(store, id_))


async def test_a_task_waiting_for_its_retry_reads_as_scheduled(store: Store, worker: Worker) -> None:
    """With the attempt it has behind it."""
    [id_] = await submit(store, new())
    await worker.again(b"R", *await worker.lease(), delay_ms=60_000, row=b'{"attempt":1}')
    found = await snapshot(store, id_)
    assert "scheduled" == found.state
    assert found.run is not None
    assert (1, False) == (found.run.attempt, found.run.is_held)


async def test_progress_is_noted_while_the_lease_holds(store: Store, worker: Worker) -> None:
    """It reads with the task, and is gone with its end when the ending carries none."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    shard = shard_of(id_)
    assert b"1" == await store.tasks.note_progress(shard, [(id_, task.token, b'{"current":1}')])
    assert {"current": 1} == (await snapshot(store, id_)).progress
    assert b"0" == await store.tasks.note_progress(shard, [(id_, bytes(12), b'{"current":2}')])
    assert {"current": 1} == (await snapshot(store, id_)).progress


@pytest.mark.deployments("valkey-1", "redis-1")
async def test_progress_of_an_earlier_attempt_goes_with_the_task(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """The attempt that ends the task said nothing of progress; what an earlier one said does not stay behind."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await store.tasks.note_progress(0, [(id_, task.token, b'{"current":1}')])
    await worker.again(b"R", task, row=b"{}")
    await worker.succeed(*await worker.lease())
    assert "succeeded" == await state(store, id_)
    assert not [key for key in deployment.all_keys() if b"p:" + id_ in key]


async def test_a_task_handed_back_by_a_call_that_leases_others_is_not_lost(store: Store, worker: Worker) -> None:
    """What goes to the front of a list must not be cut off as if it were what was taken from there."""
    await store.tasks.submit_call(0, [new() for _ in range(4)])
    [first] = (await worker.step(0, wants=[("default", "async", 1)])).leased
    stepped = await worker.step(0, [again(first, b"B", 0, None)], [("default", "async", 2)])
    assert b"1" == stepped.statuses
    assert stepped.is_work_left
    rest = (await worker.step(0, wants=[("default", "async", 9)])).leased
    assert first.id in [task.id for task in [*stepped.leased, *rest]]
    assert 4 == len({task.id for task in [*stepped.leased, *rest]})


async def test_a_reported_crash_is_counted_and_the_task_comes_first(store: Store, worker: Worker) -> None:
    """Kind K: no attempt is spent, one crash is counted, the row is kept, the task runs again before the others."""
    await store.tasks.submit_call(0, [new() for _ in range(3)])
    [first] = (await worker.step(0, wants=[("default", "async", 1)])).leased
    row = b'{"attempt":1,"outcome":"crashed"}'
    assert b"1" == (await worker.step(0, [again(first, b"K", 0, row)])).statuses
    assert b"0" == (await worker.step(0, [again(first, b"K", 0, row)])).statuses  # the lease is over
    assert "queued" == await state(store, first.id)
    assert [{"attempt": 1, "outcome": "crashed"}] == await rows(store, first.id)
    [next_one] = (await worker.step(0, wants=[("default", "async", 1)])).leased
    assert (first.id, 1, 1) == (next_one.id, next_one.attempt, next_one.crashes)


async def test_a_share_goes_before_the_rest_of_the_room(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Each queue its share, then who has more; what is left behind is known, and what is not there costs nothing."""
    wants = [("a", "async", 4), ("b", "async", 2), ("a", "async", 6), ("b", "async", 6)]
    for many, expected, is_left in [((9, 9), (4, 2), True), ((9, 1), (5, 1), True), ((4, 2), (4, 2), False),
                                    ((0, 9), (0, 6), True), ((3, 2), (3, 2), False)]:  # fmt: skip
        deployment.empty()
        tasks = [new(queue=queue, priority=n % 10) for queue, n in zip("ab", many, strict=True) for n in range(n)]
        await store.tasks.submit_call(0, tasks)
        deployment.node(0).delete("tp:{0}:wake:a:a", "tp:{0}:wake:b:a")
        stepped = await worker.step(0, wants=wants)
        taken = [task.queue for task in stepped.leased]
        assert expected == (taken.count("a"), taken.count("b"))
        assert (is_left, False) == (stepped.is_work_left, stepped.is_cut_short)
        left = [int(all_ > some) for all_, some in zip(many, expected, strict=True)]
        assert left == [deployment.node(0).exists(f"tp:{{0}}:wake:{queue}:a") for queue in "ab"]


async def test_a_call_that_is_full_says_that_it_did_not_look_everywhere(store: Store, worker: Worker) -> None:
    """A queue that was not looked at is not taken for an empty one."""
    big = {"name": "demo.add", "args": {"text": "x" * 200_000}}
    for queue in ("a", "a", "b"):
        await store.tasks.submit_call(0, [new(big, queue=queue)] * 4)
    stepped = await worker.step(0, wants=[("a", "async", 50), ("b", "async", 50)])
    assert {"a"} == {task.queue for task in stepped.leased}
    assert stepped.is_cut_short
    rest = await worker.step(0, wants=[("a", "async", 50), ("b", "async", 50)])
    assert ["a", "a", "b", "b", "b", "b"] == [task.queue for task in rest.leased]
    assert (False, False) == (rest.is_work_left, rest.is_cut_short)


async def test_what_ties_a_task_to_others_leaves_its_queue_as_it_is(store: Store, worker: Worker) -> None:
    """Counted, retried and ended in its own queue, small or large, whatever stands behind the queue's name."""
    ties = Ties(b"\0F" * 8, b"\n" * 16, "acme")
    for queue in ("default", "mail"):
        for text in ("x", "x" * 600):
            [id_] = await submit(store, new({"name": "n", "args": {"x": text}}, queue=queue, ties=ties))
            shard = shard_of(id_)
            [task] = (await worker.step(shard, wants=[(queue, "async", 1)])).leased
            assert (queue, {"x": text}) == (task.queue, task.submission["args"])
            await worker.step(shard, [again(task, b"R", 0, None)])
            [task] = (await worker.step(shard, wants=[(queue, "async", 1)])).leased
            await worker.step(shard, [worker.ending(task, Ending("succeeded", b"5"))])
            ended = await snapshot(store, id_)
            assert ("succeeded", queue, ties, 2) == (
                ended.state, ended.record.queue, ended.record.ties, ended.record.outcome["attempt"])  # type: ignore[index]
        assert {"queued": 0, "scheduled": 0, "running": 0} == (await store.queues.counts())[queue]
