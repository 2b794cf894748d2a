"""Attempts in the hands of an endpoint: handed over, kept alive, ended by it, by its silence, or cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from service.ids import encode_id, shard_of
from service.outcome import Deferred, Failed, Succeeded, failed
from service.store import Store
from service.store.decisions import HandOver, report_of
from service.store.endings import HANDED_OVER
from service.store.outside import reap
from service.task import Leased, options_of
from tests.store.acting import Worker, ask_cancel, rows, snapshot, state, submit_everywhere
from tests.store.deployments import Deployment
from tests.store.test_reap import arrange

URL = {"url": "https://hooks.example.com/reports", "body": 1}
LAST_MS = 4_000_000_000_000
MINUTE_MS = 60_000


async def hand_over(
    store: Store, worker: Worker, *, interval_ms: int = MINUTE_MS, last_ms: int = LAST_MS, **submission: Any
) -> list[Leased]:
    """A task in each shard, called and taken over by its endpoint."""
    await submit_everywhere(store, each=1, submission={**URL, **submission}, lane="url")
    tasks = await worker.lease(lane="url")
    options = options_of({}, None, store.settings)
    reports = [report_of(task, HandOver(interval_ms, last_ms), options, store.settings, "w1", 0) for task in tasks]
    assert all(report[0][:1] == HANDED_OVER for report in reports)
    assert b"1" * len(tasks) == await worker.report(tasks, reports)
    return tasks


def noted(deployment: Deployment, task: Leased) -> tuple[int, int, int]:
    """(interval, deadline, last) of an endpoint that holds *task*."""
    shard = shard_of(task.id)
    packed = deployment.node(shard).hget(f"tp:{{{shard}}}:ext", task.id)
    return tuple(int.from_bytes(packed[at : at + 6], "big") for at in (0, 6, 12))  # type: ignore[return-value]


def silence(deployment: Deployment, *tasks: Leased) -> None:
    """The time in which their endpoints were to be heard from is over."""
    for task in tasks:
        shard = shard_of(task.id)
        interval, _, last = noted(deployment, task)
        packed = b"".join(ms.to_bytes(6, "big") for ms in (interval, 1, last))
        deployment.node(shard).hset(f"tp:{{{shard}}}:ext", task.id, packed)
        deployment.node(shard).zadd(f"tp:{{{shard}}}:lease", {task.id: 1})


async def reap_all(store: Store, deployment: Deployment) -> int:
    arrange(store, deployment)
    return sum([await reap(store.tasks, store.handlers, store.settings, n) for n in range(store.shards)])


async def test_an_endpoint_holds_what_it_took_over(store: Store, worker: Worker, deployment: Deployment) -> None:
    """It reads as running, for as long as the endpoint said; its worker's heartbeats and death mean nothing."""
    tasks = await hand_over(store, worker)
    for task in tasks:
        assert "running" == await state(store, task.id)
        run = (await snapshot(store, task.id)).run
        assert run is not None
        assert (True, True, 1, "w1") == (run.is_external, run.is_confirmed, run.attempt, run.worker)
        before = deployment.node(shard_of(task.id)).zscore(f"tp:{{{shard_of(task.id)}}}:lease", task.id)
        assert b"1" == await store.tasks.extend(shard_of(task.id), [(task.id, task.token)], 1)
        assert before == deployment.node(shard_of(task.id)).zscore(f"tp:{{{shard_of(task.id)}}}:lease", task.id)
        lost = [(task.id, task.token)]
        assert 0 == await reap(store.tasks, store.handlers, store.settings, shard_of(task.id), lost, 1)
    assert 0 == await reap_all(store, deployment)


