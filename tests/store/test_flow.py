"""What flow control promises: limits hold exactly, nothing of them leaks, and who waits costs the others nothing."""

from __future__ import annotations

import asyncio

import pytest

from service.flow import flow_hash
from service.ids import shard_of
from service.outcome import Succeeded
from service.store import Store
from service.store.amendments import CHANGED, Amendment, amend
from service.store.endings import Ending, hand_over
from service.store.flows import FlowState
from service.store.outside import reap
from service.store.upkeep import promote, tidy
from service.task import Leased
from tests.store.acting import Worker, ask_cancel, new, state, submit
from tests.store.deployments import Deployment

MINUTE_MS, FAR_MS = 60_000, 4_000_000_000_000
KEY, HASH = "api", flow_hash("default", "api")


async def standing(store: Store, key: str = KEY, namespace: str = "default") -> FlowState:
    found = await store.tasks.flows.read(store.shards, namespace, key)
    assert found is not None
    return found


async def change(store: Store, **given: object) -> None:
    await store.tasks.flows.change(store.shards, "default", KEY, given)


def ids_of(tasks: list[Leased]) -> list[bytes]:
    return [task.id for task in tasks]


async def move_rate(deployment: Deployment, store: Store, ms: int) -> None:
    """Have the key's rate stand as it will in *ms* from now."""
    shard = int.from_bytes(HASH[:4], "big") % store.shards
    node, place = deployment.node(shard), f"tp:{{{shard}}}:"
    key = place.encode() + b"flow:" + HASH
    node.hset(key, "tat", float(node.hget(key, "tat") or 0) - ms)
    for due in node.keys(place + "due:*"):
        for member, score in node.zrange(due, 0, -1, withscores=True):
            if member[:1] == b"F":
                node.zadd(due, {member: score - ms})


# ---------------------------------------------------------------- concurrency


async def test_no_more_than_its_concurrency_run_at_a_time(store: Store, worker: Worker) -> None:
    """Whatever is free, and whoever asks; what ends makes room for as many."""
    ids = await submit(store, *[new(flow=KEY, concurrency=2) for _ in range(5)])
    first = await worker.lease()
    assert ids[:2] == ids_of(first)
    assert [] == await Worker(store, "w2").lease()
    assert b"1" == await worker.succeed(first[0])
    assert ids[2:3] == ids_of(await worker.lease())
    assert (2, 2) == ((await standing(store)).running, (await standing(store)).waiting)


async def test_a_report_and_a_lease_in_one_call_keep_the_key_busy(store: Store, worker: Worker) -> None:
    """The task that ends makes room for the next one of the same call."""
    ids = await submit(store, *[new(flow=KEY, concurrency=1) for _ in range(3)])
    held: Leased | None
    [held] = await worker.lease()
    done = []
    while held:
        done.append(held.id)
        ending = worker.ending(held, Ending("succeeded", b"1"))
        stepped = await worker.step(shard_of(held.id), [ending], [("default", "async", 10)])
        assert len(stepped.leased) <= 1
        held = next(iter(stepped.leased), None)
    assert ids == done


async def test_a_key_holds_over_queues_lanes_and_priorities(store: Store, worker: Worker) -> None:
    """One limit for all tasks of it, wherever they wait; the higher priority goes first."""
    await submit(store, new(flow=KEY, concurrency=1), new(flow=KEY, priority=9), new(flow=KEY, queue="mail"))
    [high] = await worker.lease()
    assert 9 == high.priority
    assert [] == await worker.lease(queue="mail")
    assert b"1" == await worker.succeed(high)
    [mail] = await worker.lease(queue="mail")
    assert [] == await worker.lease()
    assert b"1" == await worker.succeed(mail)
    assert 1 == len(await worker.lease())


async def test_a_key_of_another_namespace_is_another_key(store: Store, worker: Worker) -> None:
    """Two tenants with the same word do not wait for each other."""
    await submit(store, new(flow=KEY, concurrency=1), new(flow=KEY, namespace="other", concurrency=1))
    assert 1 == len(await worker.lease())
    assert 1 == len(await worker.lease(queue="other/default"))
    assert [KEY] == [one.key for one in await store.tasks.flows.page(store.shards, "other", 10)]


async def test_a_full_key_holds_nobody_else(store: Store, worker: Worker) -> None:
    """Tasks in front of which it waits are taken as if it were not there, and are not made to look at it again."""
    await submit(store, *[new(flow=KEY, concurrency=1) for _ in range(50)])
    shard = int.from_bytes(HASH[:4], "big") % store.shards
    others = [one.id for one in await store.tasks.submit_call(shard, [new() for _ in range(50)])]
    assert 51 == len(await worker.lease())
    assert not worker.is_work_left
    assert [None] == await store.scripts.command("HMGET", f"tp:{{{shard}}}:tied", "default:a")
    assert "running" == await state(store, others[-1])


