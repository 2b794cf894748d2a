"""Events over a WebSocket, with a client that is not ours: the same events, commands, and who is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from service.store import Store
from tests.api.live import Seen
from tests.api.serving import ADD, Serving, serving
from tests.api.test_events import check
from tests.store.acting import Worker

DEADLINE_SECONDS = 30.0


@asynccontextmanager
async def opened(api: Serving, path: str = "/v1/events", **given: Any) -> AsyncIterator[ClientConnection]:
    """A WebSocket on which events have begun."""
    async with connect(f"ws://127.0.0.1:{api.port}{path}", proxy=None, **given) as ws:
        yield ws


async def heard(ws: ClientConnection) -> Seen:
    """The next event but `alive`."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            message = json.loads(await ws.recv())
            assert {"event", "cursor", "data"} == message.keys()
            if message["event"] != "alive":
                return Seen(message["event"], message["cursor"], message["data"])


async def refused(api: Serving, path: str = "/v1/events", **given: Any) -> tuple[int, str]:
    """Status and type of the problem with which a WebSocket was refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with opened(api, path, **given):
            pass
    answer = caught.value.response
    assert "application/problem+json" == answer.headers["content-type"]
    problem = json.loads(answer.body)
    assert answer.status_code == problem["status"]
    return answer.status_code, problem["type"]


async def closed(ws: ClientConnection) -> tuple[int | None, str | None]:
    """How it was closed, once all that came before was read."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        with contextlib.suppress(ConnectionClosed):
            async for _ in ws:
                pass
        await ws.wait_closed()
    return ws.close_code, ws.close_reason


async def test_the_same_events_as_messages(api: Serving, worker: Worker) -> None:
    """With the same filters, and a cursor to come back to."""
    async with opened(api, "/v1/events?state=queued,succeeded") as ws:
        task = await api.submitted(ADD)
        await worker.succeed(*await worker.lease())
        events = [await heard(ws) for _ in range(2)]
    for event in events:
        check(event)
    assert [(task["id"], "queued"), (task["id"], "succeeded")] == [(one.data["id"], one.state) for one in events]
    async with opened(api, f"/v1/events?cursor={events[0].id}") as ws:
        assert ["running", "succeeded"] == [(await heard(ws)).state for _ in range(2)]


async def test_a_pause_is_counted(api: Serving) -> None:
    """Nothing is sent in it; at its end it is told how much was left out, and then it goes on."""
    async with opened(api) as ws:
        await ws.send(json.dumps({"pause": True}))
        assert ("settings", {"pause": True, "rate": None}) == ((told := await heard(ws)).kind, told.data)
        await api.http.post("/v1/tasks/batch", json=[ADD] * 5)
        hub = api.api.runtime.hub
        [follower] = hub.following
        while follower.omitted["queued"] < 5:
            await asyncio.sleep(0.005)
        await ws.send(json.dumps({"pause": False}))
        assert "settings" == (await heard(ws)).kind
        omitted = await heard(ws)
        assert ("omitted", {"count": 5, "states": {"queued": 5}}) == (omitted.kind, omitted.data)
        task = await api.submitted(ADD)
        assert task["id"] == (await heard(ws)).data["id"]


async def test_a_rate_is_chosen_while_it_runs(api: Serving) -> None:
    """Ten a second, and then all of them again."""
    async with opened(api) as ws:
        await ws.send(json.dumps({"rate": 10}))
        check(await heard(ws))
        await api.http.post("/v1/tasks/batch", json=[ADD] * 100)
        count = events = 0
        while count < 100:
            event = await heard(ws)
            count += event.data["count"] if event.kind == "omitted" else 1
            events += event.kind == "task"
        assert 100 == count
        assert events < 50
        await ws.send(json.dumps({"rate": None}))
        assert {"pause": False, "rate": None} == (await heard(ws)).data
        await api.http.post("/v1/tasks/batch", json=[ADD] * 100)
        assert ["task"] * 100 == [(await heard(ws)).kind for _ in range(100)]


