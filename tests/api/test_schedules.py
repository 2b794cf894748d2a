"""`/v1/schedules`: what is refused and why, who wins a race, and what the answers say."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import httpx
import pytest

from service.store import Store
from tests.api.serving import Serving, publish
from tests.store.scheduling import HOUR_MS, fire, hours_late, move, read

ADD = {"name": "demo.add", "args": {"a": 2, "b": 3}}
HOURLY = {"cron": "0 * * * *", "task": ADD}


async def put(api: Serving, given: dict[str, Any], name: str = "s1", **headers: str) -> httpx.Response:
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return await api.http.put(f"/v1/schedules/{name}", json=given, headers=headers)


def faults(answer: httpx.Response) -> dict[str, str]:
    assert 422 == answer.status_code, answer.text
    return {fault["pointer"]: fault["detail"] for fault in answer.json()["errors"]}


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("given", "pointer", "says"),
    [
        ({"task": ADD}, "", "says not when"),
        ({"cron": "61 * * * *"}, "/cron", "minute"),
        ({"cron": "0 0 30 2 *"}, "/cron", ""),
        ({"cron": "0 * * * *", "timezone": "Mars/Base"}, "/timezone", "Mars/Base"),
        ({"at": ["2020-01-01T00:00:00Z"]}, "/at", "lie in the past"),
        ({"cron": "0 * * * *", "end_at": "2020-01-01T00:00:00Z"}, "/end_at", "lie in the past"),
        ({**HOURLY, "task": {**ADD, "run_at": "2030-01-01T00:00:00Z"}}, "/task/run_at", "does not go with a schedule"),
        ({**HOURLY, "task": {**ADD, "delay_seconds": 5}}, "/task/delay_seconds", "does not go with a schedule"),
        ({**HOURLY, "task": {"name": "demo.add", "args": {"a": "x", "b": 3}}}, "/task/args/a", "integer"),
        ({**HOURLY, "task": {**ADD, "metadata": {"x": "{{ fire }}"}}}, "/task/metadata/x", "fire_time"),
        ({**HOURLY, "task": {**ADD, "tags": ["{{ fire_time | day }}"]}}, "/task/tags/0", "date"),
        ({**HOURLY, "task": {**ADD, "metadata": {"x": "{{ schedule | date }}"}}}, "/task/metadata/x", "filter"),
        ({"at": ["9999-12-31T23:59:59-12:00"]}, "/at/0", "needs one from 2 to 9000"),
        ({"every_seconds": 60, "anchor_at": "0001-01-01T00:00:00+14:00"}, "/anchor_at", "is of the year 1:"),
        ({**HOURLY, "start_at": "9000-12-31T23:59:59Z"}, "", "never fires"),
        ({**HOURLY, "name": "other"}, "/name", "another"),
        ({**HOURLY, "overlap": "never"}, "/overlap", "allow"),
    ],
)
async def test_what_cannot_be_is_refused_and_named(
    api: Serving, given: dict[str, Any], pointer: str, says: str
) -> None:
    """When it is saved, not when it fires."""
    answer = await put(api, {"task": ADD, **given})
    assert says in faults(answer)[pointer]
    assert 404 == (await api.http.get("/v1/schedules/s1")).status_code


async def test_a_task_of_an_unknown_handler_is_refused(api: Serving) -> None:
    answer = await put(api, {**HOURLY, "task": {"name": "demo.ad"}})
    assert (422, "/problems/unknown-handler") == (answer.status_code, answer.json()["type"])
    assert "/task/name" == answer.json()["errors"][0]["pointer"]


@pytest.mark.parametrize("name", ["a%20b", "a%23b", "x" * 129])
async def test_a_name_in_the_path_is_held_to_the_same_rule(api: Serving, name: str) -> None:
    assert ["/name"] == list(faults(await put(api, HOURLY, name)))


# ---------------------------------------------------------------- who wins


async def test_a_name_is_taken_once(api: Serving) -> None:
    """Of twenty that ask at once, one is told that it is theirs."""
    asked = [api.http.post("/v1/schedules", json={**HOURLY, "name": "s1"}) for _ in range(20)]
    assert [201] + [409] * 19 == sorted(answer.status_code for answer in await asyncio.gather(*asked))


async def test_if_match_lets_one_of_many_changes_through(api: Serving) -> None:
    """The others are told which version there is now."""
    tag = (await put(api, HOURLY)).headers["ETag"]
    asked = [
        api.http.patch("/v1/schedules/s1", json={"description": str(n)}, headers={"If-Match": tag}) for n in range(10)
    ]
    answers = await asyncio.gather(*asked)
    assert [200] + [412] * 9 == sorted(answer.status_code for answer in answers)
    assert {2} == {answer.json()["version"] for answer in answers}


async def test_without_if_match_every_change_goes_through(api: Serving) -> None:
    """Each on what the one before has made."""
    await put(api, HOURLY)
    asked = [api.http.patch("/v1/schedules/s1", json={"task": {"metadata": {f"k{n}": n}}}) for n in range(5)]
    assert [200] * 5 == [answer.status_code for answer in await asyncio.gather(*asked)]
    found = (await api.http.get("/v1/schedules/s1")).json()
    assert ({f"k{n}": n for n in range(5)}, 6) == (found["task"]["metadata"], found["version"])


async def test_if_none_match_creates_and_never_replaces(api: Serving) -> None:
    assert 201 == (await put(api, HOURLY, If_None_Match="*")).status_code
    assert 412 == (await put(api, HOURLY, If_None_Match="*")).status_code
    assert 200 == (await put(api, HOURLY)).status_code
    assert 412 == (await put(api, HOURLY, "other", If_Match='"1"')).status_code


async def test_deleting_what_somebody_has_changed_is_refused(api: Serving) -> None:
    tag = (await put(api, HOURLY)).headers["ETag"]
    await put(api, {**HOURLY, "description": "x"})
    assert 412 == (await api.http.delete("/v1/schedules/s1", headers={"If-Match": tag})).status_code
    assert 204 == (await api.http.delete("/v1/schedules/s1")).status_code
    assert 404 == (await api.http.delete("/v1/schedules/s1")).status_code


# ---------------------------------------------------------------- what stands


async def test_null_removes_a_field(api: Serving) -> None:
    await put(api, {**HOURLY, "description": "x", "timezone": "Asia/Shanghai"})
    changed = await api.http.patch("/v1/schedules/s1", json={"description": None, "timezone": None, "max_runs": 3})
    found = changed.json()
    assert (False, "UTC", 3) == ("description" in found, found["timezone"], found["max_runs"])


async def test_an_ended_schedule_may_be_saved_as_it_is(api: Serving, store: Store) -> None:
    """A deployment that saves all of its schedules again finds nothing wrong with one that is over."""
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    once = {"at": [soon.isoformat()], "task": ADD, "misfire": "skip"}
    await put(api, once)
    schedule = await read(store)
    past = (soon - datetime.timedelta(hours=3)).isoformat()
    await move(store, next_ms=schedule.next_ms - 3 * HOUR_MS, definition={**schedule.definition, "at": [past]})
    await fire(store)
    found = (await put(api, {**once, "at": [past]})).json()
    assert ("ended", None) == (found["state"], found["next_run_at"])
    assert "ended" == (await api.http.post("/v1/schedules/s1/pause")).json()["state"]


async def test_pause_and_resume_may_be_asked_for_twice(api: Serving) -> None:
    await put(api, HOURLY)
    told = [(await api.http.post(f"/v1/schedules/s1/{verb}")).json() for verb in ("pause", "pause", "resume", "resume")]
    assert [True, True, False, False] == [one["paused"] for one in told]
    assert [2, 2, 3, 3] == [one["version"] for one in told]
    assert [True, True, False, False] == [one["next_run_at"] is None for one in told]


async def test_one_whose_zone_is_unknown_here_is_shown_with_the_reason(api: Serving, store: Store) -> None:
    """And the list with it: one that cannot be read must not hide the others."""
    await put(api, HOURLY)
    await put(api, HOURLY, "s2")
    schedule = await read(store)
    await move(store, definition={**schedule.definition, "timezone": "Mars/Base"})
    found = (await api.http.get("/v1/schedules")).json()["items"]
    assert found[0]["explanation"].startswith("Cannot fire: ")
    assert (2, "Mars/Base") == (len(found), found[0]["timezone"])
    assert "/timezone" in faults(await api.http.get("/v1/schedules/s1/preview"))


async def test_runs_by_hand_are_as_many_as_are_asked_for(api: Serving, store: Store) -> None:
    """Also in the same millisecond, and while it is paused; they are not counted as runs."""
    await put(api, {**HOURLY, "paused": True, "overlap": "skip"})
    answers = await asyncio.gather(*(api.http.post("/v1/schedules/s1/run") for _ in range(10)))
    assert ([201] * 10, 10) == ([one.status_code for one in answers], len({one.json()["id"] for one in answers}))
    rows = (await api.http.get("/v1/schedules/s1/runs")).json()["items"]
    assert {"run_by_hand"} == {row["outcome"] for row in rows}
    assert (10, 0) == (len(rows), (await api.http.get("/v1/schedules/s1")).json()["runs"])


async def test_every_filter_says_what_it_says(api: Serving) -> None:
    """In the zone of the schedule where it is about days and hours."""
    said = "{{fire_time}} {{ fire_time | local }} {{ fire_time | date }} {{ fire_time|time }} {{ fire_time | epoch }}"
    metadata = {"said": said + " {{ schedule }}", "was": "{{ previous_fire_time }}"}
    await put(api, {**HOURLY, "timezone": "Asia/Shanghai", "task": {**ADD, "metadata": metadata}})
    first = (await api.http.post("/v1/schedules/s1/run")).json()
    utc, local, date, time, epoch, name = first["metadata"]["said"].split()
    moment = datetime.datetime.fromisoformat(utc)
    there = moment.astimezone(datetime.timezone(datetime.timedelta(hours=8)))
    assert (there.isoformat(timespec="seconds"), name) == (local, "s1")
    assert (f"{there:%Y-%m-%d}", f"{there:%H:%M:%S}") == (date, time)
    assert abs(int(epoch) - moment.timestamp()) <= 1
    second = (await api.http.post("/v1/schedules/s1/run")).json()
    assert ("", utc) == (first["metadata"]["was"], second["metadata"]["was"])


async def test_a_change_of_the_handler_reaches_the_next_task(api: Serving, store: Store) -> None:
    await put(api, HOURLY)
    handler = {"name": "demo.add", "lane": "thread", "queue": "fast", "description": None, "args_schema": {}}
    await publish(store, [handler])
    await hours_late(store, 0.001)
    await store.handlers.refresh()
    await fire(store)
    [row] = (await api.http.get("/v1/schedules/s1/runs")).json()["items"]
    task = await api.read(row["task_id"])
    assert ("fast", "thread", "s1") == (task["queue"], task["lane"], task.get("schedule", {}).get("name"))


# ---------------------------------------------------------------- backfills


def past(hours: float) -> str:
    now = datetime.datetime.now(datetime.UTC).replace(minute=30, second=0, microsecond=0)
    return (now - datetime.timedelta(hours=hours + 1)).isoformat()


async def backfill(api: Serving, **given: Any) -> httpx.Response:
    return await api.http.post("/v1/schedules/s1/backfill", json=given)


async def test_a_dry_run_counts_and_fires_nothing(api: Serving, store: Store) -> None:
    await put(api, HOURLY)
    told = (await backfill(api, start_at=past(10), end_at=past(2), dry_run=True)).json()
    assert (8, True) == (told["total"], told["is_exact"])
    first, last = (datetime.datetime.fromisoformat(told[name]) for name in ("first_fire_time", "last_fire_time"))
    assert datetime.timedelta(hours=7) == last - first
    assert [] == (await api.http.get("/v1/schedules/s1/backfills")).json()["items"]
    none = (await backfill(api, start_at=past(2), end_at=past(2), dry_run=True)).json()
    assert (0, True, None) == (none["total"], none["is_exact"], none["first_fire_time"])


async def test_a_range_with_too_many_is_counted_up_to_the_bound(api: Serving) -> None:
    """And refused; its last occurrence is found all the same."""
    await put(api, {"every_seconds": 1, "anchor_at": "2020-01-01T00:00:00Z", "task": ADD})
    given = {"start_at": "2020-01-01T00:00:00Z", "end_at": "2021-01-01T00:00:00.5Z"}
    told = (await backfill(api, **given, dry_run=True)).json()
    assert (100_000, False, "2021-01-01T00:00:00") == (told["total"], told["is_exact"], told["last_fire_time"][:19])
    assert "in parts" in faults(await backfill(api, **given))["/start_at"]


@pytest.mark.parametrize(
    ("given", "pointer", "says"),
    [
        ({}, "", "start_at"),
        ({"start_at": "2020-01-02T00:00:00Z", "end_at": "2020-01-01T00:00:00Z"}, "/start_at", "after end_at"),
        ({"start_at": "2020-01-01T00:00:00Z", "end_at": "2999-01-01T00:00:00Z"}, "/end_at", "future"),
        ({"start_at": "2020-01-01T00:10:00Z", "end_at": "2020-01-01T00:20:00Z"}, "/start_at", "no occurrence"),
        ({"start_at": "2020-01-01T00:00:00Z", "rate_per_second": 0}, "/rate_per_second", "0.01"),
        ({"start_at": "2020-01-01T00:00:00Z", "overlap": "skip"}, "/overlap", "allow"),
    ],
)
async def test_a_backfill_that_cannot_be_is_refused(
    api: Serving, given: dict[str, Any], pointer: str, says: str
) -> None:
    await put(api, HOURLY)
    assert says in faults(await backfill(api, **given))[pointer]


@pytest.mark.parametrize("start_at", ["0001-01-01T00:00:00+14:00", "0899-01-01T00:00:00Z", "1960-01-01T00:00:00Z"])
async def test_a_backfill_from_before_1970_is_answered(api: Serving, start_at: str) -> None:
    """Nothing that can be written down as a time breaks the counting, or what is kept."""
    await put(api, {"cron": "0 0 1 1 *", "task": ADD})
    for is_dry in (True, False):
        assert (await backfill(api, start_at=start_at, dry_run=is_dry)).status_code in (200, 202, 422)
    assert 200 == (await api.http.get("/v1/schedules/s1/backfills")).status_code


async def test_an_interval_may_count_from_the_year_899(api: Serving) -> None:
    assert 201 == (await put(api, {"every_seconds": 60, "anchor_at": "0899-01-01T00:00:00Z", "task": ADD})).status_code


async def test_a_backfill_is_watched_and_aborted(api: Serving, store: Store) -> None:
    await put(api, HOURLY)
    begun = await backfill(api, start_at=past(5), end_at=past(2), rate_per_second=1)
    place = begun.headers["Location"]
    assert (202, "running", 3, 0) == (begun.status_code, *(begun.json()[name] for name in ("state", "total", "done")))
    await fire(store)
    seen = (await api.http.get(place)).json()
    assert (1, 200) == (seen["done"], (await api.http.get(f"/v1/tasks/{seen['last_task_id']}")).status_code)
    for _ in range(2):
        aborted = await api.http.delete(place)
        assert (200, "aborted", 1) == (aborted.status_code, aborted.json()["state"], aborted.json()["done"])
    assert [aborted.json()] == (await api.http.get("/v1/schedules/s1/backfills")).json()["items"]
    assert "/problems/backfill-not-found" == (await api.http.get(place + "x")).json()["type"]
