"""What checkpoints promise: kept while the lease holds, handed to the next attempt with it, gone with the end."""

from __future__ import annotations

import pytest

from service.ids import shard_of
from service.redaction import Redaction
from service.showing import show
from service.store import Store
from service.store.endings import Ending, again
from service.store.outside import reap
from service.task import Leased, epoch_ms, options_of
from tests.store.acting import LEASE_MS, Worker, ask_cancel, new, snapshot, state, submit, submit_everywhere
from tests.store.deployments import Deployment

MONTH_MS = 30 * 86_400_000


async def note(store: Store, task: Leased, number: int, json: bytes) -> bytes:
    return await store.tasks.note_checkpoints(shard_of(task.id), [(task.id, task.token, number, json)])


def kept(deployment: Deployment, id_: bytes) -> list[bytes]:
    """The keys of checkpoints of this task."""
    return [key for key in deployment.all_keys() if b"}:c:" + id_ in key]


@pytest.mark.parametrize("kind", [b"R", b"D", b"B", b"K"])
async def test_the_next_attempt_is_handed_the_checkpoint_with_the_lease(
    store: Store, worker: Worker, kind: bytes
) -> None:
    """After a retry, a defer, a hand back and a crash; those beside it have none, and each gets its own."""
    await submit_everywhere(store, each=3)
    leased = await worker.lease()
    for task in leased[::2]:
        assert (b"", 0) == (task.checkpoint, task.checkpoint_number)
        assert b"1" == await note(store, task, 1, b'{"row":1}')
        assert b"1" == await note(store, task, 2, b'{"of":"%s"}' % task.id.hex().encode())
    await worker.again(kind, *leased)
    handed = {task.id: task for task in await worker.lease_all()}
    assert {task.id for task in leased} == handed.keys()
    for place, task in enumerate(leased):
        expected = (b"", 0) if place % 2 else (b'{"of":"%s"}' % task.id.hex().encode(), 2)
        assert expected == (handed[task.id].checkpoint, handed[task.id].checkpoint_number)
        assert task.submission == handed[task.id].submission


async def test_the_checkpoint_outlives_a_lost_worker(store: Store, worker: Worker) -> None:
    """The lease is taken away, by whoever reaps; what the dead one noted is the next one's, crash after crash."""
    [id_] = await submit(store, new(max_crashes=5))
    for number in range(1, 4):
        [task] = await worker.lease_any()
        assert (b"%d" % (number - 1) if number > 1 else b"") == task.checkpoint
        assert b"1" == await note(store, task, number, b"%d" % number)
        assert 1 == await reap(store.tasks, store.handlers, store.settings, shard_of(id_), [(id_, task.token)])
    assert "queued" == await state(store, id_)


async def test_a_late_worker_cannot_replace_the_checkpoint_of_a_newer_attempt(store: Store, worker: Worker) -> None:
    """Its lease is gone: it is told so, and nothing changes, whether the task waits, runs again or has ended."""
    [id_] = await submit(store, new())
    [late] = await worker.lease()
    await note(store, late, 1, b"1")
    await store.tasks.reap(shard_of(id_), [(id_, late.token)])
    assert b"0" == await note(store, late, 2, b"2")
    [newer] = await worker.lease_any()
    assert b"1" == newer.checkpoint
    await note(store, newer, 2, b"3")
    assert b"0" == await note(store, late, 3, b"4")
    await worker.again(b"R", newer)
    [last] = await worker.lease_any()
    assert b"3" == last.checkpoint
    await worker.succeed(last)
    assert b"0" == await note(store, last, 3, b"5")


async def test_a_checkpoint_that_was_sent_again_does_not_replace_a_newer_one(store: Store, worker: Worker) -> None:
    """A call that was stuck on a lost connection comes after the next one: it does nothing, as promised."""
    await submit(store, new())
    [task] = await worker.lease()
    for number, json in ((1, b"1"), (256, b"256"), (255, b"255"), (256, b"again")):
        assert b"1" == await note(store, task, number, json)
    await worker.again(b"B", task)
    [task] = await worker.lease()
    assert (b"256", 256) == (task.checkpoint, task.checkpoint_number)


async def test_a_lease_call_repeated_with_its_token_hands_the_checkpoint_again(store: Store, worker: Worker) -> None:
    """The reply was lost; what it brought comes with the next one."""
    await store.tasks.submit_call(0, [new(), new(), new()])
    leased = (await worker.step(0, wants=[("default", "async", 3)])).leased
    await note(store, leased[1], 7, b'["here"]')
    await worker.again(b"B", *leased)
    token = worker.token()
    once = await worker.step(0, wants=[("default", "async", 3)], token=token)
    twice = await worker.step(0, wants=[("default", "async", 3)], token=token)
    assert [b"", b'["here"]', b""] == [task.checkpoint for task in once.leased]
    assert once.leased == [task for task in twice.leased if setattr(task, "leased_ms", once.now_ms) is None]
    assert not once.has_suspects
    assert not twice.has_suspects


