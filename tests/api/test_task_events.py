"""`GET /v1/tasks/{id}/events`: one task from how it stands to its end; and read tokens, which open it for a browser."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from service.api.runtime import Runtime
from service.attempts import pack_line
from service.ids import decode_id, encode_id
from service.reading import Reading, read_token, token_of
from service.store import Store
from service.store.attempts import LogNote
from service.task import Leased
from tests.api.live import Reader, Seen, following
from tests.api.serving import ADD, Serving, serving
from tests.api.test_events import check
from tests.store.acting import Worker, ask_cancel

PATH = "/v1/tasks/{id}/events"


def path_of(task: dict[str, Any] | str) -> str:
    return PATH.replace("{id}", task if isinstance(task, str) else task["id"])


async def say(store: Store, leased: Leased, first: int, *messages: str) -> None:
    """The attempt logs *messages*."""
    lines = [pack_line(store.tasks.clock.now_ms(), "info", message) for message in messages]
    await store.attempts.note_log(0, [LogNote(leased.id, leased.token, first, lines, leased.namespace)])


async def note(store: Store, leased: Leased, current: int) -> None:
    json = b'{"current":%d,"total":4,"message":null,"at":"2026-11-22T03:00:00.000Z"}' % current
    await store.tasks.note_progress(0, [(leased.id, leased.token, json)])


def messages(events: list[Seen]) -> list[str]:
    return [event.data["message"] for event in events if event.kind == "log"]


async def test_a_task_is_followed_from_how_it_stands_to_its_end(api: Serving, store: Store, worker: Worker) -> None:
    """States, progress and log, and then the stream is over."""
    task = await api.submitted(ADD)
    async with following(api.http, path_of(task)) as stream:
        events = [await stream.next()]
        [leased] = await worker.lease()
        await note(store, leased, 1)
        await say(store, leased, 0, "one", "two")
        events += await stream.take(4)
        await say(store, leased, 2, "three")
        assert "progress" not in events[1].data
        await worker.succeed(leased)
        events += await stream.rest()
    for event in events:
        check(event, PATH)
    assert ["queued", "running", "succeeded"] == [event.state for event in events if event.kind == "task"]
    assert [1] == [event.data["progress"]["current"] for event in events if event.kind == "progress"]
    assert ["one", "two", "three"] == messages(events)
    assert ("task", "end") == (events[-1].kind, events[-1].id)


async def test_a_task_that_runs_is_told_as_it_stands(api: Serving, store: Store, worker: Worker) -> None:
    """Who comes late sees what those see who were there."""
    task = await api.submitted(ADD)
    [leased] = await worker.lease()
    await note(store, leased, 3)
    await say(store, leased, 0, "one", "two")
    async with following(api.http, path_of(task)) as stream:
        events = await stream.take(4)
    assert ["task", "progress", "log", "log"] == [event.kind for event in events]
    assert ("running", 1, 3) == (
        events[0].state, events[0].data["attempt"], events[1].data["progress"]["current"]
    )  # fmt: skip
    assert ["one", "two"] == messages(events)


async def test_a_task_that_has_ended_is_told_and_that_is_all(api: Serving, store: Store, worker: Worker) -> None:
    """With its log. Who comes again after that is answered 204, and a browser asks no more."""
    task = await api.submitted(ADD)
    [leased] = await worker.lease()
    await say(store, leased, 0, "one")
    await worker.succeed(leased)
    async with following(api.http, path_of(task)) as stream:
        events = await stream.rest()
    assert (["log", "task"], "succeeded", "end") == ([one.kind for one in events], events[-1].state, events[-1].id)
    answer = await api.http.get(path_of(task), headers={"Last-Event-ID": "end"})
    assert (204, b"") == (answer.status_code, answer.content)


async def test_a_log_goes_on_where_it_broke_off(api: Serving, store: Store, worker: Worker) -> None:
    """Each line once, whichever event was the last; the second attempt counts anew."""
    task = await api.submitted({**ADD, "retries": 1, "backoff": {"delays_seconds": [0.001]}})
    [leased] = await worker.lease()
    await say(store, leased, 0, "one", "two", "three")
    async with following(api.http, path_of(task)) as stream:
        first = await stream.until(lambda event: event.kind == "log" and event.data["message"] == "two")
    async with following(api.http, path_of(task), last_id=first[-1].id) as stream:
        second = await stream.until(lambda event: event.kind == "log")
        row = b'{"attempt":1,"outcome":"retried"}'
        await worker.again(b"R", leased, delay_ms=1, row=row)
        again: list[Leased] = []
        while not again:
            again = await worker.lease()
        await say(store, again[0], 0, "four")
        await worker.succeed(*again)
        second += await stream.rest()
    assert ["one", "two"] == messages(first)
    assert ["three", "four"] == messages(second)
    assert 2 == [event for event in second if event.kind == "log"][-1].data["attempt"]


async def test_many_follow_one_task_and_each_is_told_all(api: Serving, store: Store, worker: Worker) -> None:
    """What is looked up is looked up once for all, and who joins in between misses no line."""
    task = await api.submitted(ADD)
    [leased] = await worker.lease()

    async def all_of_it() -> list[str]:
        async with following(api.http, path_of(task)) as stream:
            return messages(await stream.rest())

    readers = []
    for n in range(20):
        readers.append(asyncio.create_task(all_of_it()))
        await say(store, leased, n, f"line {n}")
    while len(api.api.runtime.hub.following) < 20:
        await asyncio.sleep(0.005)
    await worker.succeed(leased)
    for one in await asyncio.gather(*readers):
        assert [f"line {n}" for n in range(20)] == one


async def test_a_cancelled_task_ends_the_stream(api: Serving, store: Store) -> None:
    """However it ends."""
    task = await api.submitted(ADD)
    async with following(api.http, path_of(task)) as stream:
        await ask_cancel(store, decode_id(task["id"]))
        assert ["queued", "cancelled"] == [event.state for event in await stream.rest()]


async def test_nobody_follows_a_task_that_is_not_there(api: Serving) -> None:
    """As reading it."""
    answer = await api.http.get(path_of(encode_id(bytes(16))))
    assert (404, "/problems/task-not-found") == (answer.status_code, answer.json()["type"])
    assert 404 == (await api.http.head(path_of(encode_id(bytes(16))))).status_code


# ---------------------------------------------------------------- read tokens


async def token_for(api: Serving, task: dict[str, Any], **given: Any) -> dict[str, Any]:
    answer = await api.http.post(f"/v1/tasks/{task['id']}/read-token", **({"json": given} if given else {}))
    assert (201, "no-store") == (answer.status_code, answer.headers["cache-control"]), answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture
async def keyed(store: Store, redis_url: str) -> Any:
    """An API that asks for a key, which its client brings; and somebody without one."""
    assert store.is_ready
    async with serving(redis_url, api_key="secret") as api:
        api.http.headers["Authorization"] = "Bearer secret"
        async with httpx.AsyncClient(base_url=api.http.base_url, timeout=60, trust_env=False) as browser:
            yield api, browser


async def test_a_read_token_opens_one_task_without_a_key(keyed: Any, worker: Worker) -> None:
    """It is read and followed, as GET alone; another task and everything else stay shut."""
    api, browser = keyed
    task, other = await api.submitted(ADD), await api.submitted(ADD)
    made = await token_for(api, task)
    asked = {"token": made["token"]}
    assert made["events_url"] == f"{path_of(task)}?token={made['token']}"
    assert task["id"] == (await browser.get(f"/v1/tasks/{task['id']}", params=asked)).json()["id"]
    async with browser.stream("GET", made["events_url"]) as answer:
        stream = Reader(answer)
        assert "queued" == (await stream.next()).state
        await worker.succeed(*await worker.lease())
        assert ["running", "succeeded"] == [event.state for event in await stream.rest()]
    refused = [
        await browser.get(f"/v1/tasks/{other['id']}", params=asked),
        await browser.get(path_of(other), params=asked),
        await browser.get(f"/v1/tasks/{task['id']}/attempts", params=asked),
        await browser.get("/v1/events", params=asked),
        await browser.post(f"/v1/tasks/{task['id']}/cancel", params=asked),
        await browser.delete(f"/v1/tasks/{task['id']}", params=asked),
        await browser.get(path_of(task)),
    ]
    assert [401] * len(refused) == [answer.status_code for answer in refused]


@pytest.mark.parametrize("token", ["x", "ä", "A" * 52, "A" * 200])
async def test_tokens_that_were_made_up_open_nothing(keyed: Any, token: str) -> None:
    """Not even where no key would be asked for."""
    api, browser = keyed
    task = await api.submitted(ADD)
    answer = await browser.get(path_of(task), params={"token": token})
    assert (401, "/problems/unauthorized") == (answer.status_code, answer.json()["type"])


async def test_a_token_expires(keyed: Any, store: Store) -> None:
    """It opens nothing any more, and what it opened is closed with the reason."""
    api, browser = keyed
    task = await api.submitted(ADD)
    secret, now_ms = await store.completions.secret.get(), store.tasks.clock.now_ms()
    late = token_of(secret, Reading(decode_id(task["id"]), now_ms - 60_000, "default"))
    assert "expired" in (await browser.get(path_of(task), params={"token": late})).json()["detail"]
    soon = token_of(secret, Reading(decode_id(task["id"]), now_ms + 2000, "default"))
    async with following(browser, path_of(task), token=soon) as stream:
        events = await stream.rest()
    assert ["task", "closing"] == [event.kind for event in events]
    check(events[-1], PATH)
    assert "expired" == events[-1].data["reason"]


async def test_a_token_is_as_long_lived_as_was_asked(api: Serving, store: Store) -> None:
    """A quarter of an hour unless said otherwise, a day at most; faults are named."""
    task = await api.submitted(ADD)
    secret = await store.completions.secret.get()
    for given, seconds in (({}, 900), ({"ttl_seconds": 60}, 60)):
        made = await token_for(api, task, **given)
        reading = read_token(secret, made["token"])
        assert reading is not None
        assert abs(reading.expires_ms - store.tasks.clock.now_ms() - seconds * 1000) < 30_000
    for given in ({"ttl_seconds": 0}, {"ttl_seconds": 100_000}, {"ttl": 1}):
        answer = await api.http.post(f"/v1/tasks/{task['id']}/read-token", json=given)
        assert (422, "/problems/invalid-submission") == (answer.status_code, answer.json()["type"])
    assert 404 == (await api.http.post(f"/v1/tasks/{encode_id(bytes(16))}/read-token")).status_code


async def test_a_token_of_another_namespace_reads_there(api: Serving, store: Store) -> None:
    """A task is there for its own namespace alone."""
    task = await api.submitted(ADD)
    secret = await store.completions.secret.get()
    token = token_of(secret, Reading(decode_id(task["id"]), store.tasks.clock.now_ms() + 60_000, "other"))
    assert 404 == (await api.http.get(path_of(task), params={"token": token})).status_code
    runtime: Runtime = api.api.runtime
    assert "other" in runtime.by_namespace
