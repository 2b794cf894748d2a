"""What unique keys promise: one task at a time has one; whoever comes meanwhile is told which, or takes its place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.ids import created_ms, shard_of
from service.packing import pack
from service.store import Store
from service.store.expiry import expire
from service.store.new import DUPLICATE, REFUSED, REPLAYED, TAKEN_IN, New, Taken, idempotency_of
from service.task import DEFAULT_NAMESPACE
from tests.store.acting import ADD, Worker, ask_cancel, snapshot, state
from tests.store.deployments import Deployment


def unique(given: dict[str, Any] | None = None, *, namespace: str = DEFAULT_NAMESPACE, **options: Any) -> New:
    """A submission with a unique key, or debounced; packed as the API does."""
    submission = {**(given or ADD), **options}
    key = submission.get("idempotency_key")
    hashed = idempotency_of(namespace, key, repr(sorted(submission.items())).encode()) if key else b""
    packed = pack(submission, namespace, queue="default", lane="async", max_crashes=3, now_ms=1)
    return New(packed.record, hashed, packed.flow, packed.ties.unique)


async def submit(store: Store, *tasks: New) -> list[Taken]:
    return await store.admission.submit(tasks)


async def one(store: Store, **options: Any) -> Taken:
    """What became of one submission."""
    [taken] = await submit(store, unique(**options))
    return taken


ONCE: dict[str, Any] = {"unique": {"key": "k"}}


async def test_one_task_at_a_time_has_a_key(store: Store, worker: Worker) -> None:
    """While it waits and while it runs, others are told of it; once it has ended the next one is taken in."""
    first = await one(store, **ONCE)
    assert TAKEN_IN == first.status
    again = await one(store, **ONCE)
    assert (DUPLICATE, first.id) == (again.status, again.id)
    [task] = await worker.lease()
    assert DUPLICATE == (await one(store, **ONCE)).status
    await worker.again(b"R", task, delay_ms=60_000)
    assert DUPLICATE == (await one(store, **ONCE)).status
    assert "ended" == await ask_cancel(store, first.id)
    assert TAKEN_IN == (await one(store, **ONCE)).status
    [task] = await worker.lease()
    await worker.succeed(task)
    assert TAKEN_IN == (await one(store, **ONCE)).status


async def test_a_key_until_the_start_is_free_from_then_on(store: Store, worker: Worker) -> None:
    """One may run and one may wait; the end of the first leaves the second its key."""
    given = {"unique": {"key": "k", "until": "started"}}
    first = await one(store, **given)
    assert (DUPLICATE, first.id) == ((again := await one(store, **given)).status, again.id)
    [task] = await worker.lease()
    second = await one(store, **given)
    assert TAKEN_IN == second.status
    await worker.succeed(task)
    assert (DUPLICATE, second.id) == ((again := await one(store, **given)).status, again.id)


async def test_a_key_for_a_time_outlives_its_task(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Counted from the submission, whatever became of it; then it is free."""
    given = {"unique": {"key": "k", "for_seconds": 3600}, "result_ttl_seconds": 0}
    first = await one(store, **given)
    await worker.succeed(*await worker.lease())
    assert (DUPLICATE, first.id) == ((again := await one(store, **given)).status, again.id)
    node = deployment.node(shard_of(first.id))
    prefix = f"tp:{{{shard_of(first.id)}}}:".encode()
    assert node.pttl(prefix + b"t:" + first.id) > 3_590_000, "there is a task to answer with for so long"
    [key] = [key for key in deployment.all_keys() if b"uniq:" in key]
    assert 3_590_000 < node.pttl(key) <= 3_600_000
    node.setrange(key, 17, (1).to_bytes(6, "big"))
    assert TAKEN_IN == (await one(store, **given)).status


async def test_a_deleted_task_has_no_key(store: Store, worker: Worker) -> None:
    """Who deletes it, alone or among many, means it."""
    given = {"unique": {"key": "k", "for_seconds": 3600}}
    for how in ("one", "many"):
        first = await one(store, **given)
        assert TAKEN_IN == first.status
        await worker.succeed(*await worker.lease())
        found = await snapshot(store, first.id)
        if how == "one":
            assert 1 == await store.tasks.forget(first.id, found.record)
        else:
            assert 1 == await store.bulks.delete([found])
    assert TAKEN_IN == (await one(store, **given)).status


