"""Encryption at rest in the store: what is opened where, what is refused, and how keys come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from service.attempts import pack_line
from service.errors import InvalidSetting, PayloadUnreadable
from service.ids import shard_of
from service.packing import pack
from service.schedule import Schedule
from service.scheduler.renewer import Renewer
from service.sealing import new_key
from service.search import Query
from service.store import Store, keys
from service.store.attempts import LogNote
from service.store.census import census
from service.store.endings import Ending
from service.store.new import REPLAYED, TAKEN_IN, New, Taken, idempotency_of
from service.store.records import CHECKPOINT, PROGRESS
from service.task import Leased
from tests.store.acting import Worker, ask_cancel, new, snapshot, submit
from tests.store.deployments import Deployment

ONE, TWO = new_key(1), new_key(2)
BOTH = f"{TWO},{ONE}"
SECRET = {"name": "demo.add", "args": {"word": "canary"}}
LARGE = {"name": "demo.add", "args": {"word": "canary" * 200}}


READ: dict[bytes, tuple[Any, ...]] = {
    b"string": ("GET",), b"list": ("LRANGE", 0, -1), b"hash": ("HGETALL",), b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1), b"stream": ("XRANGE", "-", "+"),
}  # fmt: skip


class Opened:
    """Stores of one deployment with keys of their own."""

    def __init__(self, deployment: Deployment, stack: AsyncExitStack) -> None:
        self.deployment, self.stack = deployment, stack

    async def __call__(self, keys_: str) -> Store:
        store = await self.deployment.open(encryption_keys=keys_)
        self.stack.push_async_callback(store.close)
        return store


@pytest.fixture
async def opened(deployment: Deployment) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        yield Opened(deployment, stack)


async def said(store: Store, task: Leased) -> None:
    """The attempt of *task* tells how far it is, where it is, and a line."""
    shard, note = shard_of(task.id), store.tasks.closed(task, PROGRESS, b'{"message":"canary"}')
    await store.tasks.note_progress(shard, [(task.id, task.token, note)])
    mark = store.tasks.closed(task, CHECKPOINT, b'{"at":"canary"}')
    await store.tasks.note_checkpoints(shard, [(task.id, task.token, 1, mark)])
    lines = [pack_line(1, "info", "canary")]
    await store.attempts.note_log(shard, [LogNote(task.id, task.token, 0, lines, task.namespace)])


def failing(store: Store, task: Leased, worker: Worker) -> list[bytes]:
    error = {"type": "ValueError", "message": "canary", "traceback": "canary"}
    row = b'{"attempt":1,"outcome":"failed","error":{"type":"ValueError","message":"canary"}}'
    return worker.ending(task, Ending("failed", error=error, row=row))


async def forms(store: Store, deployment: Deployment) -> dict[str, Any]:
    """Everything that tasks carry, in all its places, small and large; what is read of it again."""
    worker = Worker(store)
    ids = await submit(store, new(SECRET), new(LARGE), new(SECRET, namespace="acme"), new(SECRET, delay_ms=10**8))
    tasks = {task.id: task for task in [*await worker.lease_all(), *await worker.lease_all(queue="acme/default")]}
    assert SECRET["args"] == tasks[ids[0]].submission["args"] == tasks[ids[2]].submission["args"]
    for id_ in ids[:3]:
        await said(store, tasks[id_])
    running = await snapshot(store, ids[2])
    assert {"message": "canary"} == running.progress
    history = await store.attempts.history(ids[2])
    assert history is not None
    assert [[1, "info", "canary"]] == history.lines
    await worker.succeed(tasks[ids[0]], result=b'"canary"')
    await worker.report([tasks[ids[1]]], [failing(store, tasks[ids[1]], worker)])
    await worker.again(b"B", tasks[ids[2]])
    [again] = await worker.lease_all(queue="acme/default")
    assert b'{"at":"canary"}' == again.checkpoint
    return {"ids": ids, "again": again, "worker": worker}


def readable(deployment: Deployment) -> list[bytes]:
    """Keys in which the canary can be read."""
    found = []
    for client in deployment.clients:
        for key in client.scan_iter(count=1000):
            command = READ[client.type(key)]
            if b"canary" in key or b"canary" in repr(client.execute_command(command[0], key, *command[1:])).encode():
                found.append(key)
    return found


async def submit_together(store: Store, *tasks: New) -> list[bytes]:
    """The ids of *tasks*, all in one shard."""
    return [taken.id for taken in await store.tasks.submit_call(0, list(tasks))]


async def test_what_tasks_carry_is_sealed_and_reads_as_if_it_were_not(opened: Opened, deployment: Deployment) -> None:
    """Submission, result, error, rows, lines, progress and checkpoint, of every size: none can be read in Redis."""
    store = await opened(ONE)
    made = await forms(store, deployment)
    assert [] == readable(deployment)
    done, failed = await snapshot(store, made["ids"][0]), await snapshot(store, made["ids"][1])
    assert ("canary", "canary") == (done.record.outcome["result"], failed.record.outcome["error"]["message"])
    history = await store.attempts.history(made["ids"][1])
    assert history is not None
    assert ("canary", [[1, "info", "canary"]]) == (history.rows[0]["error"]["message"], history.rows[0]["log"])
    found = await census(store)
    assert {1} == {version for version, _ in found}
    assert {"tasks": 4, "outcomes": 1} == {what: found[1, what] for what in ("tasks", "outcomes")}


async def test_keys_come_change_and_go_while_tasks_wait(opened: Opened, deployment: Deployment) -> None:
    """Plain, old and new lie side by side, and each is run and read to its end by a process that has all keys."""
    plain = await opened("")
    ids = await submit(plain, new(SECRET), new(LARGE))
    for given in (f"none,{ONE}", ONE, f"{ONE},{TWO}", BOTH):
        store = await opened(given)
        ids += await submit(store, new(SECRET), new(LARGE))
    versions = {version for version, _ in await census(store)}
    assert {0, 1, 2} == versions
    worker = Worker(store)
    leased = await worker.lease_all()
    assert sorted(ids) == sorted(task.id for task in leased)
    assert b"1" * len(ids) == await worker.succeed(*leased, result=b'"canary"')
    last = await opened(f"none,{BOTH}")
    for id_ in ids:
        assert "canary" == (await snapshot(last, id_)).record.outcome["result"]
    await opened("")  # none is needed once what started last seals nothing


async def test_without_its_key_a_task_says_so_and_keeps_what_it_carries(opened: Opened, deployment: Deployment) -> None:
    """One such task fails neither a list nor a worker's call; cancelled there, it can be read where the key is."""
    old = await opened(ONE)
    other = await opened(BOTH)  # a rotation that skipped its first step
    first, second = await submit(old, new(SECRET)), await submit(other, new(SECRET), new(LARGE))
    page, _ = await old.pages.page(Query("default", name="demo.*"), 10, None)
    told = {task.id: task.record.unreadable for task in page}
    assert {*first, *second} == set(told)
    assert told[first[0]] is None
    assert all("version 2 of the key" in str(told[id_]) for id_ in second)
    leased = {task.id: task for task in await Worker(old, "w2").lease_all()}
    assert {"name": "demo.add"} == leased[second[0]].submission
    assert leased[second[0]].unreadable is not None
    worker = Worker(old)
    for id_ in second:
        await worker.again(b"B", leased[id_])
        assert "ended" == await ask_cancel(old, id_)
        found = await snapshot(other, id_)
        assert ("cancelled", "canary") == (found.state, found.record.submission["args"]["word"][:6])


