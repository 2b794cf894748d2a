"""`unique` and `debounce` over HTTP: what is answered, in every way by which tasks come in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.client import ApiError, AsyncTaskpost
from tests.api.serving import ADD, Serving
from tests.store.acting import Worker

ONCE: dict[str, Any] = {**ADD, "unique": {"key": "k"}}
REJECT: dict[str, Any] = {**ADD, "unique": {"key": "k", "on_conflict": "reject"}}


async def test_an_earlier_task_stands_for_a_duplicate(api: Serving) -> None:
    """With its own times, and said so in the header and in the task."""
    first = await api.submitted({**ONCE, "delay_seconds": 60})
    again = await api.post({**ONCE, "metadata": {"n": 2}})
    assert (200, "true") == (again.status_code, again.headers["taskpost-deduplicated"])
    assert {**first, "deduplicated": True} == again.json()
    assert "idempotent-replayed" not in again.headers
    assert f"/v1/tasks/{first['id']}" == again.headers["location"]
    assert first == await api.read(first["id"])


@pytest.mark.parametrize("conflict", ["reject", "replace", "reschedule"])
async def test_a_refusal_names_the_other_task(api: Serving, worker: Worker, conflict: str) -> None:
    """And what it does now, so that one can decide."""
    first = await api.submitted({**ADD, "unique": {"key": "k", "on_conflict": conflict}})
    [task] = await worker.lease()
    refused = await api.post({**ADD, "unique": {"key": "k", "on_conflict": conflict}})
    problem = refused.json()
    assert (409, "/problems/unique-conflict") == (refused.status_code, problem["type"])
    assert (first["id"], "running") == (problem["task_id"], problem["state"])
    await worker.succeed(task)
    assert 201 == (await api.post(REJECT)).status_code


async def test_a_batch_and_a_stream_say_it_of_each(api: Serving) -> None:
    """The first is made, the second is answered with it, the third refused."""
    three = [ONCE, ONCE, REJECT]
    receipts = (await api.http.post("/v1/tasks/batch", json=three)).json()
    lines = "\n".join(map(json.dumps, three))
    streamed = await api.http.post(
        "/v1/tasks/stream", content=lines, headers={"content-type": "application/x-ndjson"}
    )  # fmt: skip
    told = [json.loads(line) for line in streamed.text.splitlines()]
    assert ([201, 200, 409], [200, 200, 409]) == ([one["status"] for one in receipts], [one["status"] for one in told])
    [id_] = {one["task"]["id"] for one in (*receipts, *told) if "task" in one}
    assert {id_} == {one["problem"]["task_id"] for one in (*receipts, *told) if "problem" in one}


async def test_what_is_passed_on_is_unique(api: Serving) -> None:
    """By a header field, as JSON."""
    headers = {"Taskpost-Unique": '{"key": "hook-1"}'}
    answers = [await api.http.post("/v1/send/http://127.0.0.1:1/hook", content=b"x", headers=headers) for _ in range(2)]
    assert [201, 200] == [one.status_code for one in answers]


async def test_a_replay_is_unique(api: Serving, worker: Worker) -> None:
    """While another task has the key the old one is not done once more beside it."""
    old = await api.submitted(ONCE)
    await worker.fail(*await worker.lease())
    other = await api.submitted(ONCE)
    answer = await api.http.post(f"/v1/tasks/{old['id']}/replay")
    assert (200, other["id"], "true") == (
        answer.status_code, answer.json()["id"], answer.headers["taskpost-deduplicated"],
    )  # fmt: skip
    await worker.succeed(*await worker.lease())
    assert 201 == (await api.http.post(f"/v1/tasks/{old['id']}/replay")).status_code


async def test_a_schedule_makes_no_second_one(api: Serving, worker: Worker) -> None:
    """Run by hand it says which task is in the way; one that replaces takes its place."""
    schedule: dict[str, Any] = {"every_seconds": 3600, "task": ONCE}
    assert 201 == (await api.http.put("/v1/schedules/s", json=schedule)).status_code
    first = await api.http.post("/v1/schedules/s/run")
    refused = await api.http.post("/v1/schedules/s/run")
    assert (201, 409, first.json()["id"]) == (first.status_code, refused.status_code, refused.json()["task_id"])
    rows = (await api.http.get("/v1/schedules/s/runs")).json()["items"]
    assert ["skipped", "run_by_hand"] == [row["outcome"] for row in rows]
    schedule["task"] = {**ADD, "unique": {"key": "k", "on_conflict": "replace"}}
    assert 200 == (await api.http.put("/v1/schedules/s", json=schedule)).status_code
    second = await api.http.post("/v1/schedules/s/run")
    assert (201, "cancelled") == (second.status_code, (await api.read(first.json()["id"]))["state"])
    schedule["task"] = {**ADD, "debounce": {"seconds": 5}}
    wrong = await api.http.put("/v1/schedules/s", json=schedule)
    assert (422, "/task/debounce") == (wrong.status_code, wrong.json()["errors"][0]["pointer"])


async def test_what_its_queue_refuses_has_no_key(api: Serving) -> None:
    """Nor an idempotency key: sent again when the queue takes tasks, it is one. A duplicate needs no room."""
    assert 200 == (await api.http.patch("/v1/queues/default", json={"max_length": 1})).status_code
    await api.submitted(ONCE)
    other = {**ADD, "unique": {"key": "other"}, "idempotency_key": "i"}
    assert [200, 429, 429] == [(await api.post(one)).status_code for one in (ONCE, other, other)]
    assert 200 == (await api.http.patch("/v1/queues/default", json={"max_length": None})).status_code
    assert [201, 200] == [(await api.post(one)).status_code for one in (other, other)]


async def test_a_debounced_task_is_shown_as_it_is_now(api: Serving, worker: Worker) -> None:
    """With the arguments of the latest, due later; the next one after its start is another."""
    quiet = {"debounce": {"key": "k", "seconds": 60}}
    first = await api.submitted({**ADD, **quiet})
    assert "scheduled" == first["state"]
    assert first == await api.read(first["id"])
    again = await api.post({"name": "demo.add", "args": {"a": 7, "b": 8}, **quiet, "tags": ["late"]})
    task = again.json()
    assert (200, first["id"], {"a": 7, "b": 8}, ["late"]) == (
        again.status_code, task["id"], task["args"], task["tags"],
    )  # fmt: skip
    assert (task["created_at"], True) == (first["created_at"], task["run_at"] >= first["run_at"])
    await api.http.post(f"/v1/tasks/{first['id']}/run")
    assert [first["id"]] != [(await api.submitted({**ADD, **quiet}))["id"]]
    await worker.fail(*await worker.lease())
    again = await api.http.post(f"/v1/tasks/{first['id']}/replay")
    assert (201, "queued") == (again.status_code, again.json()["state"]), "a replay waits for no quiet"


async def test_the_client_speaks_of_it(api: Serving) -> None:
    """In its own words, with times as it takes them; its own idempotency keys are in nobody's way."""
    async with AsyncTaskpost(f"http://127.0.0.1:{api.port}") as client:
        first = await client.submit("demo.add", ADD["args"], unique={"key": "k", "for_seconds": 60})
        again = await client.submit("demo.add", ADD["args"], unique={"key": "k"})
        assert (first.id, False, True) == (again.id, first.deduplicated, again.deduplicated)
        assert {"key": "k", "for_seconds": 60} == again.unique
        with pytest.raises(ApiError) as caught:
            await client.submit("demo.add", ADD["args"], unique={"key": "k", "on_conflict": "reject"})
        assert (409, first.id) == (caught.value.status, caught.value.problem["task_id"])