@pytest.mark.parametrize("until", ["finished", "started"])
async def test_reject_refuses(store: Store, worker: Worker, until: str) -> None:
    """And says whose the key is."""
    given = {"unique": {"key": "k", "until": until, "on_conflict": "reject"}}
    first = await one(store, **given)
    refused = await one(store, **given)
    assert (REFUSED, first.id) == (refused.status, refused.id)
    assert 1 == len(await worker.lease_all())


async def test_replace_takes_the_place_of_one_that_waits(store: Store, worker: Worker) -> None:
    """Ready, not due yet, or waiting for a retry: it ends as cancelled, with its callback; the new one has the key."""
    given = {"unique": {"key": "k", "on_conflict": "replace"}}
    callback = {"callback": {"url": "https://hooks.example.com/done"}}
    first = await one(store, **given, **callback)
    second = await one(store, **given, delay_seconds=60)
    assert (TAKEN_IN, "cancelled", "scheduled") == (
        second.status, await state(store, first.id), await state(store, second.id),
    )  # fmt: skip
    [call] = await worker.lease(queue="callbacks", lane="url")
    assert "task.cancelled" == call.submission["body"]["type"]
    third = await one(store, **given)
    assert ("cancelled", "queued") == (await state(store, second.id), await state(store, third.id))
    [task] = await worker.lease()
    await worker.again(b"R", task, delay_ms=60_000, row=b'{"attempt":1}')
    fourth = await one(store, **given)
    assert (TAKEN_IN, "cancelled") == (fourth.status, await state(store, third.id))
    assert (DUPLICATE, fourth.id) == ((again := await one(store, **ONCE)).status, again.id)


@pytest.mark.parametrize("conflict", ["replace", "reschedule"])
async def test_a_running_task_is_neither_replaced_nor_rescheduled(store: Store, worker: Worker, conflict: str) -> None:
    """It goes on, and the submission is refused: nobody must believe that it was taken."""
    given = {"unique": {"key": "k", "on_conflict": conflict}}
    first = await one(store, **given)
    [task] = await worker.lease()
    refused = await one(store, **given)
    assert (REFUSED, first.id, "running") == (refused.status, refused.id, await state(store, first.id))
    await worker.succeed(task)


async def test_reschedule_moves_the_one_that_waits(store: Store, worker: Worker) -> None:
    """Later, earlier, or now; it keeps its arguments."""
    given = {"unique": {"key": "k", "on_conflict": "reschedule"}}
    first = await one(store, **given, delay_seconds=600)
    was = (await snapshot(store, first.id)).record.time_ms
    moved = await one(store, **given, delay_seconds=60)
    found = await snapshot(store, first.id)
    assert (DUPLICATE, first.id, ADD["args"]) == (moved.status, moved.id, found.record.submission["args"])
    assert 539_000 < was - found.record.time_ms < 541_000
    await one(store, **given)
    assert "queued" == await state(store, first.id)
    await one(store, **given, delay_seconds=60)
    assert ("scheduled", []) == (await state(store, first.id), await worker.lease())
    await one(store, **given)
    assert [first.id] == [task.id for task in await worker.lease()]


async def test_what_a_key_is_of_decides(store: Store) -> None:
    """The handler, the namespace, the flow key, the chosen arguments, or all; a debounce is something else."""
    by = {"unique": {"by": ["a"]}}
    tasks = [
        unique(**ONCE),
        unique(namespace="shop", **ONCE),
        unique({"name": "other"}, **ONCE),
        unique(**ONCE, flow={"key": "f"}),
        unique(**by),
        unique({"name": "demo.add", "args": {"a": 3, "b": 3}}, **by),
        unique(unique={}),
        unique({"url": "https://a.example"}, unique={}),
        unique({"url": "https://a.example", "body": 1}, unique={}),
        unique(debounce={"key": "k", "seconds": 60}),
    ]
    assert [TAKEN_IN] * len(tasks) == [taken.status for taken in await submit(store, *tasks)]
    same = [
        unique(**ONCE),
        unique({"name": "demo.add", "args": {"a": 2.0, "b": 9}}, **by),
        unique({"name": "demo.add", "args": {"b": 3, "a": 2}}, unique={}),
    ]
    assert [DUPLICATE] * 3 == [taken.status for taken in await submit(store, *same)]


