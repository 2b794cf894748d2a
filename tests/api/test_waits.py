"""`?wait=`: long-polls that end with the task, with their time, with the client and with the service."""

from __future__ import annotations

import asyncio

import pytest

from service.ids import decode_id
from service.store import Store
from tests.api.serving import ADD, Serving
from tests.store.acting import Worker, ask_cancel


async def until_waiting(api: Serving, many: int = 1) -> None:
    """Until so many wait for a task's end."""
    waiting = api.api.runtime.store.events.waiting
    while sum(len(futures) for futures in waiting.values()) < many:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("path", ["", "/result"])
async def test_wait_ends_with_the_task(api: Serving, worker: Worker, path: str) -> None:
    """Ten who wait are answered by one end."""
    task = await api.submitted(ADD)
    asking = [asyncio.create_task(api.http.get(f"/v1/tasks/{task['id']}{path}?wait=25")) for _ in range(10)]
    await until_waiting(api, 10)
    await worker.succeed(*await worker.lease())
    for answer in await asyncio.gather(*asking):
        assert 200 == answer.status_code
        assert 5 == (answer.json() if path else answer.json()["result"])


async def test_wait_for_an_ended_task_answers_at_once(api: Serving, worker: Worker) -> None:
    """There is nothing to wait for."""
    task = await api.submitted(ADD)
    await worker.succeed(*await worker.lease())
    answer = await api.http.get(f"/v1/tasks/{task['id']}?wait=25")
    assert "succeeded" == answer.json()["state"]
    assert {} == dict(api.api.runtime.store.events.waiting)


async def test_wait_ends_with_a_cancel(api: Serving, store: Store) -> None:
    """However a task ends, whoever waits hears of it."""
    task = await api.submitted(ADD)
    asking = asyncio.create_task(api.http.get(f"/v1/tasks/{task['id']}?wait=25"))
    await until_waiting(api)
    await ask_cancel(store, decode_id(task["id"]))
    assert "cancelled" == (await asking).json()["state"]


async def test_wait_ends_in_time(api: Serving) -> None:
    """The task is shown as it is; a result is not there yet."""
    task = await api.submitted(ADD)
    assert "queued" == (await api.http.get(f"/v1/tasks/{task['id']}?wait=0.05")).json()["state"]
    late = await api.http.get(f"/v1/tasks/{task['id']}/result?wait=0.05")
    assert (409, "/problems/not-finished") == (late.status_code, late.json()["type"])


async def test_wait_ends_when_the_service_stops(api: Serving) -> None:
    """Whoever waits gets the task as it is, at once."""
    task = await api.submitted(ADD)
    asking = asyncio.create_task(api.http.get(f"/v1/tasks/{task['id']}?wait=25"))
    submitting = asyncio.create_task(api.post(ADD, headers={"Prefer": "wait=25"}))
    await until_waiting(api, 2)
    await api.stop()
    assert (200, "queued") == ((await asking).status_code, (await asking).json()["state"])
    assert 202 == (await submitting).status_code


async def test_wait_ends_with_the_client(api: Serving) -> None:
    """Nothing is kept for those who have left."""
    task = await api.submitted(ADD)
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(f"GET /v1/tasks/{task['id']}?wait=25 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await until_waiting(api)
    writer.close()
    while api.api.runtime.store.events.waiting:
        await asyncio.sleep(0.005)