async def test_flow_control_changes_no_order(store: Store, worker: Worker) -> None:
    """Tasks of keys with room go as they came, among those without keys."""
    shard = int.from_bytes(HASH[:4], "big") % store.shards
    ids = []
    for n in range(12):
        made = new(flow=KEY, concurrency=50) if n % 3 == 0 else new()
        ids += [one.id for one in await store.tasks.submit_call(shard, [made])]
        await asyncio.sleep(0.002)  # their order is that of the times in their ids
    assert ids == ids_of(await worker.lease())


@pytest.mark.parametrize("kind", [b"R", b"D", b"B", b"K"])
async def test_a_task_that_comes_again_gives_its_place_up(store: Store, worker: Worker, kind: bytes) -> None:
    """Retried, deferred, handed back, crashed: the next one may run; what is handed back goes first."""
    ids = await submit(store, *[new(flow=KEY, concurrency=1) for _ in range(2)])
    [held] = await worker.lease()
    assert b"1" == await worker.again(kind, held, delay_ms=0 if kind in b"BK" else MINUTE_MS)
    expected = ids[0] if kind in b"BK" else ids[1]
    assert [expected] == ids_of(await worker.lease_any())
    assert 1 == (await standing(store)).running


async def test_a_lost_worker_frees_the_key(store: Store, worker: Worker) -> None:
    """Its task is given back and runs again, alone and within the limit."""
    [first, _] = await submit(store, *[new(flow=KEY, concurrency=1) for _ in range(2)])
    [held] = await worker.lease()
    lost = [(held.id, held.token)]
    assert 1 == await reap(store.tasks, store.handlers, store.settings, shard_of(held.id), lost)
    assert 0 == (await standing(store)).running
    assert [first] == ids_of(await worker.lease(lane="async alone"))
    assert [] == await worker.lease_any()


async def test_a_task_that_may_crash_no_more_frees_the_key(store: Store, worker: Worker) -> None:
    """It fails as worker_lost, and the next one runs."""
    ids = await submit(store, new(flow=KEY, concurrency=1, max_crashes=0), new(flow=KEY))
    [held] = await worker.lease()
    lost = [(held.id, held.token)]
    await reap(store.tasks, store.handlers, store.settings, shard_of(held.id), lost)
    assert "failed" == await state(store, ids[0])
    assert ids[1:] == ids_of(await worker.lease())


async def test_an_endpoint_that_finishes_later_keeps_its_place(store: Store, worker: Worker) -> None:
    """The key is held until the endpoint is done, not until it has answered 202."""
    ids = await submit(store, *[new(flow=KEY, concurrency=1) for _ in range(2)])
    [held] = await worker.lease()
    assert b"1" == await worker.report([held], [hand_over(held, MINUTE_MS, FAR_MS)])
    assert [] == await worker.lease()
    assert await store.completions.end(held.id, held.token, "complete", Succeeded(b"1"))
    assert ids[1:] == ids_of(await worker.lease())


async def test_cancelling_frees_what_waits_and_what_runs(store: Store, worker: Worker) -> None:
    """A cancelled task in a parked line is skipped; a running one holds the key until it has stopped."""
    ids = await submit(store, *[new(flow=KEY, concurrency=1) for _ in range(3)])
    [held] = await worker.lease()
    assert "ended" == await ask_cancel(store, ids[1])
    assert "stopping" == await ask_cancel(store, ids[0])
    assert [] == await worker.lease()
    assert b"1" == await worker.end_cancelled(held)
    assert ids[2:] == ids_of(await worker.lease())


async def test_a_line_of_cancelled_tasks_lets_other_groups_pass(store: Store, worker: Worker) -> None:
    """The group whose turn it is has nothing left: the next one gets the room."""
    given = [new(flow=KEY, group=group, concurrency=1) for group in "abbc"]
    ids = await submit(store, *given)
    [held] = await worker.lease()
    assert [] == await worker.lease()
    for id_ in ids[1:3]:
        assert "ended" == await ask_cancel(store, id_)
    assert b"1" == await worker.succeed(held)
    assert ids[3:] == ids_of(await worker.lease())


