"""What submitting promises: order, once for each id and key, delays, markers."""

from __future__ import annotations

import asyncio

from service.ids import shard_of
from service.store import Store
from service.store.tasks import IDEMPOTENCY_MS
from tests.store.acting import ADD, Worker, new, snapshot, state, submit, submit_everywhere
from tests.store.deployments import Deployment


async def test_tasks_of_one_priority_are_leased_in_the_order_of_submission(store: Store, worker: Worker) -> None:
    """First in, first out."""
    ids = await submit(store, *[new() for _ in range(20)])
    assert ids == [task.id for task in await worker.lease()]


async def test_higher_priorities_are_leased_first(store: Store, worker: Worker) -> None:
    """9 before 0, whenever each was submitted."""
    ids = await submit(store, *[new(priority=priority) for priority in (0, 5, 9, 5)])
    assert [ids[2], ids[1], ids[3], ids[0]] == [task.id for task in await worker.lease()]


async def test_a_worker_gets_only_tasks_of_lanes_it_has_room_for(store: Store, worker: Worker) -> None:
    """A full thread pool does not hold back URL tasks."""
    thread, url = await submit(store, new(lane="thread"), new({"url": "http://127.0.0.1/"}, lane="url"))
    assert [url] == [task.id for task in await worker.lease(lane="url")]
    assert [thread] == [task.id for task in await worker.lease(lane="thread")]


async def test_queues_do_not_see_each_other(store: Store, worker: Worker) -> None:
    """A queue, and the queue of that name in another namespace, are two."""
    mine, theirs = await submit(store, new(queue="mail"), new(queue="mail", namespace="shop"))
    assert [mine] == [task.id for task in await worker.lease(queue="mail")]
    [leased] = await worker.lease(queue="shop/mail")
    assert (theirs, "shop", "mail") == (leased.id, leased.namespace, leased.queue)


async def test_a_leased_task_is_what_was_submitted(store: Store, worker: Worker) -> None:
    """Submission, queue, priority, lane: all of it reaches the worker."""
    await submit(store, new({"name": "a.b", "args": {"big": 2**63 - 1, "empty": []}}, queue="mail", priority=7))
    [task] = await worker.lease(queue="mail")
    assert {"name": "a.b", "args": {"big": 2**63 - 1, "empty": []}} == task.submission
    assert ("mail", "default", 7, "async", 1, 0) == (
        task.queue, task.namespace, task.priority, task.lane, task.attempt, task.crashes,
    )  # fmt: skip


async def test_the_same_call_sent_twice_takes_its_tasks_in_once(store: Store, worker: Worker) -> None:
    """A submission whose reply was lost is sent again and changes nothing."""
    [taken] = await store.tasks.submit_call(0, [new()])
    args = (IDEMPOTENCY_MS, taken.id, new().record)
    assert b"0" == (await store.tasks.scripts.call(0, "submit", *args))[1]
    assert [taken.id] == [task.id for task in await worker.lease()]
    assert b"0" == (await store.tasks.scripts.call(0, "submit", *args))[1]
    assert [] == await worker.lease()


async def test_a_repeated_call_with_a_key_answers_its_own_task(store: Store) -> None:
    """The key's owner asks again and is told that the task is new, as the first time."""
    task = new(key="order-1")
    [taken] = await store.tasks.submit_call(0, [task])
    args = (IDEMPOTENCY_MS, taken.id + task.idempotency, task.record)
    _, statuses, earlier = await store.tasks.scripts.call(0, "submit", *args)
    assert (b"0", b"") == (statuses, earlier)


async def test_the_same_key_answers_the_same_task(store: Store, worker: Worker) -> None:
    """Submitted twice with one Idempotency-Key, done once; also when the task has ended."""
    [first] = await store.tasks.submit([new(key="order-1")])
    [second] = await store.tasks.submit([new(key="order-1")])
    assert (False, first.id, True, False) == (first.is_earlier, second.id, second.is_earlier, second.is_mismatch)
    [task] = await worker.lease()
    await worker.succeed(task)
    [third] = await store.tasks.submit([new(key="order-1")])
    assert (first.id, True) == (third.id, third.is_earlier)


async def test_the_same_key_twice_in_one_call_is_one_task(store: Store) -> None:
    """Two submissions of a batch with one key: the second is told of the first."""
    first, second = await store.tasks.submit([new(key="order-1"), new(key="order-1")])
    assert (first.id, True) == (second.id, second.is_earlier)


async def test_a_key_with_another_submission_is_a_mismatch(store: Store) -> None:
    """Neither task replaces the other, in one call or in two."""
    other = {"name": "demo.sleep"}
    first, second = await store.tasks.submit([new(key="order-1"), new(other, key="order-1")])
    [third] = await store.tasks.submit([new(other, key="order-1")])
    for later in (second, third):
        assert (first.id, True, True) == (later.id, later.is_earlier, later.is_mismatch)


async def test_keys_of_namespaces_are_apart(store: Store) -> None:
    """Another namespace's key says nothing."""
    first, second = await store.tasks.submit([new(key="k"), new(key="k", namespace="shop")])
    assert not second.is_earlier
    assert first.id != second.id


