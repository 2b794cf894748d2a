"""What a lost worker costs: its tasks come back, are counted fairly, and none is lost or looped for ever."""

from __future__ import annotations

from typing import Any

import orjson

from service.ids import shard_of
from service.store import Store
from service.store.outside import lost_report, reap
from service.task import Leased
from tests.store.acting import ADD, LEASE_MS, Worker, ask_cancel, new, rows, snapshot, state, submit, submit_everywhere
from tests.store.deployments import Deployment


async def reap_all(store: Store) -> int:
    """One reap of every shard, with the endings it asks for."""
    return sum([await reap(store.tasks, store.handlers, store.settings, n) for n in range(store.shards)])


def arrange(store: Store, deployment: Deployment, *, reaped_ms_ago: int = 1000, hold_ms: int = 0) -> None:
    """The last reap ran so long ago, and nothing holds the next one."""
    now_ms = store.tasks.clock.now_ms()
    for shard in range(store.shards):
        noted = {"reaped": now_ms - reaped_ms_ago, "hold": now_ms + hold_ms}
        deployment.node(shard).hset(f"tp:{{{shard}}}:conf", mapping=noted)


def expire(deployment: Deployment, *tasks: Leased) -> None:
    """The leases of *tasks* ended a moment ago."""
    for task in tasks:
        shard = shard_of(task.id)
        deployment.node(shard).zadd(f"tp:{{{shard}}}:lease", {task.id: 1})


async def confirm(store: Store, *tasks: Leased) -> None:
    """A heartbeat of their worker."""
    for task in tasks:
        await store.tasks.extend(shard_of(task.id), [(task.id, task.token)], LEASE_MS)


async def crash(store: Store, deployment: Deployment, worker: Worker) -> list[Leased]:
    """Lease, confirm, fall silent, be reaped."""
    leased = await worker.lease_any()
    await confirm(store, *leased)
    expire(deployment, *leased)
    arrange(store, deployment)
    await reap_all(store)
    return leased


async def test_tasks_of_a_silent_worker_come_back(store: Store, worker: Worker, deployment: Deployment) -> None:
    """In every shard, with the same attempt next; none of those that were lost together takes the blame."""
    ids = await submit_everywhere(store, each=2)
    await crash(store, deployment, worker)
    again = await Worker(store, "w2").lease()
    assert sorted(ids) == sorted(task.id for task in again)
    assert {(1, 0)} == {(task.attempt, task.crashes) for task in again}
    noted = await rows(store, ids[0])
    assert [("crashed", "w1")] == [(row["outcome"], row["worker"]) for row in noted]


