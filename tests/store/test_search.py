"""Lists by several filters at once: what they find, in which order, and how little they look at for it."""

from __future__ import annotations

import asyncio

import pytest

from service.search import Query, fits, is_count
from service.store import Store, keys
from service.store.endings import Ending
from tests.store.acting import ADD, Worker, ask_cancel, new, snapshot, submit, submit_everywhere
from tests.store.test_pages import fill, walk


def of(**given: str | int) -> Query:
    return Query("default", **given)  # type: ignore[arg-type]


async def fail_with(worker: Worker, error_type: str, status: int | None = None) -> list[bytes]:
    """Fail what waits with this error."""
    leased = await worker.lease_all()
    for task in leased:
        error = {"type": error_type, "message": "no", "traceback": None}
        ending = Ending("failed", error=error, row=b"{}", http={"status": status} if status else None)
        await worker.report([task], [worker.ending(task, ending)])
    return [task.id for task in leased]


@pytest.mark.parametrize(
    ("wanted", "found", "does"),
    [
        ("email:*", "email:send", True),
        ("email:*", "email:", True),
        ("email:*", "mail:send", False),
        ("*:send", "email:send", True),
        ("a*a", "a", False),
        ("a*b*c", "a.b.b.c", True),
        ("a*b*c", "a.c.b", False),
        ("*", "", True),
        ("*", None, False),
        ("a.b", "axb", False),
        ("*a" * 60 + "b", "a" * 128, False),
    ],
)
def test_a_star_stands_for_any_text(wanted: str, found: str | None, does: bool) -> None:
    """And nothing else stands for anything but itself."""
    assert does == fits(wanted, found)


@pytest.mark.parametrize(
    ("wanted", "found", "does"),
    [("2", 2, True), ("2", 3, False), (">2", 3, True), (">2", 2, False), ("<2", 1, True), ("<2", 2, False)],
)
def test_attempts_are_counted_exactly_or_beyond_a_bound(wanted: str, found: int, does: bool) -> None:
    """A bound itself is not beyond it."""
    assert does == is_count(wanted, found)


async def test_several_states_are_walked_together(store: Store, worker: Worker) -> None:
    """Ended ones by their end, mixtures by their creation; each task once."""
    found = await fill(store, worker)
    ended = await walk(store, of(state="failed,cancelled,succeeded"))
    assert sorted([*found["failed"], *found["cancelled"], *found["succeeded"]]) == sorted(ended)
    times = [(await snapshot(store, id_)).record.time_ms for id_ in ended]
    assert times == sorted(times, reverse=True)
    mixed = await walk(store, of(state="queued,failed,running"))
    assert sorted([*found["queued"], *found["failed"], *found["running"]], reverse=True) == mixed


async def test_failures_are_found_by_their_error(store: Store, worker: Worker) -> None:
    """By type, by a pattern of it, by the status of the answer and by its class."""
    found = {}
    for kind, status in (("ValueError", None), ("HttpStatus503", 503), ("Overloaded", 502), ("HttpStatus404", 404)):
        await submit_everywhere(store, each=2)
        found[kind] = sorted(await fail_with(worker, kind, status))
    assert found["ValueError"] == sorted(await walk(store, of(error_type="ValueError")))
    assert sorted(found["HttpStatus503"] + found["HttpStatus404"]) == sorted(await walk(store, of(error_type="Http*")))
    assert sorted(found["HttpStatus503"] + found["Overloaded"]) == sorted(await walk(store, of(http_status="5xx")))
    assert found["HttpStatus404"] == sorted(await walk(store, of(http_status="404")))
    assert [] == await walk(store, of(http_status="5xx", error_type="Value*"))
    assert [] == await walk(store, of(state="queued", error_type="ValueError"))


async def test_names_schedules_and_tags_are_found_together(store: Store) -> None:
    """Each filter that is given must hold."""
    by = {"schedule": {"name": "nightly", "fire_time": "2026-11-22T03:00:00Z"}}
    [mine, _, other, _] = await submit(
        store, new({**ADD, **by, "tags": ["a"]}), new({**ADD, **by}), new({"name": "demo.sub", "tags": ["a"], **by}),
        new({**ADD, "tags": ["a"]}),
    )  # fmt: skip
    assert [mine] == await walk(store, of(name="*add", schedule="nightly", tag="a"))
    assert {mine, other} == set(await walk(store, of(name="demo.*", schedule="nightly", tag="a", state="queued")))


async def test_times_bound_the_walk_from_both_sides(store: Store, worker: Worker) -> None:
    """From the first moment on, up to before the last; what lies outside is not even looked at."""
    moments = []
    groups = []
    for _ in range(3):
        moments.append(await next_moment(store))
        groups.append(await submit_everywhere(store, each=3))
    first, last = moments[1], moments[2]
    assert sorted(groups[1], reverse=True) == await walk(store, of(created_after=first, created_before=last))
    seen = [id_ async for id_, _ in store.pages.source(of(created_after=first, created_before=last), None)]
    assert sorted(groups[1], reverse=True) == seen
    ended, moments = [], []
    for group in groups:
        moments.append(await next_moment(store))
        await asyncio.gather(*(ask_cancel(store, id_) for id_ in group))
        ended.append(sorted(group))
    first, last = moments[1], await next_moment(store)
    assert ended[0] == sorted(await walk(store, of(finished_before=first)))
    assert sorted(ended[1] + ended[2]) == sorted(await walk(store, of(finished_after=first, finished_before=last)))
    between = of(finished_after=first, finished_before=moments[2])
    assert ended[1] == sorted([id_ async for id_, _ in store.pages.source(between, None)])
    assert [] == await walk(store, of(state="queued", finished_after=first))


async def next_moment(store: Store) -> int:
    """A time after all that has happened, and before all that comes."""
    for _ in range(2):
        before = store.tasks.clock.now_ms()
        while store.tasks.clock.now_ms() <= before + 2:
            await asyncio.sleep(0.001)
        await store.tasks.read([bytes(16)])  # hear the time
    return store.tasks.clock.now_ms()


@pytest.mark.deployments("valkey-1", "redis-1")
async def test_a_cursor_goes_on_deep_in_a_long_queue_while_workers_take(store: Store, worker: Worker) -> None:
    """It knows where it stood, and finds its place again when that has moved to the front."""
    ids = [id_ for _ in range(10) for id_ in await submit(store, *[new() for _ in range(100)])]
    page, cursor = await store.pages.page(of(state="queued"), 900, None)
    assert ids[:900] == [one.id for one in page]
    await worker.lease(room=50)
    page, cursor = await store.pages.page(of(state="queued"), 50, cursor)
    assert ids[900:950] == [one.id for one in page]
    await worker.lease_all(room=128)
    page, cursor = await store.pages.page(of(state="queued"), 50, cursor)
    assert ([], None) == (page, cursor)


@pytest.mark.deployments("valkey-1", "redis-1")
async def test_a_place_is_found_again_however_far_it_has_moved(store: Store, worker: Worker) -> None:
    """Nearby, further away, and at the other end of a long list."""
    ids = [id_ for _ in range(25) for id_ in await submit(store, *[new() for _ in range(1000)])]
    key = keys.ready(0, "default", "a", 5)
    entries = [b"T\0" + id_ for id_ in ids]
    for stood, stands in ((24_000, 24_000), (24_000, 23_900), (24_000, 22_500), (24_000, 9_000), (24_000, 10), (5, 9)):
        assert stands == await store.pages.walk.place_of(key, entries[stands], stood)
    assert None is await store.pages.walk.place_of(key, b"T\0" + bytes(16), 24_000)