async def test_what_was_changed_or_moved_in_redis_is_not_taken_for_true(opened: Opened, deployment: Deployment) -> None:
    """A record under another task's id, of another tenant, or with a byte changed: each is told, none is run."""
    store = await opened(ONE)
    mine, theirs, hurt = await submit_together(store, new(SECRET), new(SECRET, namespace="acme"), new(SECRET))
    client = deployment.node(shard_of(mine))
    stolen = client.get(keys.record(theirs))
    head = client.get(keys.record(mine))[:13]
    client.set(keys.record(mine), head + stolen[13 + stolen[12] :])
    client.setrange(keys.record(hurt), len(client.get(keys.record(hurt))) - 1, b"?")
    for id_ in (mine, hurt):
        found = (await snapshot(store, id_)).record
        assert ({"name": "demo.add"}, False) == (found.submission, found.unreadable.is_missing)
    unreadable = {task.id for task in await Worker(store).lease_all() if task.unreadable is not None}
    assert {mine, hurt} == unreadable


async def test_a_debounced_task_does_what_was_sent_last(opened: Opened, deployment: Deployment) -> None:
    """Its submission takes the place of the first, under the id of that one; and no other task's place."""
    store = await opened(ONE)
    ids = []
    for word in ("first", "last"):
        submission = {"name": "demo.add", "args": {"word": word}, "debounce": {"seconds": 60, "key": "k"}}
        packed = pack(
            submission, "default", queue="default", lane="async", max_crashes=3, now_ms=store.tasks.clock.now_ms()
        )
        [taken] = await store.admission.submit([New(packed.record, unique=packed.ties.unique)])
        ids.append(taken.id)
    assert ids[0] == ids[1]
    assert {"word": "last"} == (await snapshot(store, ids[0])).record.submission["args"]
    assert "ended" == await ask_cancel(store, ids[0])
    assert {"word": "last"} == (await snapshot(store, ids[0])).record.submission["args"]


