"""What ending promises: the result of the lease's holder stands, callbacks are made once, nothing is left over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.ids import encode_id, shard_of
from service.redaction import Redaction
from service.showing import show
from service.store import Store
from service.store.endings import NO_TOKEN, Ending, Origin
from service.store.outside import ending_report
from service.task import options_of
from tests.store.acting import (
    ADD,
    LEASE_MS,
    Worker,
    ask_cancel,
    new,
    rows,
    snapshot,
    state,
    submit,
    submit_everywhere,
)
from tests.store.deployments import Deployment

CALLBACK = {**ADD, "callback": {"url": "http://127.0.0.1/hook"}}


async def shown(store: Store, id_: bytes) -> dict[str, Any]:
    found = await snapshot(store, id_)
    return show(found, options_of(found.record.submission, None, store.settings), Redaction())


async def test_a_result_is_read_as_it_was_reported(store: Store, worker: Worker) -> None:
    """Large integers and empty lists come back as they were."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    assert "running" == await state(store, id_)
    assert b"1" == await worker.succeed(task, result=b'{"n":9223372036854775807,"none":[]}')
    read = await shown(store, id_)
    assert ("succeeded", {"n": 2**63 - 1, "none": []}, 1) == (read["state"], read["result"], read["attempt"])


@pytest.mark.parametrize("size", [10, 500, 520, 100_000])
async def test_small_and_large_records_read_alike(
    store: Store, worker: Worker, deployment: Deployment, size: int
) -> None:
    """A large submission is not written again at its end; its outcome stands beside it."""
    [id_] = await submit(store, new({"name": "n", "args": {"text": "x" * size}}))
    await worker.succeed(*await worker.lease(), result=b'"done"')
    read = await shown(store, id_)
    assert ("done", size) == (read["result"], len(read["args"]["text"]))
    assert (size > 480) == any(key.endswith(b"o:" + id_) for key in deployment.all_keys())


async def test_failed_tasks_keep_their_error_and_attempts(store: Store, worker: Worker) -> None:
    """And stay in the list of failed ones."""
    [id_] = await submit(store, new())
    assert b"1" == await worker.fail(*await worker.lease())
    read = await shown(store, id_)
    assert ("failed", "ValueError") == (read["state"], read["error"]["type"])
    assert [{"attempt": 1, "outcome": "failed"}] == await rows(store, id_)


async def test_a_late_worker_cannot_replace_the_result(store: Store, worker: Worker) -> None:
    """A worker whose lease was given to another is refused; the newer result stands."""
    [id_] = await submit(store, new())
    [late] = await worker.lease()
    await store.tasks.reap(shard_of(id_), [(id_, late.token)])
    other = Worker(store, "w2")
    [task] = await other.lease_any()
    assert b"0" == await worker.succeed(late, result=b'"old"')
    assert b"1" == await other.succeed(task, result=b'"new"')
    assert b"0" == await worker.succeed(late, result=b'"old"')
    assert "new" == (await shown(store, id_))["result"]


async def test_a_late_worker_cannot_retry_or_hand_back(store: Store, worker: Worker) -> None:
    """Neither while another runs the task, nor after its end."""
    [id_] = await submit(store, new())
    [late] = await worker.lease()
    await store.tasks.reap(shard_of(id_), [(id_, late.token)])
    other = Worker(store, "w2")
    [task] = await other.lease_any()
    for kind in (b"R", b"D", b"B"):
        assert b"0" == await worker.again(kind, late)
    assert "running" == await state(store, id_)
    await other.succeed(task)
    for kind in (b"R", b"D", b"B"):
        assert b"0" == await worker.again(kind, late)
    assert "succeeded" == await state(store, id_)


