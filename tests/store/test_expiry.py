"""What expiry promises: what waits past its time ends as `expired`, with its callback; what runs goes on."""

from __future__ import annotations

from typing import Any

import pytest

from service.ids import shard_of
from service.store import Store, keys
from service.store.amendments import Amendment, amend
from service.store.expiry import expire, report
from service.ties import Ties
from tests.store.acting import ADD, Worker, ask_cancel, new, snapshot, state, submit
from tests.store.deployments import Deployment

LATE = Ties(expires_ms=1000)  # long ago
SOON = Ties(expires_ms=4_000_000_000_000)


async def expire_all(store: Store) -> int:
    """What the schedulers' duty does, for every shard."""
    return sum([await expire(store.tasks, store.handlers, store.settings, n) for n in range(store.shards)])


async def expiring(store: Store) -> int:
    """How many tasks are noted as such that expire."""
    return sum([await store.scripts.command("ZCARD", keys.expiring(n)) for n in range(store.shards)])


@pytest.mark.parametrize("given", [{}, {"delay_ms": 60_000}, {"queue": "mail", "priority": 9}])
async def test_what_waits_past_its_time_ends_as_expired(store: Store, worker: Worker, given: dict[str, Any]) -> None:
    """Ready or not due yet; it is given to nobody, and others wait on."""
    late, other, soon = await submit(store, new(ties=LATE, **given), new(**given), new(ties=SOON, **given))
    assert 1 == await expire_all(store)
    assert ["expired", "queued", "queued"] == [
        (await state(store, id_) or "").replace("scheduled", "queued") for id_ in (late, other, soon)
    ]
    assert 1 == await expiring(store)
    assert 0 == await expire_all(store)
    assert late not in [task.id for task in await worker.lease_all(queue=given.get("queue", "default"))]


async def test_expiry_calls_back(store: Store, worker: Worker) -> None:
    """As every end does, if the callback is for it."""
    for on in (["expired"], ["failed"]):
        callback = {"url": "https://hooks.example.com/done", "on": on}
        await submit(store, new({**ADD, "callback": callback}, ties=LATE))
    assert 2 == await expire_all(store)
    [call] = await worker.lease(queue="callbacks", lane="url")
    assert ("task.expired", "expired") == (call.submission["body"]["type"], call.submission["body"]["data"]["state"])


async def test_a_running_task_does_not_expire(store: Store, worker: Worker) -> None:
    """Not even when it was found waiting a moment before."""
    [id_] = await submit(store, new(ties=LATE))
    found = await snapshot(store, id_)
    [task] = await worker.lease()
    assert 1000 == task.expires_ms
    assert 0 == await expire_all(store)
    made = report(store.tasks, store.handlers, store.settings, found)
    assert b"0" == await store.tasks.end(shard_of(id_), [made])
    assert "running" == await state(store, id_)
    await worker.succeed(task)
    assert ("succeeded", 0) == (await state(store, id_), await expiring(store))


async def test_a_task_that_was_given_more_time_does_not_expire(store: Store) -> None:
    """What is decided of it is held against the record as it is."""
    [id_] = await submit(store, new(ties=SOON))
    made = report(store.tasks, store.handlers, store.settings, await snapshot(store, id_))
    assert b"0" == await store.tasks.end(shard_of(id_), [made])
    assert "queued" == await state(store, id_)
    assert "ended" == await ask_cancel(store, id_)


@pytest.mark.parametrize("kind", [b"R", b"D", b"B"])
async def test_a_task_that_comes_back_expires(store: Store, worker: Worker, kind: bytes) -> None:
    """After a failure, put off, or handed back: it waits again."""
    [id_] = await submit(store, new(ties=LATE))
    [task] = await worker.lease()
    await worker.again(kind, task, delay_ms=0 if kind == b"B" else 60_000, row=b'{"attempt":1}')
    assert 1 == await expire_all(store)
    ended = await snapshot(store, id_)
    assert ("expired", int(kind == b"R")) == (ended.state, (ended.record.outcome or {})["attempt"])


async def test_a_task_whose_worker_died_expires(store: Store, worker: Worker) -> None:
    """It waits again, as a suspect or not."""
    [id_] = await submit(store, new(ties=LATE))
    [task] = await worker.lease()
    await store.tasks.reap(shard_of(id_), [(id_, task.token)])
    assert (1, "expired") == (await expire_all(store), await state(store, id_))


async def test_a_change_of_time_leaves_its_expiry(store: Store) -> None:
    """Put off beyond it, it ends when that comes."""
    [id_] = await submit(store, new(ties=LATE))
    await amend(store.tasks, shard_of(id_), [Amendment(id_, SOON.expires_ms, 9)])
    assert 1 == await expire_all(store)


async def test_many_expire_in_one_turn(store: Store, worker: Worker, deployment: Deployment) -> None:
    """More than one look takes, large ones among them, behind running ones that are passed over."""
    await submit(store, *(new(ties=LATE) for _ in range(70)))
    held = await worker.lease_all()
    large = {"name": "n", "args": {"x": "x" * 100_000}}
    await submit(store, *(new(ties=Ties(expires_ms=2000)) for _ in range(100)), *(new(large, ties=LATE),) * 12)
    assert 112 == await expire_all(store)
    assert len(held) == await expiring(store)
    for task in held:
        await worker.succeed(task)