WRONG = ["", "x", "[]", "{}", '{"rate": 0}', '{"rate": "9"}', '{"rate": true}', '{"pause": 1}', '{"stop": true}']


@pytest.mark.parametrize("said", [*WRONG, b"\xff"])
async def test_what_is_not_understood_is_answered(api: Serving, said: str | bytes) -> None:
    """With what is; and events go on."""
    async with opened(api) as ws:
        await ws.send(said)
        event = await heard(ws)
        assert ("problem", "/problems/invalid-request") == (event.kind, event.data["type"])
        assert '{"rate": null}' in event.data["detail"]
        task = await api.submitted(ADD)
        assert task["id"] == (await heard(ws)).data["id"]


async def test_one_task_is_followed_to_its_end(api: Serving, worker: Worker) -> None:
    """Then it is closed as usual."""
    task = await api.submitted(ADD)
    path = f"/v1/tasks/{task['id']}/events"
    async with opened(api, path) as ws:
        assert "queued" == (await heard(ws)).state
        await worker.succeed(*await worker.lease())
        assert ["running", "succeeded"] == [(await heard(ws)).state for _ in range(2)]
        assert 1000 == (await closed(ws))[0]
    async with opened(api, f"{path}?cursor=end") as ws:
        assert 1000 == (await closed(ws))[0]


async def test_it_is_closed_when_the_service_stops(api: Serving) -> None:
    """At once, and with the code that says: come again."""
    async with opened(api) as ws:
        stopping = asyncio.create_task(api.stop())
        event = await heard(ws)
        assert ("closing", "stopping") == (event.kind, event.data["reason"])
        assert 1012 == (await closed(ws))[0]
        await stopping


async def test_nothing_is_kept_of_who_left(api: Serving) -> None:
    """With or without a word."""
    async with opened(api), opened(api, "/v1/events?queue=mail") as ws:
        assert 2 == len(api.api.runtime.hub.following)
        ws.transport.abort()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while api.api.runtime.hub.following:
            await asyncio.sleep(0.005)


async def test_a_slow_client_is_cut_off(api: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads nothing, and is told why in vain."""
    monkeypatch.setattr("service.api.follower.MOST_WAITING", 10)
    monkeypatch.setattr("service.api.follower.LAST_SECONDS", 0.05)
    api.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    async with opened(api, max_queue=1) as ws:
        hub = api.api.runtime.hub
        async with asyncio.timeout(60):
            while hub.following:
                await api.http.post("/v1/tasks/batch", json=[{**ADD, "tags": ["x" * 128] * 20}] * 100)
        await closed(ws)


async def test_who_may_open_one(store: Store, redis_url: str) -> None:
    """With a key, or a read token of the task; pages of other origins only when they are named."""
    assert store.is_ready
    async with serving(redis_url, api_key="secret", cors_origins="https://app.example.com") as api:
        key = {"Authorization": "Bearer secret"}
        api.http.headers.update(key)
        task = await api.submitted(ADD)
        path = f"/v1/tasks/{task['id']}/events"
        assert (401, "/problems/unauthorized") == await refused(api)
        assert (401, "/problems/unauthorized") == await refused(api, f"{path}?token=x")
        assert (403, "/problems/forbidden") == await refused(
            api, additional_headers=key, origin="https://evil.example.com"
        )
        assert (404, "/problems/not-found") == await refused(api, "/v1/tasks", additional_headers=key)
        nobody = f"/v1/tasks/{'0' * 26}/events"
        assert (404, "/problems/task-not-found") == await refused(api, nobody, additional_headers=key)
        assert (422, "/problems/invalid-query") == await refused(api, "/v1/events?quue=a", additional_headers=key)
        token = (await api.http.post(f"/v1/tasks/{task['id']}/read-token")).json()["token"]
        for origin in ("https://app.example.com", f"http://127.0.0.1:{api.port}", None):
            async with opened(api, f"{path}?token={token}", origin=origin) as ws:
                assert "queued" == (await heard(ws)).state