async def test_a_batch_has_one_task_of_a_key(store: Store, worker: Worker) -> None:
    """Whatever it says is to be done about the others, in their order."""
    expected = {"return": DUPLICATE, "reject": REFUSED, "reschedule": DUPLICATE}
    for conflict, status in expected.items():
        taken = await submit(store, *(unique(unique={"key": conflict, "on_conflict": conflict}) for _ in range(3)))
        assert [TAKEN_IN, status, status] == [one.status for one in taken]
        assert 1 == len({one.id for one in taken})
        await worker.succeed(*await worker.lease())
    taken = await submit(store, *(unique(unique={"key": "k", "on_conflict": "replace"}) for _ in range(20)))
    assert [TAKEN_IN] * 20 == [one.status for one in taken]
    assert [taken[-1].id] == [task.id for task in await worker.lease()]


async def test_many_at_once_make_one_task(store: Store, worker: Worker) -> None:
    """Whoever is first; all others are told of that one."""
    taken = await asyncio.gather(*(one(store, **ONCE) for _ in range(40)))
    assert 1 == [each.status for each in taken].count(TAKEN_IN)
    assert 1 == len({each.id for each in taken})
    replacing = {"unique": {"key": "r", "on_conflict": "replace"}}
    replaced = await asyncio.gather(*(one(store, **replacing) for _ in range(20)))
    assert all(each.status in (TAKEN_IN, REFUSED) for each in replaced)
    assert 2 == len(await worker.lease_all())


async def test_the_same_call_sent_twice_claims_once(store: Store, worker: Worker) -> None:
    """Also when the task has ended in between: an ended task has no key."""
    task = unique(**ONCE)
    shard = store.tasks.shard_for(task)
    [taken] = await store.tasks.submit_call(shard, [task])
    args = (60_000, taken.id + b"U", task.record)
    for _ in range(2):
        assert b"0" == (await store.tasks.scripts.call(shard, "submit", *args))[1]
        await worker.succeed(*await worker.lease())
    assert TAKEN_IN == (await one(store, **ONCE)).status


async def test_what_expires_has_no_key(store: Store) -> None:
    """The next is taken in."""
    given = {**ONCE, "expires_at": "1970-01-01T00:00:01Z"}
    first = await one(store, **given)
    await expire(store.tasks, store.handlers, store.settings, shard_of(first.id))
    assert TAKEN_IN == (await one(store, **ONCE)).status


# ---------------------------------------------------------------- debounce

TRAILING: dict[str, Any] = {"debounce": {"key": "k", "seconds": 60}}
LEADING: dict[str, Any] = {"debounce": {"key": "k", "seconds": 60, "edge": "leading"}}


async def due_in(store: Store, id_: bytes) -> int:
    """In how many seconds it is due."""
    found = await snapshot(store, id_)
    return round((found.record.time_ms - found.now_ms) / 1000)


async def test_a_debounced_task_waits_for_quiet_and_does_the_latest(store: Store, worker: Worker) -> None:
    """Each submission puts it off and takes the place of what it was to do; another queue and priority too."""
    first = await one(store, **TRAILING)
    assert (TAKEN_IN, 60) == (first.status, await due_in(store, first.id))
    for n in range(300):  # more often than a task may be changed otherwise
        given = {"name": "demo.add", "args": {"n": n}}
        again = (await submit(store, unique(given, **TRAILING, queue="mail", priority=9)))[0]
        assert (DUPLICATE, first.id) == (again.status, again.id)
    found = await snapshot(store, first.id)
    assert ({"n": 299}, "mail", 9) == (found.record.submission["args"], found.record.queue, found.record.priority)
    assert (60, "scheduled") == (await due_in(store, first.id), found.state)
    await store.tasks.scripts.call(shard_of(first.id), "amend", first.id + b"\1" + bytes(7))
    assert TAKEN_IN == (await one(store, **TRAILING)).status, "what is due has its quiet behind it"
    assert [{"n": 299}] == [task.submission["args"] for task in await worker.lease(queue="mail")]


