"""Endpoints that finish their tasks later, and calls that are broken off, over real processes."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from service.ids import decode_id
from service.settings import Settings
from service.store import Store
from tests.faults.acting import eventually
from tests.journey.receiver import Receiver, receiver
from tests.parts import system
from tests.servers import until

LATER = {"Taskpost-Async": "1"}


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with receiver() as held:
        held.headers = dict(LATER)
        yield held


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(Settings(redis_url=redis_url))
    yield opened
    await opened.close()


async def until_handed_over(store: Store, id_: str) -> None:
    """The worker has recorded that the endpoint holds the task."""

    async def look() -> bool:
        [found] = await store.tasks.read([decode_id(id_)])
        return found is not None and found.run is not None and found.run.is_external

    await eventually(look, "handed over to its endpoint")


async def test_the_endpoint_finishes_although_api_and_worker_were_killed(
    redis_url: str, endpoint: Receiver, store: Store
) -> None:
    """Between its 202 and what it says at last: nothing of the attempt was in their memory only."""
    with system(redis_url) as running:
        worker = running.start_worker()
        endpoint.answers = [(202, b"{}")]
        done = f"{endpoint.url}/done"
        task = running.submit(url=f"{endpoint.url}/work", callback={"url": done}, retries=0, max_crashes=0)
        _, headers, _ = endpoint.next()
        place = headers["taskpost-completion-url"]
        assert place.startswith(f"{running.url}/v1/completions/")
        await until_handed_over(store, task["id"])
        for part in (worker, running.web):
            part.end(signal.SIGKILL)
        assert "running" == (await store.tasks.read([decode_id(task["id"])]))[0].state  # type: ignore[union-attr]
        running.web = running.start("web", port=urlsplit(running.url).port)
        until(running.ready, "an API that is ready")
        running.start_worker()
        for _ in range(2):
            answer = httpx.post(f"{place}/complete", json={"result": {"pages": 12}}, trust_env=False, timeout=60)
            assert (200, {"cancel": False}) == (answer.status_code, answer.json())
        ended = running.api.get(f"/v1/tasks/{task['id']}", params={"wait": 25}).json()
        assert ("succeeded", {"pages": 12}, 1, 0) == tuple(ended[n] for n in ("state", "result", "attempt", "crashes"))
        path, _, told = endpoint.next()
        assert ("/done", "task.succeeded", {"pages": 12}) == (path, told["type"], told["data"]["result"])


def test_an_endpoint_that_falls_silent_is_called_again(redis_url: str, endpoint: Receiver) -> None:
    """Its attempt failed, and the next one succeeds; the first one's token is worth nothing."""
    with system(redis_url) as running:
        running.start_worker()
        endpoint.headers["Taskpost-Heartbeat"] = "1"
        endpoint.answers = [(202, b"{}"), (200, b'"done"')]
        task = running.submit(url=endpoint.url, backoff={"delays_seconds": [0]})
        place = endpoint.next()[1]["taskpost-completion-url"]
        ended = running.api.get(f"/v1/tasks/{task['id']}", params={"wait": 25}).json()
        assert ("succeeded", "done", 2, 0) == tuple(ended[n] for n in ("state", "result", "attempt", "crashes"))
        attempts = running.api.get(f"/v1/tasks/{task['id']}/attempts").json()["items"]
        assert ["HeartbeatMissed", None] == [one.get("error", {}).get("type") for one in attempts]
        assert 409 == httpx.post(f"{place}/complete", trust_env=False, timeout=60).status_code


def test_a_slot_is_free_while_an_endpoint_works(redis_url: str, endpoint: Receiver) -> None:
    """One worker that calls one URL at a time hands over as many tasks as there are."""
    with system(redis_url) as running:
        running.start_worker(url_concurrency=1)
        endpoint.answers = [(202, b"{}")] * 5
        tasks = [running.submit(url=endpoint.url) for _ in range(5)]
        places = [endpoint.next()[1]["taskpost-completion-url"] for _ in tasks]
        assert {"running"} == {running.api.get(f"/v1/tasks/{task['id']}").json()["state"] for task in tasks}
        for place in places:
            assert 200 == httpx.post(f"{place}/complete", trust_env=False, timeout=60).status_code


def test_a_running_call_that_is_cancelled_is_closed(redis_url: str) -> None:
    """The endpoint sees the end of its connection while it still works, not at the time limit."""
    with system(redis_url) as running, socket.create_server(("127.0.0.1", 0)) as listening:
        running.start_worker()
        listening.settimeout(60)
        task = running.submit(url=f"http://127.0.0.1:{listening.getsockname()[1]}/slow", timeout_seconds=600)
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(60)
            assert b"POST /slow" in connection.recv(65536)
            assert 202 == running.api.post(f"/v1/tasks/{task['id']}/cancel").status_code
            while connection.recv(65536):
                pass
        ended = running.api.get(f"/v1/tasks/{task['id']}", params={"wait": 25}).json()
        assert "cancelled" == ended["state"]


def test_an_endpoint_can_be_called_when_its_task_is_cancelled(redis_url: str, endpoint: Receiver) -> None:
    """At its `cancel_url`, signed as every call; and its next heartbeat says so too."""
    with system(redis_url) as running:
        running.start_worker()
        endpoint.answers = [(202, b"{}")]
        task = running.submit(url=f"{endpoint.url}/work", cancel_url=f"{endpoint.url}/cancel")
        place = endpoint.next()[1]["taskpost-completion-url"]
        assert 202 == running.api.post(f"/v1/tasks/{task['id']}/cancel").status_code
        endpoint.headers.clear()
        path, headers, told = endpoint.next()
        assert ("/cancel", "task.cancelling", task["id"]) == (path, told["type"], told["data"]["id"])
        assert "webhook-signature" in headers
        answers = [httpx.post(f"{place}/{one}", trust_env=False, timeout=60).json() for one in ("heartbeat", "fail")]
        assert [{"cancel": True}, {"cancel": False}] == answers
        assert "cancelled" == running.api.get(f"/v1/tasks/{task['id']}", params={"wait": 25}).json()["state"]