async def test_an_expired_lease_that_nobody_reaped_may_still_finish(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Redis was away for longer than a lease: the work that was done meanwhile counts."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    deployment.node(shard_of(id_)).zadd(f"tp:{{{shard_of(id_)}}}:lease", {id_: 1})
    assert b"1" == await worker.succeed(task)


async def test_a_result_ttl_of_zero_keeps_no_result(store: Store, worker: Worker, deployment: Deployment) -> None:
    """The task reads as succeeded for a minute, without a result."""
    [id_] = await submit(store, new({**ADD, "result_ttl_seconds": 0}))
    await worker.succeed(*await worker.lease(), result=b'"secret"')
    assert "result" not in await shown(store, id_)
    assert not [key for key, value in deployment.values() if b"secret" in value]
    assert 60_000 >= deployment.node(shard_of(id_)).pttl(f"tp:{{{shard_of(id_)}}}:t:".encode() + id_)


async def test_results_expire_by_their_time_to_live(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Successes after `result_ttl_seconds`, failures after seven days."""
    good, bad = await submit(store, new({**ADD, "result_ttl_seconds": 3600}), new())
    one, two = await worker.lease()
    await worker.succeed(one)
    await worker.fail(two)
    prefix, node = f"tp:{{{shard_of(good)}}}:t:".encode(), deployment.node(shard_of(good))
    assert 3_590_000 < node.pttl(prefix + good) <= 3_600_000
    assert 7 * 86_390_000 < node.pttl(prefix + bad) <= 7 * 86_400_000


async def test_a_callback_is_created_by_the_script_that_ends_the_task(store: Store, worker: Worker) -> None:
    """Once, on the queue `callbacks`, telling the outcome; the ended task names it."""
    [id_] = await submit(store, new(CALLBACK))
    [task] = await worker.lease()
    token, reports = worker.token(), [worker.ending(task, Ending("succeeded", b"5"))]
    await worker.step(shard_of(id_), reports, token=token)
    await worker.step(shard_of(id_), reports, token=token)  # the reply was lost
    assert b"0" == await worker.succeed(task)
    [call] = await worker.lease(queue="callbacks", lane="url")
    told = call.submission["body"]
    assert ("task.succeeded", encode_id(id_), 5) == (told["type"], told["data"]["id"], told["data"]["result"])
    assert ("http://127.0.0.1/hook", encode_id(id_)) == (call.submission["url"], call.submission["callback_of"])
    assert encode_id(call.id) == (await shown(store, id_))["callback"]["task_id"]
    assert [] == await worker.lease(queue="callbacks", lane="url")


async def test_a_callback_is_made_only_for_the_states_asked_for(store: Store, worker: Worker) -> None:
    """`on: [failed]` says nothing of a success."""
    asked = {**ADD, "callback": {"url": "http://127.0.0.1/hook", "on": ["failed"]}}
    await submit(store, new(asked), new(asked))
    one, two = await worker.lease()
    await worker.succeed(one)
    assert [] == await worker.lease(queue="callbacks", lane="url")
    await worker.fail(two)
    assert 1 == len(await worker.lease(queue="callbacks", lane="url"))


async def test_a_cancelled_task_calls_back_once(store: Store, worker: Worker) -> None:
    """Also when it is cancelled twice."""
    [id_] = await submit(store, new(CALLBACK))
    assert "ended" == await ask_cancel(store, id_)
    assert "over" == await ask_cancel(store, id_)
    [call] = await worker.lease(queue="callbacks", lane="url")
    assert "task.cancelled" == call.submission["body"]["type"]


@pytest.mark.parametrize("delay_ms", [0, 60_000])
async def test_a_waiting_task_is_cancelled_at_once(store: Store, worker: Worker, delay_ms: int) -> None:
    """Queued or scheduled: it never runs, and its entry does not count."""
    [id_] = await submit(store, new(delay_ms=delay_ms))
    assert "ended" == await ask_cancel(store, id_)
    assert "cancelled" == await state(store, id_)
    assert [] == await worker.lease_all()


async def test_a_running_task_is_asked_to_stop(store: Store, worker: Worker, deployment: Deployment) -> None:
    """It reads as `cancelling` until its worker reports; the worker is woken."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    assert "stopping" == await ask_cancel(store, id_)
    assert "stopping" == await ask_cancel(store, id_)
    assert "cancelling" == await state(store, id_)
    marker = f"tp:{{{shard_of(id_)}}}:wake:@w1"
    assert deployment.node(shard_of(id_)).exists(marker)
    assert b"1" == await worker.end_cancelled(task)
    assert "cancelled" == await state(store, id_)


async def test_a_cancelled_attempt_is_not_run_again(store: Store, worker: Worker) -> None:
    """A retry, deferral or hand back is refused with "end it as cancelled"."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await ask_cancel(store, id_)
    for kind in (b"R", b"D", b"B"):
        assert b"2" == await worker.again(kind, task)
    assert b"1" == await worker.end_cancelled(task)


async def test_a_success_before_the_stop_stands(store: Store, worker: Worker) -> None:
    """The task was done before it could be stopped: it succeeded."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await ask_cancel(store, id_)
    assert b"1" == await worker.succeed(task)
    assert "succeeded" == await state(store, id_)
    assert "over" == await ask_cancel(store, id_)


async def test_cancelling_races_with_finishing(store: Store, worker: Worker) -> None:
    """Whatever comes first, each task ends once."""
    ids = await submit_everywhere(store, each=20)
    leased = await worker.lease()
    order = sorted(ids)
    await asyncio.gather(worker.succeed(*leased), *(ask_cancel(store, id_) for id_ in order))
    assert {"succeeded"} == {await state(store, id_) for id_ in ids}


async def test_unknown_and_ended_tasks_are_told_apart(store: Store) -> None:
    """Cancelling what does not exist answers None; the same task named twice in a call ends once."""
    assert None is await ask_cancel(store, bytes(16))
    [id_] = await submit(store, new())
    found, raw = await snapshot(store, id_), await store.tasks.raw(id_)
    assert raw is not None
    origin = Origin(id_, raw, found.record.submission, NO_TOKEN, 0, 0, 0, "")
    one = ending_report(store.tasks, store.handlers, store.settings, origin, found.record, Ending("cancelled"))
    assert b"13" == await store.tasks.end(shard_of(id_), [one, one])


async def test_the_longest_task_of_a_worker_lives_by_heartbeats(store: Store, worker: Worker) -> None:
    """A lease that is extended and then finished leaves nothing behind."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    for _ in range(3):
        assert b"1" == await store.tasks.extend(shard_of(id_), [(id_, task.token)], LEASE_MS)
    assert b"1" == await worker.succeed(task)
