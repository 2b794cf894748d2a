"""`GET /v1/events`: everything that happens, as it happens, once; and clients that are slow, leave or come back."""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import Any

import jsonschema_rs
import pytest

from service.api.web import raise_file_limit
from service.contract import contract, validator_of
from service.store import Store
from tests.api.live import Seen, following, told
from tests.api.serving import ADD, Serving, serving
from tests.store.acting import Worker

pytestmark = pytest.mark.both_servers

WHOLE_LIFE = ["queued", "running", "succeeded"]


def check(event: Seen, path: str = "/v1/events") -> None:
    """Whether the contract knows such an event."""
    media = contract()["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
    schema = media["x-events"][event.kind]["$ref"].rpartition("/")[2]
    faults = [fault.message for fault in validator_of(schema).iter_errors(event.data)]
    assert [] == faults


async def test_what_happens_is_told_as_it_happens(api: Serving, worker: Worker) -> None:
    """Queued, running, succeeded, each with what the task is and an id to come back to; and no result."""
    async with following(api.http) as stream:
        task = await api.submitted({**ADD, "tags": ["a"], "priority": 7})
        events = [await stream.next()]
        await worker.succeed(*await worker.lease())
        events += await stream.take(2)
    assert [(task["id"], state) for state in WHOLE_LIFE] == told(events)
    for event in events:
        check(event)
        assert "result" not in event.data
    expected = {"name": "demo.add", "queue": "default", "priority": 7, "tags": ["a"]}
    assert expected == {name: events[0].data[name] for name in expected}
    assert [0, 1, 1] == [event.data["attempt"] for event in events]
    assert 3 == len({event.id for event in events})


async def test_a_failure_says_why(api: Serving, worker: Worker) -> None:
    """Who looks on sees the error without reading the task."""
    async with following(api.http, state="failed") as stream:
        await api.submitted({**ADD, "retries": 0})
        await worker.fail(*await worker.lease())
        event = await stream.next()
    check(event)
    assert {"type", "message"} == set(event.data["error"])


FILTERS: list[tuple[dict[str, str], list[int]]] = [
    ({"queue": "mail"}, [1]),
    ({"name": "demo.s*"}, [2]),
    ({"tag": "b"}, [1]),
    ({"queue": "mail", "tag": "c"}, []),
    ({"state": "queued"}, [0, 1, 2, 3, 5]),
    ({"state": "scheduled,failed"}, [4]),
]


@pytest.mark.parametrize(("query", "expected"), FILTERS)
async def test_filters_must_all_hold(api: Serving, query: dict[str, str], expected: list[int]) -> None:
    """Of five tasks those come that are asked for."""
    submissions: list[dict[str, Any]] = [
        ADD,
        {**ADD, "queue": "mail", "tags": ["b"]},
        {"name": "demo.sleep", "args": {"seconds": 1}},
        ADD,
        {**ADD, "delay_seconds": 1000},
    ]
    async with following(api.http, **query) as stream, following(api.http) as everything:
        tasks = [await api.submitted(one) for one in submissions]
        last = await api.submitted(ADD)
        await everything.until(lambda event: event.data["id"] == last["id"])
        if expected:
            events = await stream.take(len(expected))
            assert [[*tasks, last][n]["id"] for n in expected] == [event.data["id"] for event in events]


async def test_tasks_are_followed_by_their_ids(api: Serving, worker: Worker) -> None:
    """Two of three."""
    tasks = [await api.submitted(ADD) for _ in range(3)]
    async with following(api.http, id=f"{tasks[0]['id']},{tasks[2]['id']}") as stream:
        await worker.succeed(*await worker.lease())
        events = await stream.take(4)
    assert {tasks[0]["id"], tasks[2]["id"]} == {event.data["id"] for event in events}


async def test_progress_is_told_unless_it_is_not_wanted(api: Serving, store: Store, worker: Worker) -> None:
    """The value itself, so that nobody needs to read the task for it."""
    async with following(api.http) as stream, following(api.http, progress="false") as quiet:
        await api.submitted(ADD)
        [leased] = await worker.lease()
        note = b'{"current":1,"total":4,"message":null,"at":"2026-11-22T03:00:00.000Z"}'
        await store.tasks.note_progress(0, [(leased.id, leased.token, note)])
        [event] = [one for one in await stream.take(3) if one.kind == "progress"]
        await worker.succeed(leased)
        kinds = [one.kind for one in await quiet.take(3)]
    check(event)
    assert ("running", 1) == (event.state, event.data["progress"]["current"])
    assert ["task"] * 3 == kinds


async def test_who_comes_back_misses_nothing_and_is_told_nothing_twice(api: Serving, worker: Worker) -> None:
    """The stream is cut behind every event in turn, also in the middle of what one call did."""
    submissions = [{**ADD, "metadata": {"n": n}} for n in range(10)]
    async with following(api.http) as whole:
        last_id, seen = "", list[Seen]()
        async with following(api.http) as stream:
            await api.http.post("/v1/tasks/batch", json=submissions)
            seen.append(await stream.next())
            last_id = stream.last_id
        await worker.succeed(*await worker.lease())
        while len(seen) < 30:
            async with following(api.http, last_id=last_id) as stream:
                seen += await stream.take(1)
                last_id = stream.last_id
        assert told(await whole.take(30)) == told(seen)


async def test_a_cursor_in_the_query_does_the_same(api: Serving) -> None:
    """For those who cannot send header fields."""
    async with following(api.http) as stream:
        tasks = [await api.submitted(ADD) for _ in range(2)]
        first, _ = await stream.take(2)
    async with following(api.http, cursor=first.id) as stream:
        assert tasks[1]["id"] == (await stream.next()).data["id"]


async def test_a_cursor_of_before_the_first_event_brings_all(api: Serving) -> None:
    """A stream is begun while nothing has ever happened."""
    async with following(api.http) as stream:
        task = await api.submitted(ADD)
        await stream.next()
        [first, *_] = stream.raw
    [start] = [line.removeprefix("id: ") for line in first.split("\n") if line.startswith("id: ")]
    async with following(api.http, last_id=start) as stream:
        assert [(task["id"], "queued")] == told([await stream.next()])


async def test_a_gap_is_told(api: Serving, store: Store) -> None:
    """What was trimmed meanwhile, and a store that is another one."""
    async with following(api.http) as stream:
        await api.submitted(ADD)
        last = await stream.next()
    await store.client.xtrim("tp:{0}:ev", maxlen=0)
    async with following(api.http, last_id=last.id) as stream:
        event = await stream.next()
    check(event)
    assert ("gap", "replaced") == (event.kind, event.data["reason"])
    await api.submitted(ADD)
    async with following(api.http, last_id=last.id) as stream:
        event = await stream.next()
        assert ("gap", "trimmed") == (event.kind, event.data["reason"])
        assert "queued" == (await stream.next()).state


@pytest.mark.parametrize("last_id", ["x", "AQ", "AQAAAAAAAAAAAAAAAAAAAAAA!", "A" * 400])
async def test_a_strange_last_event_id_is_refused(api: Serving, last_id: str) -> None:
    """With its name, and what to do."""
    answer = await api.http.get("/v1/events", headers={"Last-Event-ID": last_id})
    assert (422, "/problems/invalid-query") == (answer.status_code, answer.json()["type"])
    assert ["Last-Event-ID"] == [one["header"] for one in answer.json()["errors"]]


async def test_faults_of_a_query_are_all_named(api: Serving) -> None:
    """The stream does not begin."""
    answer = await api.http.get("/v1/events?state=done&rate=0&cursor=x&quue=a")
    assert 422 == answer.status_code
    assert {"state", "rate", "quue"} == {one["parameter"] for one in answer.json()["errors"]}
    assert ["cursor"] == [one["parameter"] for one in (await api.http.get("/v1/events?cursor=x")).json()["errors"]]


async def test_the_head_alone_is_answered(api: Serving) -> None:
    """HEAD streams nothing."""
    task = await api.submitted(ADD)
    for path in ("/v1/events", f"/v1/tasks/{task['id']}/events"):
        answer = await api.http.head(path)
        assert (200, "text/event-stream") == (answer.status_code, answer.headers["content-type"])


async def test_a_key_is_asked_for(store: Store, redis_url: str) -> None:
    """Events tell as much as reading does."""
    async with serving(redis_url, api_key="secret") as api:
        assert 401 == (await api.http.get("/v1/events")).status_code
        api.http.headers["Authorization"] = "Bearer secret"
        async with following(api.http) as stream:
            await api.submitted(ADD)
            assert "queued" == (await stream.next()).state
    assert store.is_ready


async def test_a_chosen_rate_leaves_out_and_counts(api: Serving, worker: Worker) -> None:
    """Two events a second at most, the newest; the others are counted by state."""
    async with following(api.http, rate=2) as stream:
        await api.http.post("/v1/tasks/batch", json=[ADD] * 50)
        await worker.succeed(*await worker.lease())
        seen: list[Seen] = []
        count = 0
        while count < 150:
            seen.append(await stream.next())
            count += seen[-1].data["count"] if seen[-1].kind == "omitted" else 1
    omitted = [event for event in seen if event.kind == "omitted"]
    for event in omitted:
        check(event)
        assert event.data["count"] == sum(event.data["states"].values())
    assert 150 == count
    assert len(seen) - len(omitted) < 20
    assert "succeeded" == seen[-1].state


async def test_streams_end_when_the_service_stops(api: Serving) -> None:
    """At once, and with the reason; a browser comes again by itself."""
    async with following(api.http) as stream:
        stopping = asyncio.create_task(api.stop())
        [event] = await stream.rest()
        await stopping
    check(event)
    assert ("closing", "stopping") == (event.kind, event.data["reason"])


async def test_nothing_is_kept_of_clients_that_left(api: Serving) -> None:
    """The last one ends the reading, too."""
    hub = api.api.runtime.hub
    async with following(api.http), following(api.http, queue="mail"):
        assert 2 == len(hub.following)
    while hub.following or api.api.runtime.store.events.readers:
        await api.submitted(ADD)  # the reader looks up once more before it ends
        await asyncio.sleep(0.01)
    assert not hub.watches.followers
    assert hub.telling is None


async def test_a_slow_client_is_left_behind_with_the_reason(api: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads nothing; the others are told all the same. When it reads at last, it is told why it was left."""
    monkeypatch.setattr("service.api.follower.MOST_WAITING", 200)
    api.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # what is accepted from now on has as little
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"alive")
    [slow] = api.api.runtime.hub.following
    batch = [{**ADD, "tags": ["x" * 128] * 20}] * 100
    async with following(api.http) as quick:
        for _ in range(200):
            await api.http.post("/v1/tasks/batch", json=batch)
            await quick.take(100)
            if slow.leaving is not None:
                break
        assert "too-slow" == slow.leaving
        text = b""
        while b"event: closing" not in text or b'"too-slow"' not in text:
            text += await reader.read(65_536)
        last = await api.submitted(ADD)
        assert last["id"] == (await quick.next()).data["id"]
    writer.close()


async def test_a_slow_client_that_never_reads_is_cut_off(api: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was left with is not kept for it for ever."""
    monkeypatch.setattr("service.api.follower.MOST_WAITING", 10)
    monkeypatch.setattr("service.api.follower.LAST_SECONDS", 0.05)
    api.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"alive")
    hub = api.api.runtime.hub
    batch = [{**ADD, "tags": ["x" * 128] * 20}] * 100
    async with asyncio.timeout(60):
        while hub.following:
            await api.http.post("/v1/tasks/batch", json=batch)
    writer.close()


def test_a_process_takes_as_many_clients_as_the_machine_allows() -> None:
    """Not the thousand that shells allow."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[0]), before[1]))
    try:
        raise_file_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert min(hard, 65_536) == soft
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_schemas_of_events_are_there() -> None:
    """Every event of the contract has a schema that can be used."""
    for path in ("/v1/events", "/v1/tasks/{id}/events"):
        media = contract()["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        for one in media["x-events"].values():
            assert isinstance(validator_of(one["$ref"].rpartition("/")[2]), jsonschema_rs.Draft202012Validator)