async def test_a_task_that_is_amended_waits_in_its_new_line(store: Store, worker: Worker) -> None:
    """Put off, brought forward, raised: it is met once, where it then is."""
    ids = await submit(store, *[new(flow=KEY, concurrency=1) for _ in range(3)])
    shard = shard_of(ids[0])
    later = store.tasks.clock.now_ms() + MINUTE_MS
    assert CHANGED == await amend(store.tasks, shard, [Amendment(ids[0], later)])
    assert CHANGED == await amend(store.tasks, shard, [Amendment(ids[2], None, 9)])
    done = []
    for _ in range(2):
        [held] = await worker.lease()
        done.append(held.id)
        await worker.succeed(held)
    assert [ids[2], ids[1]] == done
    assert [] == await worker.lease()
    assert CHANGED == await amend(store.tasks, shard, [Amendment(ids[0], 0)])
    assert ids[:1] == ids_of(await worker.lease())


async def test_a_delayed_task_has_its_key_when_it_is_due(store: Store, worker: Worker) -> None:
    """Also when nobody serves its queue, and the scheduler promotes it."""
    ids = await submit(store, *[new(flow=KEY, concurrency=1, delay_ms=30) for _ in range(2)])
    shard = shard_of(ids[0])
    for _ in range(200):
        await promote(store.tasks, shard)
        if (await store.queues.counts())["default"]["queued"] == 2:
            break
        await asyncio.sleep(0.01)
    assert 1 == len(await worker.lease())
    assert [] == await worker.lease()


# ---------------------------------------------------------------- rate


