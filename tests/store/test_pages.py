"""What lists of tasks promise: the natural order of each state, and that a walk sees each task that stays once."""

from __future__ import annotations

import asyncio
import base64
import contextlib

import orjson
import pytest

from service.errors import InvalidQuery
from service.ids import encode_id, new_ids, shard_of
from service.search import Query
from service.store import Store
from tests.store.acting import ADD, Worker, ask_cancel, new, snapshot, submit, submit_everywhere
from tests.store.deployments import Deployment

STATES = [None, "queued", "scheduled", "running", "succeeded", "failed", "cancelled"]


async def walk(store: Store, query: Query, limit: int = 7) -> list[bytes]:
    """The ids of all pages."""
    ids: list[bytes] = []
    cursor: str | None = None
    for _ in range(10_000):
        page, cursor = await store.pages.page(query, limit, cursor)
        assert len(page) <= limit
        ids += [one.id for one in page]
        if cursor is None:
            return ids
    raise AssertionError("the walk has no end")


def of(state: str | None, **given: str) -> Query:
    return Query("default", state, **given)


async def fill(store: Store, worker: Worker) -> dict[str, list[bytes]]:
    """Tasks in every state and shard."""
    found: dict[str, list[bytes]] = {}
    found["succeeded"] = await submit_everywhere(store, each=4)
    await worker.succeed(*await worker.lease())
    found["failed"] = await submit_everywhere(store, each=3)
    await worker.fail(*await worker.lease())
    found["cancelled"] = await submit_everywhere(store, each=2)
    await asyncio.gather(*(ask_cancel(store, id_) for id_ in found["cancelled"]))
    found["running"] = await submit_everywhere(store, each=5)
    while (await worker.lease()) or worker.is_work_left:
        pass
    found["queued"] = await submit_everywhere(store, each=9)
    found["scheduled"] = await submit_everywhere(store, each=9, delay_ms=600_000)
    return found


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_a_walk_sees_each_task_of_a_state_once(store: Store, worker: Worker, limit: int) -> None:
    """Whatever the size of the page, in every state, over all shards."""
    found = await fill(store, worker)
    for state, ids in found.items():
        assert sorted(ids) == sorted(await walk(store, of(state), limit)), state
    everything = [id_ for ids in found.values() for id_ in ids]
    walked = await walk(store, of(None), limit)
    assert sorted(everything, reverse=True) == walked, "newest first"


async def test_queued_tasks_stand_in_the_order_in_which_they_will_run(store: Store, worker: Worker) -> None:
    """By priority, then first in first out."""
    tasks = [new(priority=n % 3) for n in range(30)]
    ids = [taken.id for taken in await store.tasks.submit_call(0, tasks)]
    expected = [id_ for priority in (2, 1, 0) for n, id_ in enumerate(ids) if n % 3 == priority]
    assert expected == await walk(store, of("queued"))
    assert expected == [task.id for task in await worker.lease()]


async def test_scheduled_tasks_stand_by_their_due_time(store: Store) -> None:
    """The next one first, over all queues and shards."""
    ids: list[bytes] = []
    for delay_ms in (90_000, 30_000, 60_000):
        ids += await submit_everywhere(store, each=2, delay_ms=delay_ms, queue=f"q{delay_ms}")
    due_ms = {id_: (await snapshot(store, id_)).record.time_ms for id_ in ids}
    walked = await walk(store, of("scheduled"), 3)
    assert sorted(ids) == sorted(walked)
    assert sorted(due_ms.values()) == [due_ms[id_] for id_ in walked]


async def test_many_tasks_due_at_the_same_time_are_all_seen(store: Store) -> None:
    """A thousand tasks with one `run_at`."""
    due_ms = store.tasks.clock.now_ms() + 3_600_000
    ids = await submit(store, *[new(due_ms=due_ms) for _ in range(1000)])
    assert sorted(ids) == sorted(await walk(store, of("scheduled"), 90))


async def test_ended_tasks_stand_by_their_end_newest_first(store: Store, worker: Worker) -> None:
    """The last to end comes first, whenever it was submitted."""
    ids = await submit(store, *[new() for _ in range(6)])
    leased = {task.id: task for task in await worker.lease()}
    order = [ids[n] for n in (3, 1, 5, 0, 4, 2)]
    for id_ in order:
        await worker.succeed(leased[id_])
        ended_ms = (await snapshot(store, id_)).record.time_ms
        while store.tasks.clock.now_ms() <= ended_ms + 1:
            await asyncio.sleep(0.001)
    assert order[::-1] == await walk(store, of("succeeded"), 2)


