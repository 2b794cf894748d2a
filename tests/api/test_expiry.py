"""`expires_in_seconds` and `expires_at` over HTTP."""

from __future__ import annotations

from service.ids import decode_id, shard_of
from service.store import Store, keys
from service.store.expiry import expire
from service.task import epoch_ms
from tests.api.serving import ADD, Serving
from tests.store.acting import Worker


async def test_a_task_says_when_it_expires(api: Serving) -> None:
    """From its submission on, whichever way it was said."""
    task = await api.submitted({**ADD, "expires_in_seconds": 90, "delay_seconds": 60})
    assert 90_000 - 1000 <= epoch_ms(task["expires_at"]) - epoch_ms(task["created_at"]) <= 90_000 + 1000
    named = await api.submitted({**ADD, "expires_at": "2030-01-01T00:00:00+01:00"})
    assert "2029-12-31T23:00:00.000Z" == named["expires_at"]
    assert "expires_at" not in await api.submitted(ADD)


async def test_an_expired_task_reads_so(api: Serving, store: Store) -> None:
    """It never started; it is no success and no failure, and cannot be cancelled any more."""
    task = await api.submitted({**ADD, "expires_in_seconds": 0.001})
    id_ = decode_id(task["id"])
    while not await expire(store.tasks, store.handlers, store.settings, shard_of(id_)):
        store.tasks.clock.hear(store.tasks.clock.now_ms() + 1)  # until Redis, whose clock counts, has gone on
    read = await api.read(task["id"])
    assert ("expired", 0, None) == (read["state"], read["attempt"], read["started_at"])
    assert read["finished_at"] >= read["expires_at"]
    conflict = await api.http.post(f"/v1/tasks/{task['id']}/cancel")
    assert (409, "expired") == (conflict.status_code, conflict.json()["state"])
    result = await api.http.get(f"/v1/tasks/{task['id']}/result")
    assert "/problems/task-failed" == result.json()["type"]


async def test_a_change_beyond_its_expiry_is_refused(api: Serving) -> None:
    """It could never start; a change within it is taken."""
    task = await api.submitted({**ADD, "expires_in_seconds": 3600})
    path = f"/v1/tasks/{task['id']}/reschedule"
    refused = await api.http.post(path, json={"delay_seconds": 7200})
    assert (422, task["expires_at"] in refused.json()["detail"]) == (refused.status_code, True)
    assert "scheduled" == (await api.http.post(path, json={"delay_seconds": 60})).json()["state"]


async def test_a_replay_has_its_time_anew(api: Serving, store: Store, worker: Worker) -> None:
    """Seconds count again; a moment belonged to the old task alone."""
    for given in ({"expires_in_seconds": 3600}, {"expires_at": "2030-01-01T00:00:00Z"}):
        task = await api.submitted({**ADD, **given})
        await worker.fail(*await worker.lease())
        again = (await api.http.post(f"/v1/tasks/{task['id']}/replay")).json()
        if "expires_in_seconds" in given:
            assert again["expires_at"] >= task["expires_at"]
            assert 1 == await store.scripts.command("ZCARD", keys.expiring(0))
        else:
            assert "expires_at" not in again
        await worker.succeed(*await worker.lease())


async def test_a_schedule_has_tasks_that_expire(api: Serving, worker: Worker) -> None:
    """So long after each occurrence; a moment would be the same for all."""
    schedule = {"every_seconds": 3600, "task": {**ADD, "expires_in_seconds": 60}}
    assert 201 == (await api.http.put("/v1/schedules/s", json=schedule)).status_code
    fired = (await api.http.post("/v1/schedules/s/run")).json()
    [task] = await worker.lease()
    assert task.expires_ms > 0, fired
    await worker.succeed(task)
    schedule["task"]["expires_at"] = "2030-01-01T00:00:00Z"  # type: ignore[index]
    answer = await api.http.put("/v1/schedules/s", json=schedule)
    assert (422, "/task/expires_at") == (answer.status_code, answer.json()["errors"][0]["pointer"])
