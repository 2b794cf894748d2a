"""`GET /v1/tasks/{id}/explain`: each reason appears with its cause, and goes with it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from service.ids import decode_id
from service.store import Store
from service.store.traffic import Report
from tests.api.serving import ADD, Serving
from tests.store.acting import Worker, ask_cancel

ABLE = {
    "id": "w-1", "host": "h", "pid": 1, "started_ms": 1, "seen_ms": 1, "queues": [], "handlers": ["demo.add"],
    "processes": 1, "slots": {"async": 10, "url": 10}, "running": 0, "version": "0", "state": "running",
}  # fmt: skip


async def announce(store: Store, **changed: Any) -> None:
    await store.workers.announce({**ABLE, **changed}, store.tasks.clock.now_ms())


async def kinds(api: Serving, id_: str) -> list[str]:
    answer = await api.http.get(f"/v1/tasks/{id_}/explain")
    assert 200 == answer.status_code, answer.text
    told = answer.json()
    assert all(reason["detail"].endswith((".", "…")) for reason in told["reasons"])
    return [reason["kind"] for reason in told["reasons"]]


async def test_a_task_that_nothing_holds_is_about_to_start(api: Serving, store: Store) -> None:
    """And the sentence says so."""
    await announce(store)
    task = await api.submitted(ADD)
    assert [] == await kinds(api, task["id"])
    told = (await api.http.get(f"/v1/tasks/{task['id']}/explain")).json()
    assert ("queued", 0) == (told["state"], told["ahead"])
    assert told["summary"].startswith("Nothing holds it")


async def test_time_holds_a_task_until_it_has_come(api: Serving, store: Store) -> None:
    """The sentence names the time."""
    await announce(store)
    task = await api.submitted({**ADD, "delay_seconds": 7200})
    assert ["due-later"] == await kinds(api, task["id"])
    quiet = await api.submitted({**ADD, "debounce": {"seconds": 60}})
    assert ["debounced"] == await kinds(api, quiet["id"])
    assert "(in 1 h 59 min)" in (await api.http.get(f"/v1/tasks/{task['id']}/explain")).json()["summary"]
    await api.http.post(f"/v1/tasks/{task['id']}/run")
    assert [] == await kinds(api, task["id"])


@pytest.mark.parametrize(
    ("worker", "kind"),
    [
        (None, "no-worker"),
        ({"queues": ["other"]}, "no-worker"),
        ({"handlers": ["demo.sleep"]}, "no-handler"),
        ({"state": "quiet"}, "workers-quiet"),
        ({"slots": {"async": 0, "url": 9}}, "no-slots"),
    ],
)
async def test_without_a_worker_that_takes_it_a_task_waits(
    api: Serving, store: Store, worker: dict[str, Any] | None, kind: str
) -> None:
    """Each way in which there may be none; one that can take it ends the wait."""
    if worker is not None:
        await announce(store, **worker)
    task = await api.submitted(ADD)
    assert [kind] == await kinds(api, task["id"])
    await announce(store, id="w-2")
    assert [] == await kinds(api, task["id"])


async def test_a_retry_names_what_went_wrong(api: Serving, store: Store, worker: Worker) -> None:
    """And when it is tried again."""
    await announce(store)
    task = await api.submitted(ADD)
    row = {"attempt": 1, "started_ms": 1, "finished_ms": 2, "worker": "w", "outcome": "retried"}
    noted = orjson.dumps({**row, "error": {"type": "E", "message": "m"}})
    await worker.again(b"R", *await worker.lease(), delay_ms=60_000, row=noted)
    assert ["retry-later"] == await kinds(api, task["id"])
    assert "E: m" in (await api.http.get(f"/v1/tasks/{task['id']}/explain")).json()["summary"]


async def test_a_place_in_the_queue_is_estimated(api: Serving, store: Store, worker: Worker) -> None:
    """Those of a higher priority, and those that came earlier; it falls as they are taken."""
    await announce(store)
    for _ in range(20):
        await api.submitted(ADD)
    task = await api.submitted(ADD)
    await api.submitted({**ADD, "priority": 9})
    before = (await api.http.get(f"/v1/tasks/{task['id']}/explain")).json()["ahead"]
    assert 1 <= before <= 21
    assert ["behind-others"] == await kinds(api, task["id"])
    leased = [one.id for one in await worker.lease_all()]
    assert decode_id(task["id"]) in leased
    assert ["running"] == await kinds(api, task["id"])


async def test_what_runs_and_what_has_ended_is_said_so(api: Serving, store: Store, worker: Worker) -> None:
    """With the worker; while it is being stopped; and in the end nothing holds it."""
    task = await api.submitted(ADD)
    leased = await worker.lease()
    assert ["running"] == await kinds(api, task["id"])
    await ask_cancel(store, decode_id(task["id"]))
    assert ["cancelling"] == await kinds(api, task["id"])
    await worker.end_cancelled(*leased)
    told = (await api.http.get(f"/v1/tasks/{task['id']}/explain")).json()
    assert ([], "cancelled") == (told["reasons"], told["state"])
    assert 404 == (await api.http.get("/v1/tasks/01M819EKHX02FJFH0TDFHXG001/explain")).status_code


async def test_a_url_that_is_gone_is_named(api: Serving, store: Store) -> None:
    """Until it is enabled again."""
    await announce(store)
    url = "https://hooks.example.com/gone"
    task = await api.submitted({"url": url})
    await store.gone.disable("default", url, store.tasks.clock.now_ms())
    await store.gone.refresh()
    await api.api.runtime.store.gone.refresh()
    assert ["url-disabled"] == await kinds(api, task["id"])


async def test_an_endpoint_that_is_not_called_holds_its_tasks(api: Serving, store: Store) -> None:
    """Because its circuit is open, or because it is disabled; each with what would change it."""
    await announce(store)
    task = await api.submitted({"url": "https://api.example.com/hook"})
    report = Report(
        endpoint="default/https:api.example.com", flying=0, breaker_failures=1, breaker_ratio=0.5, pause_ms=60_000,
        longest_pause_ms=60_000, failed=1, streak=1,
    )  # fmt: skip
    await store.traffic.tell("one", 1, [report])
    assert ["circuit-open"] == await kinds(api, task["id"])
    summary = (await api.http.get(f"/v1/tasks/{task['id']}/explain")).json()["summary"]
    assert "https:api.example.com, since" in summary
    assert "the last call failed; it is probed at" in summary
    await api.http.post("/v1/endpoints/https:api.example.com/enable")
    assert [] == await kinds(api, task["id"])
    await api.http.post("/v1/endpoints/https:api.example.com/disable")
    assert ["endpoint-disabled"] == await kinds(api, task["id"])


async def test_a_queue_that_lets_no_task_start_is_named(api: Serving, store: Store, worker: Worker) -> None:
    """Because it is paused, runs as many as it may, or its rate lets none start yet; with who and why."""
    await announce(store)
    for _ in range(2):
        task = await api.submitted(ADD)
    await api.http.post("/v1/queues/default/pause", json={"reason": "the database moves", "by": "ada"})
    assert ["queue-paused", "behind-others"] == await kinds(api, task["id"])
    summary = (await api.http.get(f"/v1/tasks/{task['id']}/explain")).json()["summary"]
    assert "paused by ada since" in summary
    assert summary.endswith(": the database moves.")
    await api.http.post("/v1/queues/default/resume")
    await api.http.patch("/v1/queues/default", json={"concurrency": 1})
    [leased] = await worker.lease()
    assert ["queue-full"] == await kinds(api, task["id"])
    await worker.succeed(leased)
    assert [] == await kinds(api, task["id"])
    await api.http.patch("/v1/queues/default", json={"concurrency": None, "rate": 1, "period_seconds": 3600})
    await worker.lease()
    last = await api.submitted(ADD)
    assert ["queue-rate"] == await kinds(api, last["id"])
    await api.http.patch("/v1/queues/default", json={"rate": None, "period_seconds": None})
    assert [] == await kinds(api, last["id"])