async def test_running_tasks_stand_newest_first(store: Store, worker: Worker) -> None:
    """Those that are being stopped have a list of their own."""
    ids = await submit_everywhere(store, each=3)
    await worker.lease()
    await ask_cancel(store, ids[1])
    assert sorted(set(ids) - {ids[1]}, reverse=True) == await walk(store, of("running"))
    assert [ids[1]] == await walk(store, of("cancelling"))


async def test_filters_leave_out_what_was_not_asked_for(store: Store) -> None:
    """By queue, name, tag and namespace, together too."""
    mail = await submit(store, new({"name": "mail.send", "tags": ["a", "b"]}, queue="mail"))
    other = await submit(store, new({"name": "mail.send", "tags": ["b"]}), new(queue="mail"), new(namespace="shop"))
    assert mail == await walk(store, of(None, queue="mail", name="mail.send", tag="a"))
    assert {mail[0], other[0]} == set(await walk(store, of("queued", tag="b")))
    assert {mail[0], other[1]} == set(await walk(store, of(None, queue="mail")))
    assert [other[2]] == await walk(store, Query("shop"))
    assert [other[2]] == await walk(store, Query("shop", "queued"))
    assert [] == await walk(store, of("scheduled"))


async def test_the_parts_of_a_task_are_found_without_looking_at_what_is_older(store: Store) -> None:
    """In any state; tasks that were there long before the whole was made are not read for it."""
    [whole] = await submit(store, new())
    parts = await submit(store, *[new({**ADD, "parent": encode_id(whole)}) for _ in range(3)], new())
    query = of(None, parent=encode_id(whole))
    assert sorted(parts[:3], reverse=True) == await walk(store, query)
    assert set(parts[:3]) == set(await walk(store, of("queued", parent=encode_id(whole))))
    [later] = new_ids(0, 1, store.tasks.clock.now_ms() + 3_600_000)
    assert [] == [place async for place in store.pages.source(of(None, parent=encode_id(later)), None)]


@pytest.mark.deployments("valkey-1", "valkey-cluster", "redis-1")
async def test_a_page_looks_at_a_thousand_tasks_at_most(store: Store) -> None:
    """A rare tag costs pages, not minutes: one may be empty and say where to go on."""
    ids = await submit(store, new({**ADD, "tags": ["rare"]}), *[new() for _ in range(2500)])
    page, cursor = await store.pages.page(of(None, tag="rare"), 50, None)
    assert ([], True) == (page, cursor is not None)
    assert [ids[0]] == await walk(store, of(None, tag="rare"), 50)


@pytest.mark.deployments("valkey-1", "redis-1")
async def test_a_page_of_large_tasks_is_short(store: Store) -> None:
    """It ends at a few megabytes, and the walk goes on."""
    big = {"name": "n", "args": {"x": "x" * 600_000}}
    ids = [taken.id for _ in range(20) for taken in await store.tasks.submit_call(0, [new(big)])]
    page, _ = await store.pages.page(of(None), 100, None)
    assert 5 < len(page) < 12
    assert sorted(ids, reverse=True) == await walk(store, of(None), 100)


async def test_a_walk_over_queued_tasks_while_workers_take_them(store: Store, worker: Worker) -> None:
    """Those that stay queued to the end are seen once; order holds."""
    ids = await submit_everywhere(store, each=150)
    seen, cursor = await pages_while(store, of("queued"), lambda: worker.lease(room=5))
    left = {id_ for id_ in ids if (await snapshot(store, id_)).state == "queued"}
    assert cursor is None
    assert left <= set(seen)
    assert len([id_ for id_ in seen if id_ in left]) == len(left), "each once"