async def test_a_process_with_wrong_keys_does_not_start(opened: Opened, deployment: Deployment) -> None:
    """It says which version is wrong or missing, before it takes a task."""
    await opened(ONE)
    with pytest.raises(InvalidSetting, match="version 1 of the key, and this process has none"):
        await opened("")
    with pytest.raises(InvalidSetting, match="version 1 of the key, and this process has 2"):
        await opened(TWO)
    with pytest.raises(InvalidSetting, match="the key of version 1 is not the one"):
        await opened(new_key(1))
    await opened(BOTH)
    with pytest.raises(InvalidSetting, match="version 2 of the key, and this process has 1"):
        await opened(ONE)


async def test_a_submission_sent_again_is_known_across_a_change_of_keys(opened: Opened, deployment: Deployment) -> None:
    """What Redis holds of it is a keyed hash; switched on, rotated or switched off, it is the same submission still."""

    async def send(store: Store, key: str, body: bytes) -> Taken:
        task = new({**SECRET, "idempotency_key": key})
        task.idempotency = idempotency_of("default", key, body, store.tasks.keyring)
        [taken] = await store.admission.submit([task])
        return taken

    stores = [await opened(given) for given in ("", ONE, BOTH, f"none,{BOTH}")]
    for n, first in enumerate(stores):
        taken = await send(first, f"key {n}", b"body")
        assert TAKEN_IN == taken.status
        for later in stores[n:]:
            again = await send(later, f"key {n}", b"body")
            assert (REPLAYED, taken.id) == (again.status, again.id)
            assert (await send(later, f"key {n}", b"another")).is_mismatch


async def test_settings_and_schedules_are_sealed_anew_after_a_rotation(opened: Opened, deployment: Deployment) -> None:
    """What never ends by itself does not hold on to an old key; the scheduler sees to it."""
    plain = await opened("")
    first, completions = (await plain.secrets.generations("default"))[0].secret, await plain.completions.secret.get()
    assert completions == deployment.node(0).hget(keys.conf(0), "secret")
    schedule = Schedule("default", "nightly", {"task": SECRET, "created_ms": 1, "updated_ms": 1})
    assert (await plain.schedules.save(schedule, 0, 0))[0]
    assert readable(deployment)
    for given, version in ((ONE, 1), (BOTH, 2), (f"none,{BOTH}", 0)):
        store = await opened(given)
        await Renewer(store).run()
        assert {(version, "secrets"): 1, (version, "schedules"): 1} == dict(await census(store))
        assert first == (await store.secrets.generations("default"))[0].secret
        assert completions == await store.completions.secret.get()
        assert (version == 0) == (completions == deployment.node(0).hget(keys.conf(0), "secret"))
        found = await store.schedules.read("default/nightly")
        assert SECRET == found.definition["task"]
        assert bool(version) != bool(readable(deployment))
    await Renewer(await opened(BOTH)).run()
    with pytest.raises(PayloadUnreadable, match="version 2 of the key"):
        await plain.schedules.read("default/nightly")