async def test_tasks_come_back_before_those_that_waited_behind_them(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """In their order, at the front of their queue."""
    ids = [taken.id for taken in await store.tasks.submit_call(0, [new() for _ in range(6)])]
    leased = (await worker.step(0, wants=[("default", "async", 3)])).leased
    expire(deployment, *leased)
    arrange(store, deployment)
    assert 3 == await reap_all(store)
    assert ids == [task.id for task in await worker.lease()]


async def test_live_leases_are_left_alone(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Only what has expired is given back."""
    await submit(store, new())
    [task] = await worker.lease()
    arrange(store, deployment)
    assert 0 == await reap_all(store)
    assert b"1" == await worker.succeed(task)


async def test_after_a_pause_nothing_is_reaped_for_one_lease(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Redis was away: its workers could not send heartbeats, and get the time to."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    expire(deployment, task)
    arrange(store, deployment, reaped_ms_ago=6000)
    assert 0 == await reap_all(store)
    hold_ms = int(deployment.node(shard_of(id_)).hget(f"tp:{{{shard_of(id_)}}}:conf", "hold"))
    assert LEASE_MS - 5000 < hold_ms - store.tasks.clock.now_ms() <= LEASE_MS + 5000
    arrange(store, deployment, hold_ms=60_000)
    assert 0 == await reap_all(store), "still held"
    arrange(store, deployment)
    assert 1 == await reap_all(store), "the time is over"


async def test_a_clock_that_went_back_holds_the_next_reap(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Deadlines of another clock say nothing yet."""
    await submit(store, new())
    expire(deployment, *await worker.lease())
    arrange(store, deployment, reaped_ms_ago=-60_000)
    assert 0 == await reap_all(store)


async def test_reapers_do_not_get_in_each_others_way(store: Store, worker: Worker, deployment: Deployment) -> None:
    """The second within a moment finds nothing to do."""
    await submit(store, new())
    arrange(store, deployment)
    await reap_all(store)
    expire(deployment, *await worker.lease())
    assert 0 == await reap_all(store)


async def test_leases_that_were_never_confirmed_count_no_crash(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """The reply most likely never arrived; nine times, then it counts."""
    [id_] = await submit(store, new(max_crashes=1))
    for round_ in range(10):
        [task] = await worker.lease()
        assert (0, 1) == (task.crashes, task.attempt), round_
        expire(deployment, task)
        arrange(store, deployment)
        assert 1 == await reap_all(store)
        assert "queued" == await state(store, id_)
    [task] = await worker.lease()
    assert 1 == task.crashes
    expire(deployment, task)
    arrange(store, deployment)
    assert 1 == await reap_all(store)
    assert "failed" == await state(store, id_)


async def test_of_tasks_lost_together_none_is_blamed_nine_times(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """A task that kills its worker must not take those beside it along; nor may it loop for ever."""
    ids = await submit_everywhere(store, each=2, max_crashes=1)
    for crashes in (0,) * 10 + (1,):
        leased = await crash(store, deployment, worker)
        assert {crashes} == {task.crashes for task in leased}
    assert {"failed"} == {await state(store, id_) for id_ in ids}


async def test_losses_of_one_process_are_one_loss_in_all_shards(store: Store, worker: Worker) -> None:
    """Each shard sees only its own part; whoever reports the loss says how many there were."""
    await store.tasks.submit_call(0, [new(), new(), new(max_crashes=0)])
    one, two, last = (await worker.step(0, wants=[("default", "async", 3)])).leased
    await store.tasks.reap(0, [(one.id, one.token)], together=2)
    await store.tasks.reap(0, [(two.id, two.token)])
    assert (0, [(last.id, last.token)]) == await store.tasks.reap(0, [(last.id, last.token)], together=2)
    found = {task.id: task.crashes for task in await worker.lease_any()}
    assert {one.id: 0, two.id: 1} == found


async def test_a_task_that_kills_its_workers_fails_as_worker_lost(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """After `max_crashes` crashes it may not run again."""
    called = {**ADD, "callback": {"url": "http://127.0.0.1/hook"}}
    [id_] = await submit(store, new(called, max_crashes=2))
    for crashes in range(2):
        [task] = await crash(store, deployment, worker)
        assert crashes == task.crashes
        assert "queued" == await state(store, id_)
    await crash(store, deployment, worker)
    found = await snapshot(store, id_)
    assert "failed" == found.state
    outcome: dict[str, Any] = found.record.outcome or {}
    assert ("worker_lost", 3) == (outcome["error"]["type"], outcome["crashes"])
    assert 3 == len(await rows(store, id_))
    assert 1 == len(await worker.lease(queue="callbacks", lane="url"))


async def test_max_crashes_of_zero_never_runs_again_after_a_crash(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """For work that must not repeat: not even when its worker died before the first heartbeat."""
    [confirmed] = await submit(store, new(max_crashes=0))
    await crash(store, deployment, worker)
    assert "failed" == await state(store, confirmed)
    [silent] = await submit(store, new(max_crashes=0))
    expire(deployment, *await worker.lease())
    arrange(store, deployment)
    await reap_all(store)
    assert "failed" == await state(store, silent)


async def test_a_lost_task_that_was_to_be_cancelled_ends_as_cancelled(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Its worker died before it could stop it."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await ask_cancel(store, id_)
    expire(deployment, task)
    arrange(store, deployment)
    await reap_all(store)
    assert "cancelled" == await state(store, id_)


async def test_known_losses_come_back_at_once(store: Store, worker: Worker) -> None:
    """A parent names what its dead child held: no lease has to run out, and a wrong token is not heard."""
    await store.tasks.submit_call(0, [new(), new(max_crashes=0), new()])
    one, two, three = (await worker.step(0, wants=[("default", "async", 3)])).leased
    lost = [(one.id, one.token), (two.id, two.token), (three.id, bytes(12))]
    assert 2 == await reap(store.tasks, store.handlers, store.settings, 0, lost)
    assert ["queued", "failed", "running"] == [await state(store, task.id) for task in (one, two, three)]
    assert 0 == await reap(store.tasks, store.handlers, store.settings, 0, lost)


async def test_attempts_say_what_is_known_of_their_end(store: Store, worker: Worker) -> None:
    """Signal, exit code and memory stand where the user looks; a silent worker leaves nothing to be said."""
    await store.tasks.submit_call(0, [new(), new(max_crashes=0)])
    again, once = (await worker.step(0, wants=[("default", "async", 2)])).leased
    lost = [(again.id, again.token), (once.id, once.token)]
    reason = 'its worker process was ended by SIGKILL; "said" it'
    assert 2 == await reap(store.tasks, store.handlers, store.settings, 0, lost, 2, reason)
    for task in (again, once):
        [row] = await rows(store, task.id)
        assert ("crashed", "worker_lost", reason) == (row["outcome"], row["error"]["type"], row["error"]["message"])
    found = await snapshot(store, once.id)
    assert f"{reason}. It has crashed 1 time; max_crashes is 0." == (found.record.outcome or {})["error"]["message"]


async def test_whoever_reaps_next_ends_what_the_first_could_not(store: Store, worker: Worker) -> None:
    """The parent that named the loss died before it could end the task."""
    [id_] = await submit(store, new(max_crashes=0))
    [task] = await worker.lease()
    shard = shard_of(id_)
    given_back, ending = await store.tasks.reap(shard, [(id_, task.token)])
    assert (0, [(id_, task.token)]) == (given_back, ending)
    await store.tasks.scripts.command("HSET", f"tp:{{{shard}}}:conf", "reaped", store.tasks.clock.now_ms() - 1000)
    while "failed" != await state(store, id_):
        await store.tasks.scripts.command("HSET", f"tp:{{{shard}}}:conf", "hold", 0)
        await store.tasks.scripts.command("HSET", f"tp:{{{shard}}}:conf", "reaped", store.tasks.clock.now_ms() - 1000)
        assert 1 == await reap(store.tasks, store.handlers, store.settings, shard)


async def test_a_lease_that_was_extended_meanwhile_is_not_ended(store: Store, worker: Worker) -> None:
    """Between the reap and the ending its worker came back."""
    [id_] = await submit(store, new(max_crashes=0))
    [task] = await worker.lease()
    _, ending = await store.tasks.reap(shard_of(id_), [(id_, task.token)])
    await confirm(store, task)
    [(lost, token)] = ending
    made = await lost_report(store.tasks, store.handlers, store.settings, lost, token)
    assert made is not None
    assert b"0" == await store.tasks.end(shard_of(id_), [made])
    assert b"1" == await worker.succeed(task)


async def test_leases_far_ahead_are_pulled_back(store: Store, worker: Worker, deployment: Deployment) -> None:
    """The clock stood in the future when they were given; the task must not wait until then."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    shard = shard_of(id_)
    node, now_ms = deployment.node(shard), store.tasks.clock.now_ms()
    node.zadd(f"tp:{{{shard}}}:lease", {id_: now_ms + 86_400_000})
    arrange(store, deployment)
    await reap_all(store)
    assert node.zscore(f"tp:{{{shard}}}:lease", id_) <= store.tasks.clock.now_ms() + LEASE_MS + 1000
    assert b"1" == await worker.succeed(task)


async def test_attempts_are_kept_in_number(store: Store, worker: Worker) -> None:
    """A task that is retried for ever keeps its last hundred attempts."""
    [id_] = await submit(store, new())
    for n in range(120):
        [task] = await worker.lease()
        await worker.again(b"R", task, row=orjson.dumps({"attempt": n}))
    noted = await rows(store, id_)
    assert (100, 119) == (len(noted), noted[-1]["attempt"])
    await worker.succeed(*await worker.lease())


async def test_a_crash_that_a_worker_saw_counts_and_spends_no_attempt(store: Store, worker: Worker) -> None:
    """The process of one attempt died: its task is next in its queue again, with the crash and its reason noted."""
    first, second = [taken.id for taken in await store.tasks.submit_call(0, [new(), new()])]
    [task] = (await worker.step(0, wants=[("default", "async", 1)])).leased
    row = b'{"attempt":1,"outcome":"crashed","error":{"type":"worker_lost","message":"SIGSEGV","traceback":null}}'
    assert b"1" == await worker.again(b"K", task, row=row)
    again = (await worker.step(0, wants=[("default", "async", 2)])).leased
    assert [(first, 1, 1), (second, 1, 0)] == [(one.id, one.attempt, one.crashes) for one in again]
    assert [("crashed", "SIGSEGV")] == [
        (one["outcome"], one["error"]["message"]) for one in await rows(store, first)
    ]


async def test_a_crash_of_a_task_to_be_cancelled_is_answered_so(store: Store, worker: Worker) -> None:
    """It is not run again; whoever reports it ends it as cancelled."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await ask_cancel(store, id_)
    assert b"2" == await worker.again(b"K", task)
    assert b"1" == await worker.end_cancelled(task)
    assert "cancelled" == await state(store, id_)


async def test_tasks_lost_together_are_leased_alone(store: Store, worker: Worker) -> None:
    """One a call and nothing beside it, also next to other work; whoever wants none hears that there are some."""
    ids = [taken.id for taken in await store.tasks.submit_call(0, [new() for _ in range(3)])]
    leased = (await worker.step(0, wants=[("default", "async", 3)])).leased
    await store.tasks.reap(0, [(task.id, task.token) for task in leased], together=3)
    await store.tasks.submit_call(0, [new()])
    asked = await worker.step(0, wants=[("default", "async alone", 0)])
    assert ([], True) == (asked.leased, asked.has_suspects)
    wants = [("default", "async alone", 1), ("default", "async", 9)]
    for n, id_ in enumerate(ids):
        stepped = await worker.step(0, wants=wants)
        assert [(id_, True)] == [(task.id, task.is_suspect) for task in stepped.leased]
        assert (True, n < 2) == (stepped.is_work_left, stepped.has_suspects)
    [other] = (await worker.step(0, wants=wants)).leased
    assert not other.is_suspect


async def test_a_suspect_that_ends_an_attempt_is_one_no_more(store: Store, worker: Worker) -> None:
    """It ran alone and killed nothing. Handed back or lost again it stays one."""
    for kind, expected in ((b"R", False), (b"D", False), (b"B", True)):
        [id_] = await submit(store, new(queue=kind.decode()))
        [task] = await worker.lease(queue=kind.decode())
        await store.tasks.reap(shard_of(id_), [(task.id, task.token)], together=2)
        [task] = await worker.lease(queue=kind.decode(), lane="async alone")
        assert task.is_suspect
        await worker.again(kind, task)
        run = (await snapshot(store, id_)).run
        assert run is not None
        assert expected == run.is_suspect


async def test_what_its_own_worker_ended_is_not_to_blame(store: Store, worker: Worker) -> None:
    """Another task overstayed its limit: those beside it, or after it, are neither blamed nor suspected."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await store.tasks.reap(shard_of(id_), [(task.id, task.token)], together=-1)
    [again] = await worker.lease()
    assert (0, False) == (again.crashes, again.is_suspect)


async def test_a_suspect_can_be_listed_cancelled_and_forgotten(store: Store, worker: Worker) -> None:
    """It waits like any other task."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await store.tasks.reap(shard_of(id_), [(task.id, task.token)], together=2)
    assert "queued" == await state(store, id_)
    await ask_cancel(store, id_)
    found = await snapshot(store, id_)
    assert "cancelled" == found.state
    assert 1 == await store.tasks.forget(id_, found.record)