@pytest.mark.parametrize("how", ["succeeds", "succeeds later", "fails", "is cancelled", "is cancelled as it waits"])
async def test_the_end_of_the_task_deletes_its_checkpoint(
    store: Store, worker: Worker, deployment: Deployment, how: str
) -> None:
    """However it ends, small or large."""
    for submission in ({"name": "n", "args": {}}, {"name": "n", "args": {"x": "x" * 900}}):
        [id_] = await submit(store, new(submission))
        [task] = await worker.lease()
        await note(store, task, 1, b"1")
        assert 1 == len(kept(deployment, id_))
        if how == "succeeds later":
            await worker.again(b"R", task)
            [task] = await worker.lease()
        if how.startswith("succeeds"):
            await worker.succeed(task)
        elif how == "fails":
            await worker.fail(task)
        elif how == "is cancelled":
            await ask_cancel(store, id_)
            await worker.end_cancelled(task)
        else:
            await worker.again(b"R", task, delay_ms=60_000)
            assert "ended" == await ask_cancel(store, id_)
        assert [] == kept(deployment, id_)
        assert (await snapshot(store, id_)).checkpoint is None


async def test_a_task_that_is_lost_for_good_leaves_no_checkpoint(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """It may not crash, and its worker died."""
    [id_] = await submit(store, new(max_crashes=0))
    [task] = await worker.lease()
    await note(store, task, 1, b"1")
    await reap(store.tasks, store.handlers, store.settings, shard_of(id_), [(id_, task.token)])
    assert "failed" == await state(store, id_)
    assert [] == kept(deployment, id_)


async def test_a_waiting_task_keeps_its_checkpoint_until_it_runs(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """It comes back in a year; a month more is left then, and a month from the next lease on."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await note(store, task, 1, b"1")
    [key] = kept(deployment, id_)
    node = deployment.node(shard_of(id_))
    assert MONTH_MS - 60_000 < node.pttl(key) <= MONTH_MS
    await worker.again(b"D", task, delay_ms=366 * 86_400_000)
    assert 396 * 86_400_000 - 60_000 < node.pttl(key) <= 396 * 86_400_000


async def test_a_checkpoint_is_kept_for_a_month_from_each_lease(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """A task that runs again and again and says nothing new does not forget where it was."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await note(store, task, 1, b"1")
    await worker.again(b"B", task)
    [key] = kept(deployment, id_)
    node = deployment.node(shard_of(id_))
    node.pexpire(key, 60_000)
    assert b"1" == (await worker.lease())[0].checkpoint
    assert MONTH_MS - 60_000 < node.pttl(key) <= MONTH_MS


async def test_a_checkpoint_that_has_expired_is_none(store: Store, worker: Worker, deployment: Deployment) -> None:
    """The task starts from the beginning, and may note where it is again."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    await note(store, task, 9, b"9")
    await worker.again(b"B", task)
    deployment.node(shard_of(id_)).delete(*kept(deployment, id_))
    assert (await snapshot(store, id_)).checkpoint is None
    [task] = await worker.lease()
    assert (b"", 0) == (task.checkpoint, task.checkpoint_number)
    assert b"1" == await note(store, task, 1, b"1")
    await worker.again(b"B", task)
    assert b"1" == (await worker.lease())[0].checkpoint


async def test_large_checkpoints_come_a_few_a_call(store: Store, worker: Worker) -> None:
    """A hundred of the largest are not thirty megabytes of one reply."""
    await store.tasks.submit_call(0, [new() for _ in range(12)])
    leased = (await worker.step(0, wants=[("default", "async", 12)])).leased
    for task in leased:
        await note(store, task, 1, b'"%b"' % (b"x" * 262_000))
    await worker.again(b"B", *leased)
    first = await worker.step(0, wants=[("default", "async", 12)])
    assert 0 < len(first.leased) < 8
    assert first.is_work_left
    rest = await worker.lease_all()
    assert {262_002} == {len(task.checkpoint) for task in [*first.leased, *rest]}
    assert 12 == len(first.leased) + len(rest)


async def test_a_task_tells_that_it_has_a_checkpoint(store: Store, worker: Worker) -> None:
    """While it runs, while it waits again; a heartbeat and progress between them change nothing."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    assert (await snapshot(store, id_)).checkpoint is None
    await note(store, task, 1, b'{"row":17}')
    assert b"1" == await store.tasks.extend(shard_of(id_), [(id_, task.token)], LEASE_MS)
    await store.tasks.note_progress(shard_of(id_), [(id_, task.token, b'{"current":1}')])
    found = await snapshot(store, id_)
    assert {"current": 1} == found.progress
    shown = show(found, options_of(found.record.submission, None, store.settings), Redaction())["checkpoint"]
    assert 10 == shown["bytes"]
    assert abs(epoch_ms(shown["at"]) - store.tasks.clock.now_ms()) < 60_000
    await worker.again(b"R", task, delay_ms=60_000)
    assert shown == (await snapshot(store, id_)).checkpoint


async def test_a_report_and_a_checkpoint_of_one_step_do_not_disturb_each_other(store: Store, worker: Worker) -> None:
    """One task ends in the call that hands back another with its checkpoint."""
    await store.tasks.submit_call(0, [new(), new(), new()])
    one, two, three = (await worker.step(0, wants=[("default", "async", 3)])).leased
    for task in (one, two):
        await note(store, task, 1, b"1")
    reports = [worker.ending(one, Ending("succeeded", b"5")), again(two, b"R", 0, None), again(three, b"D", 0, None)]
    assert b"111" == (await worker.step(0, reports)).statuses
    leased = (await worker.step(0, wants=[("default", "async", 3)])).leased
    assert {two.id: b"1", three.id: b""} == {task.id: task.checkpoint for task in leased}