async def test_a_debounced_task_is_not_put_off_for_ever(store: Store, deployment: Deployment) -> None:
    """At most until max_wait_seconds after the first."""
    given = {"debounce": {"key": "k", "seconds": 60, "max_wait_seconds": 90}}
    first = await one(store, **given)
    [key] = [key for key in deployment.all_keys() if b"uniq:" in key]
    node = deployment.node(shard_of(first.id))
    node.setrange(key, 23, (created_ms(first.id) - 50_000).to_bytes(6, "big"))
    assert DUPLICATE == (await one(store, **given)).status
    assert 38 <= await due_in(store, first.id) <= 40


async def test_the_expiry_of_a_debounced_task_is_that_of_the_latest(store: Store) -> None:
    """It may come and go with each."""
    first = await one(store, **TRAILING)
    for at in ("2039-01-01T00:00:00Z", None, "2040-01-01T00:00:00Z"):
        await one(store, **TRAILING, **({"expires_at": at} if at else {}))
        assert bool(at) == bool((await snapshot(store, first.id)).record.ties.expires_ms)


async def test_at_the_leading_edge_the_first_runs_at_once(store: Store, worker: Worker, deployment: Deployment) -> None:
    """What comes before there was quiet is answered with it, also when it has ended; each begins the quiet anew."""
    first = await one(store, **LEADING)
    assert (TAKEN_IN, "queued") == (first.status, await state(store, first.id))
    await worker.succeed(*await worker.lease())
    [key] = [key for key in deployment.all_keys() if b"uniq:" in key]
    node = deployment.node(shard_of(first.id))
    node.pexpire(key, 5000)
    again = await one(store, **LEADING)
    assert (DUPLICATE, first.id) == (again.status, again.id)
    assert 59_000 < node.pttl(key) <= 60_000
    node.delete(key)
    assert TAKEN_IN == (await one(store, **LEADING)).status


# ---------------------------------------------------------------- with an idempotency key


async def test_an_idempotency_key_goes_before_a_unique_key(store: Store, worker: Worker) -> None:
    """Its own repetition is answered as such; another submission with the same unique key is a duplicate."""
    first = await one(store, **ONCE, idempotency_key="i-1")
    again = await one(store, **ONCE, idempotency_key="i-1")
    assert (TAKEN_IN, REPLAYED, first.id) == (first.status, again.status, again.id)
    other = await one(store, **ONCE, idempotency_key="i-2")
    assert (DUPLICATE, first.id) == (other.status, other.id)
    await worker.succeed(*await worker.lease())
    for key in ("i-1", "i-2"):  # what was answered once is answered again, though the unique key is free
        again = await one(store, **ONCE, idempotency_key=key)
        assert (REPLAYED, first.id) == (again.status, again.id)
    assert TAKEN_IN == (await one(store, **ONCE, idempotency_key="i-3")).status


async def test_a_refused_submission_has_no_idempotency_key(store: Store, worker: Worker) -> None:
    """Sent again when the way is free it is taken in."""
    given = {"unique": {"key": "k", "on_conflict": "reject"}, "idempotency_key": "i"}
    await one(store, **ONCE)
    assert REFUSED == (await one(store, **given)).status
    await worker.succeed(*await worker.lease())
    assert TAKEN_IN == (await one(store, **given)).status


@pytest.mark.parametrize("conflict", ["reschedule", "replace"])
async def test_tasks_of_a_flow_and_a_group_have_keys_too(store: Store, worker: Worker, conflict: str) -> None:
    """Moved or replaced, their lines and counts are right; a debounced one may change its group."""
    tied: dict[str, Any] = {"flow": {"key": "f", "concurrency": 1}, "group": "acme"}
    given = {**tied, "unique": {"key": "k", "on_conflict": conflict}}
    first = await one(store, **given)
    for delay in (60, 30, 0, 0):
        await one(store, **given, delay_seconds=delay)
    quiet = {**tied, **TRAILING}
    debounced = await one(store, **quiet)
    await one(store, **{**quiet, "group": "other"})
    [task] = await worker.lease()
    assert (first.id == task.id) == (conflict == "reschedule")
    await worker.succeed(task)
    assert "scheduled" == await state(store, debounced.id)