async def test_a_walk_over_scheduled_tasks_while_they_come_due(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Promotion takes from the front; nobody behind is missed."""
    ids = await submit_everywhere(store, each=120, delay_ms=600_000)
    waiting = iter(ids)

    async def cancel_some() -> None:
        await asyncio.gather(*(ask_cancel(store, id_) for id_, _ in zip(waiting, range(9), strict=False)))

    seen, _ = await pages_while(store, of("scheduled"), cancel_some)
    left = set(waiting)
    assert left
    assert left <= set(seen)
    assert len([id_ for id_ in seen if id_ in left]) == len(left)


async def test_a_walk_over_all_tasks_while_new_ones_come_in(store: Store, worker: Worker) -> None:
    """New tasks do not push old ones out of sight, nor into it twice."""
    ids = await submit_everywhere(store, each=100)

    async def submit_more() -> None:
        await submit_everywhere(store, each=3)

    seen, _ = await pages_while(store, of(None), submit_more)
    assert len(seen) == len(set(seen))
    assert sorted(ids, reverse=True) == [id_ for id_ in seen if id_ in set(ids)]


async def test_a_walk_over_ended_tasks_while_others_end(store: Store, worker: Worker) -> None:
    """The newest are added in front of the walk."""
    ids = await submit_everywhere(store, each=60)
    while leased := await worker.lease():
        await worker.succeed(*leased)

    async def end_more() -> None:
        await submit_everywhere(store, each=2)
        await worker.succeed(*await worker.lease())

    seen, _ = await pages_while(store, of("succeeded"), end_more)
    assert len(seen) == len(set(seen))
    assert set(ids) <= set(seen)


async def pages_while(store: Store, query: Query, move: object) -> tuple[list[bytes], str | None]:
    """Walk in pages of 40 while *move* runs between pages and, for the page itself, beside it."""
    seen: list[bytes] = []
    cursor: str | None = None
    for _ in range(300):
        (page, cursor), _ = await asyncio.gather(store.pages.page(query, 40, cursor), move())  # type: ignore[operator]
        seen += [one.id for one in page]
        if cursor is None:
            break
    return seen, cursor


@pytest.mark.deployments("valkey-1", "redis-1")
async def test_buckets_of_submitters_with_different_clocks_are_merged(store: Store, deployment: Deployment) -> None:
    """Two API processes whose clocks differ by half a second; the walk is in order and complete."""
    ids: list[bytes] = []
    clock = store.tasks.clock
    for n in range(600):
        clock.offset_ms += 500 if n % 2 else -500
        ids += [taken.id for taken in await store.tasks.submit_call(0, [new()])]
    assert 3 == deployment.node(0).zcard("tp:{0}:made")
    assert sorted(ids, reverse=True) == await walk(store, of(None), 50)


@pytest.mark.parametrize("state", STATES)
async def test_damaged_cursors_are_refused(store: Store, worker: Worker, state: str | None) -> None:
    """Whatever a cursor was made into, the answer is a problem and never a fault of ours."""
    await fill(store, worker)
    texts = [
        "[5]", '["x"]', "[null]", "[[]]", "[{}]", "[1,2]", '["1","2"]', '[1,"\u4e00"]', '[1e30,"a"]',
        '["default",5,0,"a"]', '["default",5,0,"?","T0"]', '["default","x",null,"a",7]', '[-1,"\u0000"]',
        '[1e308,""]', f'["{"z" * 26}"]', "[]", "null", "{}", "5", '"x"', "[1", "[" * 3000,
    ]  # fmt: skip
    own = orjson.dumps(state).decode()
    texts += [f"[{own},{text[1:]}" for text in texts if text.startswith("[")]
    cursors = [base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in texts]
    for cursor in [*cursors, "", "!", "é", "A" * 10_000, cursors[0][:-1], "====", "\0"]:
        with contextlib.suppress(InvalidQuery):
            await store.pages.page(of(state), 10, cursor)


async def test_a_cursor_belongs_to_its_list(store: Store) -> None:
    """A cursor of queued tasks is refused for failed ones."""
    await submit(store, *[new() for _ in range(20)])
    _, cursor = await store.pages.page(of("queued"), 5, None)
    with pytest.raises(InvalidQuery, match="cursor"):
        await store.pages.page(of("failed"), 5, cursor)


async def test_a_queue_is_counted_and_its_oldest_task_known(store: Store, worker: Worker) -> None:
    """Queued, scheduled, running; and for how long the next has waited."""
    assert [{"name": "default", "namespace": "default", "queued": 0, "scheduled": 0, "running": 0,
             "oldest_seconds": None}] == await store.queues.list("default")  # fmt: skip
    ids = await submit(store, *[new(queue="mail") for _ in range(5)])
    await submit(store, new(queue="mail", delay_ms=60_000), new(queue="mail", namespace="shop"))
    await worker.step(shard_of(ids[0]), wants=[("mail", "async", 2)])
    default, mail = await store.queues.list("default")
    assert ("default", "mail") == (default["name"], mail["name"])
    assert (3, 1, 2) == (mail["queued"], mail["scheduled"], mail["running"])
    assert 0 <= mail["oldest_seconds"] < 60
    assert [1] == [queue["queued"] for queue in await store.queues.list("shop")]