async def test_a_key_outlives_a_short_result(store: Store, worker: Worker, deployment: Deployment) -> None:
    """As long as the key answers with a task, that task can be read."""
    [id_] = await submit(store, new({**ADD, "result_ttl_seconds": 60}, key="order-1"))
    await worker.succeed(*await worker.lease())
    [kept_ms] = [deployment.node(shard_of(id_)).pttl(key) for key in deployment.all_keys() if key.endswith(b"t:" + id_)]
    [key_ms] = [deployment.node(shard_of(id_)).pttl(key) for key in deployment.all_keys() if b":idem:" in key]
    assert kept_ms >= key_ms - 1000


async def test_a_delayed_task_is_scheduled_and_then_queued(store: Store, worker: Worker) -> None:
    """Not leased before its time, and leased at it; the worker is told when that is."""
    [id_] = await submit(store, new(delay_ms=1500))
    assert "scheduled" == await state(store, id_)
    due_ms = (await snapshot(store, id_)).record.time_ms
    assert [] == await worker.lease()
    assert due_ms == worker.next_due_ms
    while store.tasks.clock.now_ms() < due_ms:
        await asyncio.sleep(0.01)
    leased = await worker.lease_all()
    assert [id_] == [task.id for task in leased]


async def test_a_task_with_a_time_in_the_past_is_ready_at_once(store: Store, worker: Worker) -> None:
    """`run_at` of yesterday means now."""
    [id_] = await submit(store, new(due_ms=1_700_000_000_000))
    assert "queued" == await state(store, id_)
    assert [id_] == [task.id for task in await worker.lease()]


async def test_due_tasks_keep_priority_and_lane(store: Store, worker: Worker) -> None:
    """A promoted task stands where it would have stood without its delay."""
    ids = await submit(store, new(delay_ms=20, priority=1), new(delay_ms=20, priority=8), new(delay_ms=20, lane="url"))
    while (await snapshot(store, ids[2])).state != "queued":
        await asyncio.sleep(0.01)
    assert [ids[1], ids[0]] == [task.id for task in await worker.lease_all()]
    assert [ids[2]] == [task.id for task in await worker.lease_all(lane="url")]


async def test_many_tasks_of_one_call_are_all_taken_in(store: Store, worker: Worker) -> None:
    """A batch larger than a script call takes is split and stays in order."""
    ids = await submit(store, *[new({"name": "demo.add", "args": {"a": n}}) for n in range(1000)])
    assert 1000 == len(set(ids))
    leased = await worker.lease_all()
    assert list(range(1000)) == [task.submission["args"]["a"] for task in leased]
    assert ids == [task.id for task in leased]


async def test_concurrent_submissions_share_calls(store: Store, deployment: Deployment) -> None:
    """A hundred requests at once cost a few commands, not a hundred."""
    taken = await asyncio.gather(*(store.tasks.submit([new()]) for _ in range(100)))
    assert 100 == len({one.id for [one] in taken})
    calls = sum(deployment.node(shard).xlen(f"tp:{{{shard}}}:ev") for shard in range(store.shards))
    assert calls <= 2 * store.shards


async def test_every_shard_takes_tasks(store: Store, worker: Worker) -> None:
    """Tasks of all shards are leased, ended and counted."""
    ids = await submit_everywhere(store, each=5)
    assert set(range(store.shards)) == {shard_of(id_) for id_ in ids}
    leased = await worker.lease()
    assert sorted(ids) == sorted(task.id for task in leased)
    assert b"1" * len(ids) == await worker.succeed(*leased)


async def test_a_submission_raises_the_marker_of_its_lane(store: Store, deployment: Deployment) -> None:
    """An idle worker is woken, and for a queue of a new name all are told that there is one."""
    await store.tasks.submit_call(0, [new(queue="mail")])
    assert {b"tp:{0}:wake:mail:a", b"tp:{0}:wake:@queues"} == {key for key in deployment.all_keys() if b":wake:" in key}


async def test_a_known_queue_does_not_raise_the_marker_of_new_queues(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """An idle system is not woken twice for each task."""
    await store.tasks.submit_call(0, [new()])
    await worker.succeed(*await worker.lease())
    deployment.node(0).delete("tp:{0}:wake:@queues")
    await store.tasks.submit_call(0, [new()])
    await worker.succeed(*await worker.lease())
    assert b"tp:{0}:wake:@queues" not in deployment.all_keys()


async def test_only_the_earliest_delayed_task_raises_the_marker(store: Store, deployment: Deployment) -> None:
    """Somebody must wake in time for it; later ones wake nobody."""
    node, marker = deployment.node(0), "tp:{0}:wake:default:a"
    for delay_ms, is_raised in ((60_000, 1), (90_000, 0), (30_000, 1)):
        node.delete(marker)
        await store.tasks.submit_call(0, [new(delay_ms=delay_ms)])
        assert is_raised == node.exists(marker), delay_ms
