"""
One task's whole life, top to bottom: submitted over HTTP, run by a worker, read, called back, forgotten.

Every process is real. Read it as an introduction: what a user can do stands here in the order in which they would.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.journey.receiver import Receiver, receiver
from tests.parts import System, system
from tests.servers import until

pytestmark = pytest.mark.both_servers


@pytest.fixture
def running(redis_url: str) -> Iterator[System]:
    with system(redis_url) as started:
        started.start_worker()
        yield started


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with receiver() as started:
        yield started


def test_a_handler_runs_and_its_result_is_read_and_called_back(running: System, endpoint: Receiver) -> None:
    """Submit, wait, result, callback, attempts, list, delete: each step as the README tells it."""
    answer = running.api.post(
        "/v1/tasks",
        json={
            "name": "demo.add",
            "args": {"a": 2, "b": 3},
            "tags": ["journey"],
            "callback": {"url": f"{endpoint.url}/done", "headers": {"X-Own": "1"}},
        },
    )
    assert answer.status_code == 201
    task = answer.json()
    assert answer.headers["location"] == f"/v1/tasks/{task['id']}"

    done = running.ended(task["id"])
    assert ("succeeded", 5, 1) == (done["state"], done["result"], done["attempt"])
    assert running.api.get(f"/v1/tasks/{task['id']}/result").json() == 5

    path, headers, body = endpoint.next()
    assert ("/done", "1", "task.succeeded") == (path, headers["x-own"], body["type"])
    assert ("succeeded", 5, task["id"]) == (body["data"]["state"], body["data"]["result"], body["data"]["id"])
    callback = running.ended(done["callback"]["task_id"])
    assert ("callbacks", "succeeded", task["id"]) == (callback["queue"], callback["state"], callback["callback_of"])
    assert headers["webhook-id"] == callback["id"]

    [attempt] = running.api.get(f"/v1/tasks/{task['id']}/attempts").json()["items"]
    assert (1, "succeeded") == (attempt["attempt"], attempt["outcome"])
    listed = running.api.get("/v1/tasks", params={"tag": "journey"}).json()["items"]
    assert [task["id"]] == [one["id"] for one in listed]

    assert running.api.delete(f"/v1/tasks/{task['id']}").status_code == 204
    assert running.api.get(f"/v1/tasks/{task['id']}").status_code == 404


def test_a_url_is_called_until_it_answers(running: System, endpoint: Receiver) -> None:
    """The endpoint fails once; the second attempt succeeds, and its answer is the result."""
    endpoint.answers += [(500, b'{"type": "Busy", "message": "not now"}'), (200, b'{"made": 7}')]
    task = running.submit(
        url=f"{endpoint.url}/make",
        body={"day": "2026-11-22"},
        backoff={"delays_seconds": [0.05]},
    )
    done = running.ended(task["id"])
    assert ("succeeded", {"made": 7}, 2) == (done["state"], done["result"], done["attempt"])
    first, second = endpoint.next(), endpoint.next()
    assert {"day": "2026-11-22"} == first[2] == second[2]
    assert ("1", "2") == (first[1]["taskpost-attempt"], second[1]["taskpost-attempt"])
    rows = running.api.get(f"/v1/tasks/{task['id']}/attempts").json()["items"]
    assert [("retried", "Busy"), ("succeeded", None)] == [
        (row["outcome"], (row.get("error") or {}).get("type")) for row in rows
    ]


def test_progress_is_seen_and_a_running_task_can_be_cancelled(running: System, endpoint: Receiver) -> None:
    """A long task shows how far it is, stops when told to, and its callback says so."""
    task = running.submit(name="demo.progress", args={"steps": 3000}, callback={"url": endpoint.url})
    seen = until(lambda: running.api.get(f"/v1/tasks/{task['id']}").json().get("progress"), "progress")
    assert (3000, f"step {seen['current']:g} of 3000") == (seen["total"], seen["message"])
    assert running.api.post(f"/v1/tasks/{task['id']}/cancel").status_code in (200, 202)
    assert "cancelled" == running.ended(task["id"])["state"]
    assert "task.cancelled" == endpoint.next()[2]["type"]


def test_a_task_waits_for_its_time_and_for_its_turn(running: System) -> None:
    """Delayed tasks are scheduled and can be cancelled; a due one runs without anything else going on."""
    far = running.submit(name="demo.add", args={"a": 1, "b": 1}, delay_seconds=315_360_000)
    assert "scheduled" == far["state"]
    assert "cancelled" == running.api.post(f"/v1/tasks/{far['id']}/cancel").json()["state"]
    soon = running.submit(wait=20, name="demo.add", args={"a": 1, "b": 1}, delay_seconds=0.3)
    assert "succeeded" == running.ended(soon["id"])["state"]


def test_a_killed_worker_loses_nothing(redis_url: str) -> None:
    """SIGKILL of a worker with a running task: another runs it again, and nobody has to do anything."""
    with system(redis_url, lease_ms=2000, heartbeat_ms=500) as running:
        workers = [running.start_worker(), running.start_worker()]
        task = running.submit(name="demo.sleep", args={"seconds": 5})

        def runner() -> str | None:
            seen = running.api.get(f"/v1/tasks/{task['id']}").json()
            return seen["worker"] if seen["state"] == "running" else None

        first = until(runner, "a running task")
        [killed] = [worker for worker in workers if f"-{worker.process.pid}-" in first]
        os.kill(killed.process.pid, signal.SIGKILL)
        done = running.ended(task["id"])
        assert "succeeded" == done["state"]
        assert first != done["worker"]


def test_a_stopping_worker_finishes_what_it_runs(running: System) -> None:
    """SIGTERM: the running task succeeds, and the worker leaves with status 0."""
    worker = running.start_worker()
    tasks = [running.submit(name="demo.sleep", args={"seconds": 1}) for _ in range(20)]
    assert 0 == worker.end()
    assert {"succeeded"} == {running.ended(task["id"])["state"] for task in tasks}
    assert {1} == {running.ended(task["id"])["attempt"] for task in tasks}