async def test_a_rate_spaces_the_starts(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Ten a minute: one now, the next in six seconds, and the worker is told when."""
    ids = await submit(store, *[new(flow=KEY, rate=10, period_seconds=60) for _ in range(4)])
    assert ids[:1] == ids_of(await worker.lease())
    assert [] == await worker.lease()
    now_ms = store.tasks.clock.now_ms()
    assert worker.next_due_ms is not None
    assert 5000 < worker.next_due_ms - now_ms <= 6001
    assert worker.next_due_ms == pytest.approx((await standing(store)).next_ms(now_ms), abs=1)
    await move_rate(deployment, store, 6000)
    assert ids[1:2] == ids_of(await worker.lease_all())
    await move_rate(deployment, store, 6000)
    assert ids[2:3] == ids_of(await worker.lease_all())


async def test_a_burst_may_start_at_once(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Three after a pause, then one by one."""
    await submit(store, *[new(flow=KEY, rate=1, period_seconds=60, burst=3) for _ in range(6)])
    assert 3 == len(await worker.lease())
    await move_rate(deployment, store, 60_000)
    assert 1 == len(await worker.lease_all())
    await move_rate(deployment, store, 600_000)
    assert 2 == len(await worker.lease_all())


async def test_a_key_that_was_full_when_its_rate_had_room_is_not_forgotten(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Parked for want of room, free again before its rate is: there is a time to come again."""
    ids = await submit(store, *[new(flow=KEY, concurrency=1, rate=1, period_seconds=60) for _ in range(2)])
    [held] = await worker.lease()
    assert [] == await worker.lease()
    assert b"1" == await worker.succeed(held)
    assert [] == await worker.lease()
    assert worker.next_due_ms is not None
    await move_rate(deployment, store, 60_000)
    assert ids[1:] == ids_of(await worker.lease_all())


# ---------------------------------------------------------------- changes


async def test_the_latest_submission_that_names_limits_sets_them(store: Store, worker: Worker) -> None:
    """One that names none takes them as they are; more room is used at once."""
    await submit(store, *[new(flow=KEY, concurrency=1) for _ in range(5)])
    assert 1 == len(await worker.lease())
    assert [] == await worker.lease()
    await submit(store, new(flow=KEY))
    assert 1 == (await standing(store)).concurrency
    await submit(store, new(flow=KEY, concurrency=3))
    assert 2 == len(await worker.lease())
    await submit(store, new(flow=KEY, rate=1000))
    assert (None, 1000) == ((await standing(store)).concurrency, (await standing(store)).rate)


async def test_a_pinned_key_is_changed_by_operators_only(store: Store) -> None:
    """What submissions name is not taken."""
    await change(store, concurrency=2, pinned=True)
    await submit(store, new(flow=KEY, concurrency=9, rate=9))
    found = await standing(store)
    assert (2, None, True) == (found.concurrency, found.rate, found.is_pinned)
    await change(store, pinned=False)
    await submit(store, new(flow=KEY, concurrency=9))
    assert 9 == (await standing(store)).concurrency


async def test_a_paused_key_starts_nothing_until_it_is_resumed(store: Store, worker: Worker) -> None:
    """What runs goes on; then all goes on, without anybody else doing anything."""
    await submit(store, *[new(flow=KEY, concurrency=2) for _ in range(3)])
    held = await worker.lease(room=1)
    await change(store, paused=True)
    assert [] == await worker.lease()
    assert b"1" == await worker.succeed(*held)
    assert [] == await worker.lease()
    await change(store, paused=False)
    assert 2 == len(await worker.lease())


async def test_more_room_is_used_at_once(store: Store, worker: Worker) -> None:
    """A limit that is raised or taken away opens what is parked."""
    await submit(store, *[new(flow=KEY, group=group, concurrency=1) for group in "abcdef"])
    assert 1 == len(await worker.lease())
    assert [] == await worker.lease()
    await change(store, concurrency=3)
    assert 2 == len(await worker.lease())
    await change(store, concurrency=None)
    assert 3 == len(await worker.lease())


async def test_less_room_is_kept_to_as_tasks_end(store: Store, worker: Worker) -> None:
    """Nothing is stopped; nothing starts until there are few enough."""
    await submit(store, *[new(flow=KEY, concurrency=3) for _ in range(6)])
    held = await worker.lease()
    await change(store, concurrency=1)
    await worker.succeed(*held[:2])
    assert [] == await worker.lease()
    await worker.succeed(held[2])
    assert 1 == len(await worker.lease())


async def test_a_reset_forgets_what_the_rate_used_up(store: Store, worker: Worker) -> None:
    """And a holder that does not run, if ever there were one."""
    await submit(store, *[new(flow=KEY, rate=1, period_seconds=3600) for _ in range(2)])
    assert 1 == len(await worker.lease())
    assert [] == await worker.lease()
    await store.tasks.flows.reset(store.shards, "default", KEY)
    assert 1 == len(await worker.lease())


async def test_a_holder_that_does_not_run_is_found(store: Store, worker: Worker, deployment: Deployment) -> None:
    """No script leaves one; were there one, upkeep takes it away."""
    await submit(store, new(flow=KEY, concurrency=1))
    shard = int.from_bytes(HASH[:4], "big") % store.shards
    deployment.node(shard).sadd(f"tp:{{{shard}}}:hold:".encode() + HASH, b"x" * 16)
    await tidy(store.tasks, shard)
    assert 1 == len(await worker.lease())


# ---------------------------------------------------------------- what is left


async def test_unused_keys_are_forgotten(store: Store, worker: Worker, deployment: Deployment) -> None:
    """A day after the last task of them, unless they are pinned or paused."""
    await submit(store, new(flow=KEY, concurrency=1), new(flow="pinned"), new(flow="busy"))
    await store.tasks.flows.change(store.shards, "default", "pinned", {"pinned": True})
    tasks = await worker.lease()
    await worker.succeed(*[task for task in tasks if task.submission is not None][:3])
    await submit(store, new(flow="busy"))
    for shard in range(store.shards):
        node = deployment.node(shard)
        for key in node.keys(f"tp:{{{shard}}}:flow:*"):
            node.hset(key, "seen", 1)
        await tidy(store.tasks, shard)
    assert ["busy", "pinned"] == [one.key for one in await store.tasks.flows.page(store.shards, "default", 10)]


async def test_lines_of_cancelled_tasks_leave_nothing(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Neither where the key is full nor where nobody serves the queue."""
    ids = await submit(store, *[new(flow=KEY, concurrency=1) for _ in range(3)])
    ids += await submit(store, *[new(flow=KEY, queue="nobody") for _ in range(3)], new(group="g", queue="nobody"))
    [held] = await worker.lease()
    assert [] == await worker.lease()
    for id_ in ids[1:]:
        assert "ended" == await ask_cancel(store, id_)
    for shard in range(store.shards):
        await store.scripts.call(shard, "retire")
        await tidy(store.tasks, shard)
    left = {key.partition(b"}:")[2].partition(b":")[0] for key in deployment.all_keys()}
    assert not left & {b"line", b"lined", b"lines", b"park", b"parks"}
    assert b"1" == await worker.succeed(held)


async def test_keys_are_listed_in_pages(store: Store) -> None:
    """By name, whatever their shards."""
    names = [*(f"key-{n}" for n in range(7)), "key-1:a"]
    await submit(store, *[new(flow=name) for name in names])
    seen: list[str] = []
    while some := await store.tasks.flows.page(store.shards, "default", 3, seen[-1] if seen else ""):
        seen += [one.key for one in some]
    assert sorted(names) == seen
