"""`POST /v1/tasks/{id}/run` and `/reschedule`."""

from __future__ import annotations

import pytest

from tests.api.serving import ADD, Serving
from tests.store.acting import Worker


async def test_a_task_that_waits_is_run_at_once(api: Serving, worker: Worker) -> None:
    """And reads so."""
    task = await api.submitted({**ADD, "delay_seconds": 3600})
    answer = await api.http.post(f"/v1/tasks/{task['id']}/run")
    assert (200, "queued") == (answer.status_code, answer.json()["state"])
    assert await api.read(task["id"]) == answer.json()
    assert 1 == len(await worker.lease())


async def test_time_and_priority_change_together(api: Serving) -> None:
    """Either alone, too."""
    task = await api.submitted(ADD)
    path = f"/v1/tasks/{task['id']}/reschedule"
    both = (await api.http.post(path, json={"run_at": "2030-01-01T00:00:00+01:00", "priority": 9})).json()
    assert ("scheduled", 9, "2029-12-31T23:00:00.000Z") == (both["state"], both["priority"], both["run_at"])
    one = (await api.http.post(path, json={"priority": 0.0})).json()
    assert ("scheduled", 0, both["run_at"]) == (one["state"], one["priority"], one["run_at"])
    now = (await api.http.post(path, json={"delay_seconds": 0})).json()
    assert ("queued", 0) == (now["state"], now["priority"])


@pytest.mark.parametrize(
    ("given", "pointers"),
    [
        ({}, [""]),
        ({"priority": 10, "delay_seconds": -1}, ["/delay_seconds", "/priority"]),
        ({"delay_seconds": 1, "run_at": "2030-01-01T00:00:00Z"}, ["/run_at"]),
        ({"run_at": "2099-01-01T00:00:00Z"}, ["/run_at"]),
        ({"retries": 1}, ["/retries"]),
    ],
)
async def test_what_cannot_be_is_refused(api: Serving, given, pointers) -> None:
    """And changes nothing."""
    task = await api.submitted({**ADD, "delay_seconds": 3600})
    answer = await api.http.post(f"/v1/tasks/{task['id']}/reschedule", json=given)
    assert (422, pointers) == (answer.status_code, sorted(one["pointer"] for one in answer.json()["errors"]))
    assert task == await api.read(task["id"])


async def test_only_what_waits_can_be_changed(api: Serving, worker: Worker) -> None:
    """One that runs, one that has ended, one that never was."""
    task = await api.submitted(ADD)
    [leased] = await worker.lease()
    assert 409 == (await api.http.post(f"/v1/tasks/{task['id']}/run")).status_code
    await worker.succeed(leased)
    answer = await api.http.post(f"/v1/tasks/{task['id']}/reschedule", json={"priority": 1})
    assert (409, "succeeded") == (answer.status_code, answer.json()["state"])
    assert 404 == (await api.http.post("/v1/tasks/01M819EKHX02FJFH0TDFHXG001/run")).status_code