async def test_what_is_said_keeps_it_alive(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Each time for as long as the endpoint said; however long, it is not taken for a clock that jumped."""
    [task, *_] = await hand_over(store, worker, interval_ms=3_600_000)
    silence(deployment, task)
    assert b"1" == await store.completions.beat(task.id, task.token)
    interval, deadline, last = noted(deployment, task)
    assert (3_600_000, LAST_MS) == (interval, last)
    assert 3_590_000 < deadline - store.tasks.clock.now_ms() <= 3_610_000
    shard = shard_of(task.id)
    assert 0 == await reap_all(store, deployment)
    deployment.node(shard).zadd(f"tp:{{{shard}}}:lease", {task.id: 1})
    assert 0 == await reap_all(store, deployment), "the lease ended, the endpoint's time did not"
    assert deployment.node(shard).zscore(f"tp:{{{shard}}}:lease", task.id) > store.tasks.clock.now_ms()
    assert b"0" == await store.completions.beat(task.id, b"x" * 12)


async def test_an_endpoint_ends_it_as_a_worker_would(store: Store, worker: Worker) -> None:
    """Success, failure for good, failure that is tried again, and putting off: result, row, counts, callback."""
    tasks = await hand_over(store, worker, retries=1, callback={"url": "https://hooks.example.com/done"})
    task = tasks[0]
    assert await store.completions.end(task.id, task.token, "complete", Succeeded(b'{"pages":12}', {"status": 202}))
    done = await snapshot(store, task.id)
    assert ("succeeded", {"pages": 12}) == (done.state, (done.record.outcome or {})["result"])
    assert "callback" in (done.record.outcome or {})
    outcome = done.record.outcome or {}
    assert ("w1", 202) == (outcome["worker"], outcome["http"]["status"])


@pytest.mark.parametrize(
    ("outcome", "state_", "attempt"),
    [
        (failed("Oops", "no", retry=False), "failed", 1),
        (failed("Oops", "no", retry=True), "scheduled", 1),
        (Deferred(60.0, "later"), "scheduled", 0),
    ],
)
async def test_what_does_not_succeed(store: Store, worker: Worker, outcome: Any, state_: str, attempt: int) -> None:
    """Failed, waiting for a retry, or put off without having spent anything."""
    [task, *_] = await hand_over(store, worker, retries=1, backoff={"delays_seconds": [60]})
    assert await store.completions.end(task.id, task.token, "x", outcome)
    now = await snapshot(store, task.id)
    told = (now.record.outcome or {}).get("attempt") or (now.run.attempt if now.run else 0)
    assert (state_, attempt) == (now.state, told)
    assert b"0" == await store.completions.beat(task.id, task.token)


async def test_the_same_call_again_answers_the_same(store: Store, worker: Worker) -> None:
    """Its reply may have been lost; another call is told that it comes too late."""
    [task, *_] = await hand_over(store, worker)
    for _ in range(2):
        assert await store.completions.end(task.id, task.token, "complete", Succeeded(b"1"))
    assert not await store.completions.end(task.id, task.token, "fail", Failed({"type": "x"}))
    assert not await store.completions.end(task.id, b"x" * 12, "complete", Succeeded(b"1"))
    assert "succeeded" == await state(store, task.id)


async def test_an_attempt_may_be_ended_before_its_call_is_answered(store: Store, worker: Worker) -> None:
    """A fast endpoint is done before its 202 arrives; the worker's report then comes too late, and changes nothing."""
    await submit_everywhere(store, each=1, submission=URL, lane="url")
    [task, *_] = await worker.lease(lane="url")
    assert b"1" == await store.completions.beat(task.id, task.token)
    assert await store.completions.end(task.id, task.token, "complete", Succeeded(b"1"))
    options = options_of({}, None, store.settings)
    late = report_of(task, HandOver(MINUTE_MS, LAST_MS), options, store.settings, "w1", 0)
    assert b"0" == await worker.report([task], [late])
    assert "succeeded" == await state(store, task.id)


async def test_silence_fails_the_attempt(store: Store, worker: Worker, deployment: Deployment) -> None:
    """It counts against the retries, and is no crash; the task runs again, and fails when none is left."""
    tasks = await hand_over(store, worker, retries=1, backoff={"delays_seconds": [0]})
    silence(deployment, *tasks)
    assert len(tasks) == await reap_all(store, deployment)
    task = tasks[0]
    [row] = await rows(store, task.id)
    assert ("retried", "HeartbeatMissed", 1) == (row["outcome"], row["error"]["type"], row["attempt"])
    assert "was not heard from for 60 s" in row["error"]["message"]
    again = await worker.lease(lane="url")
    assert {(2, 0)} == {(one.attempt, one.crashes) for one in again}
    assert not await store.completions.end(task.id, task.token, "complete", Succeeded(b"1")), "its time is over"
    options = options_of({}, None, store.settings)
    await worker.report(
        again, [report_of(one, HandOver(1, LAST_MS), options, store.settings, "w1", 0) for one in again]
    )
    silence(deployment, *again)
    await reap_all(store, deployment)
    ended = await snapshot(store, task.id)
    assert ("failed", "HeartbeatMissed") == (ended.state, (ended.record.outcome or {})["error"]["type"])


async def test_a_heartbeat_in_the_last_moment_counts(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Between the look that found it silent and the report that would have ended it."""
    [task, *_] = await hand_over(store, worker)
    silence(deployment, task)
    arrange(store, deployment)
    _, ending = await store.tasks.reap(shard_of(task.id))
    assert [(task.id, task.token)] == ending
    await store.completions.beat(task.id, task.token)
    await store.completions.end_silent(task.id, task.token)
    assert "running" == await state(store, task.id)


async def test_no_heartbeat_helps_beyond_the_whole_time(store: Store, worker: Worker, deployment: Deployment) -> None:
    """`retry_for_seconds` bounds what an endpoint may take."""
    [task, *_] = await hand_over(store, worker, last_ms=1)
    await store.completions.beat(task.id, task.token)
    shard = shard_of(task.id)
    deployment.node(shard).zadd(f"tp:{{{shard}}}:lease", {task.id: 1})
    await reap_all(store, deployment)
    ended = await snapshot(store, task.id)
    assert ("failed", "TimeLimitExceeded") == (ended.state, (ended.record.outcome or {})["error"]["type"])


@pytest.mark.parametrize("way", ["silence", "fail", "defer", "complete"])
async def test_a_task_that_is_cancelled_meanwhile(
    store: Store, worker: Worker, deployment: Deployment, way: str
) -> None:
    """The endpoint hears of it, and whatever it does but succeeding cancels; so does its silence."""
    [task, *_] = await hand_over(store, worker)
    assert "stopping" == await ask_cancel(store, task.id)
    assert b"2" == await store.completions.beat(task.id, task.token)
    assert "cancelling" == await state(store, task.id)
    if way == "silence":
        silence(deployment, task)
        await reap_all(store, deployment)
    else:
        outcome = {"fail": failed("x", "", retry=True), "defer": Deferred(9.0), "complete": Succeeded(b"1")}[way]
        assert await store.completions.end(task.id, task.token, way, outcome)  # type: ignore[arg-type]
    assert ("succeeded" if way == "complete" else "cancelled") == await state(store, task.id)


async def test_a_cancellation_between_look_and_report(store: Store, worker: Worker) -> None:
    """The retry is not recorded, and the task cancelled; the same call again answers the same."""
    [task, *_] = await hand_over(store, worker)
    attempt = await store.completions.held(task.id, task.token)
    assert attempt is not None
    report = store.completions.report(attempt, failed("x", "", retry=True))
    await ask_cancel(store, task.id)
    assert b"2" == await store.completions.step(task.id, task.token, "fail", report)
    for _ in range(2):
        assert await store.completions.end(task.id, task.token, "fail", failed("x", "", retry=True))
    assert "cancelled" == await state(store, task.id)


async def test_a_task_is_handed_over_while_it_is_being_cancelled(store: Store, worker: Worker) -> None:
    """The endpoint has said that it does it, so it is the endpoint that must be told."""
    await submit_everywhere(store, each=1, submission=URL, lane="url")
    [task, *_] = await worker.lease(lane="url")
    await ask_cancel(store, task.id)
    options = options_of({}, None, store.settings)
    report = report_of(task, HandOver(MINUTE_MS, LAST_MS), options, store.settings, "w1", 0)
    assert b"1" == await worker.report([task], [report])
    assert b"2" == await store.completions.beat(task.id, task.token)


async def test_all_processes_seal_with_one_secret(store: Store) -> None:
    """Made once; a process that knew it brings it back to a Redis that was emptied."""
    secret = await store.completions.secret.get()
    assert 32 == len(secret)
    other = type(store.completions.secret)(store.scripts, store.tasks.keyring)
    assert secret == await other.get()
    await store.scripts.command("HDEL", "tp:{0}:conf", "secret")
    await store.completions.secret.refresh()
    other.read_at = float("-inf")
    assert secret == await other.look_again()


async def test_other_things_that_it_says_are_kept(store: Store, worker: Worker) -> None:
    """Progress and log lines, under its token."""
    [task, *_] = await hand_over(store, worker)
    await store.tasks.note_progress(shard_of(task.id), [(task.id, task.token, b'{"current":1}')])
    run = (await snapshot(store, task.id)).run
    assert run is not None
    assert run.is_external
    assert await store.completions.end(task.id, task.token, "complete", Succeeded(b"1"))
    assert {"current": 1} == ((await snapshot(store, task.id)).record.outcome or {})["progress"]


async def test_a_cancel_url_is_told_once_of_a_running_task(store: Store, worker: Worker) -> None:
    """As a task on the callbacks queue, by the script that asks it to stop; nobody needs to know of one that waits."""
    given = {**URL, "cancel_url": "https://hooks.example.com/cancel"}
    [waiting, running, *_] = await submit_everywhere(store, each=2, submission=given, lane="url")
    tasks = {task.id: task for task in await worker.lease(lane="url")}
    await worker.again(b"D", tasks[waiting], delay_ms=60_000)
    assert ["ended", "stopping", "stopping"] == [await ask_cancel(store, id_) for id_ in (waiting, running, running)]
    [notice] = await worker.lease(queue="callbacks", lane="url")
    assert "https://hooks.example.com/cancel" == notice.submission["url"]
    assert ("task.cancelling", {"id": encode_id(running), "attempt": 1}) == (
        notice.submission["body"]["type"],
        notice.submission["body"]["data"],
    )
    assert encode_id(running) == notice.submission["callback_of"]
    assert b"1" == await worker.succeed(notice)
    assert b"1" == await worker.end_cancelled(tasks[running])
