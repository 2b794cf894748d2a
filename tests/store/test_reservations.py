"""An idempotency key whose task lives in another shard: wherever who submits it dies, the next goes on from there."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import pytest

from service.errors import StoreUnavailable
from service.ids import shard_of
from service.store import Store
from service.store.new import DUPLICATE, IN_FLIGHT, MISMATCH, REFUSED, REPLAYED, TAKEN_IN, New, Taken
from tests.store.acting import Worker, state
from tests.store.deployments import Deployment
from tests.store.test_unique import unique

pytestmark = pytest.mark.deployments("valkey-16", "valkey-cluster", "redis-cluster")
ONCE = {"unique": {"key": "k"}}


def apart(store: Store, number: int = 0, **given: Any) -> New:
    """A submission whose idempotency key lies in another shard than its unique key."""
    made = (unique(**{**ONCE, **given}, idempotency_key=f"i-{n}") for n in range(1000))
    return next(islice(filter(store.admission.reservations.is_apart, made), number, None))


async def submit(store: Store, *tasks: New) -> list[Taken]:
    return await store.admission.submit(tasks)


async def test_a_key_answers_its_task_wherever_that_is(store: Store, worker: Worker) -> None:
    """While the task is there and when it has ended; another submission is a mismatch."""
    task = apart(store)
    [first] = await submit(store, task)
    assert TAKEN_IN == first.status
    assert shard_of(first.id) == store.tasks.shard_of_hash(task.unique) != store.tasks.shard_of_hash(task.idempotency)
    for _ in range(2):
        [again] = await submit(store, task)
        assert (REPLAYED, first.id) == (again.status, again.id)
        await worker.succeed(*await worker.lease())
    [other] = await submit(store, New(task.record, task.idempotency[:16] + b"another!", unique=task.unique))
    assert (MISMATCH, first.id) == (other.status, other.id)


async def test_what_its_unique_key_answered_is_answered_again(store: Store, worker: Worker) -> None:
    """A duplicate stays one, also when that key is free; what was refused is asked anew."""
    [first] = await submit(store, unique(**ONCE))
    task = apart(store)
    refused = apart(store, 1, unique={"key": "k", "on_conflict": "reject"})
    assert [DUPLICATE, REFUSED] == [one.status for one in await submit(store, task, refused)]
    await worker.succeed(*await worker.lease())
    [again, anew] = await submit(store, task, refused)
    assert (REPLAYED, first.id, TAKEN_IN) == (again.status, again.id, anew.status)


async def test_a_batch_has_a_key_twice(store: Store, worker: Worker) -> None:
    """The second is answered with the task of the first."""
    task, other = apart(store), apart(store, 1, unique={"key": "other"})
    first, other_, second = await submit(store, task, other, task)
    assert [TAKEN_IN, TAKEN_IN, REPLAYED] == [first.status, other_.status, second.status]
    assert first.id == second.id
    assert 2 == len(await worker.lease_all())


async def test_many_at_once_make_one_task(store: Store, worker: Worker) -> None:
    """Whoever is not first hears that it is under way, or is answered with its task."""
    task = apart(store)
    taken = [one for [one] in await asyncio.gather(*(submit(store, task) for _ in range(30)))]
    statuses = [one.status for one in taken]
    assert (1, 1) == (statuses.count(TAKEN_IN), len({one.id for one in taken}))
    assert {*statuses} <= {TAKEN_IN, REPLAYED, IN_FLIGHT}
    assert 1 == len(await worker.lease_all())


@pytest.mark.parametrize("script", ["reserve", "submit", "confirm"])
@pytest.mark.parametrize("is_done", [False, True])
async def test_a_crash_between_any_two_steps_is_healed(
    store: Store, worker: Worker, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, script: str, is_done: bool
) -> None:
    """Before or after what the call does, its answer lost: sent again, there is one task, and the key answers it."""
    task, call = apart(store), store.tasks.scripts.call

    async def dying(shard: int, name: str, *args: Any) -> Any:
        if name == script and not is_done:
            raise StoreUnavailable("it died before")
        answer = await call(shard, name, *args)
        if name == script:
            raise StoreUnavailable("it died after")
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(store.tasks.scripts, "call", dying)
        with pytest.raises(StoreUnavailable):
            await submit(store, task)
    if (script, is_done) not in (("reserve", False), ("confirm", True)):
        [waits] = await submit(store, task)
        assert IN_FLIGHT == waits.status
        [key] = [key for key in deployment.all_keys() if b"idem:" in key]
        deployment.node(store.tasks.shard_of_hash(task.idempotency)).setrange(key, 24, bytes(6))  # long ago
    [taken] = await submit(store, task)
    [again] = await submit(store, task)
    assert (REPLAYED, taken.id, "queued") == (again.status, again.id, await state(store, taken.id))
    assert [taken.id] == [one.id for one in await worker.lease_all()]


async def test_a_deleted_task_leaves_no_key(store: Store, worker: Worker) -> None:
    """The key may be used anew, in whichever shard it lies."""
    task = apart(store)
    [taken] = await submit(store, task)
    await worker.succeed(*await worker.lease())
    [found] = await store.tasks.read([taken.id])
    assert found is not None
    assert 1 == await store.tasks.forget(taken.id, found.record)
    [anew] = await submit(store, task)
    assert (TAKEN_IN, True) == (anew.status, anew.id != taken.id)
