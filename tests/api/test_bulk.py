"""Work on many tasks over HTTP: counted, begun, watched, aborted, and refused; and replays with edits."""

from __future__ import annotations

from typing import Any

import pytest

from service.scheduler.carrier import Carrier
from service.store import Store
from tests.api.serving import ADD, Serving, handler, publish
from tests.store.acting import Worker


async def begun(api: Serving, action: str, **asked: Any) -> dict[str, Any]:
    answer = await api.http.post(f"/v1/bulk/{action}", json=asked)
    assert 202 == answer.status_code, answer.text
    assert f"/v1/bulk/{answer.json()['id']}" == answer.headers["location"]
    found: dict[str, Any] = answer.json()
    return found


async def carried(api: Serving, store: Store, id_: str) -> dict[str, Any]:
    await Carrier(store).carry(id_)
    found: dict[str, Any] = (await api.http.get(f"/v1/bulk/{id_}")).json()
    return found


async def test_what_is_meant_is_counted_and_shown_first(api: Serving) -> None:
    """A dry run answers how many there are and the first ten, and does nothing."""
    ids = [(await api.submitted({**ADD, "tags": ["a"]}))["id"] for _ in range(12)]
    await api.submitted(ADD)
    answer = await api.http.post("/v1/bulk/cancel", json={"filter": {"tag": "a"}, "dry_run": True})
    count = answer.json()
    assert (200, 12, True, 13, 10) == (
        answer.status_code, count["matched"], count["is_exact"], count["examined"], len(count["sample"])
    )  # fmt: skip
    assert {task["id"] for task in count["sample"]} < set(ids)
    assert [] == (await api.http.get("/v1/bulk")).json()["items"]
    assert "queued" == (await api.read(ids[0]))["state"]


async def test_work_is_begun_watched_and_done(api: Serving, store: Store) -> None:
    """It tells how far it has come; what was asked for stands in it."""
    ids = [(await api.submitted({**ADD, "tags": ["a"]}))["id"] for _ in range(3)]
    work = await begun(api, "cancel", filter={"tag": "a"}, rate_per_second=1000)
    assert ("running", 0, {"tag": "a"}, {"rate_per_second": 1000}) == (
        work["state"], work["done"], work["filter"], work["options"]
    )  # fmt: skip
    done = await carried(api, store, work["id"])
    assert ("done", 3, 0) == (done["state"], done["done"], done["skipped"])
    assert done["ended_at"]
    assert [done] == (await api.http.get("/v1/bulk")).json()["items"]
    assert {"cancelled"} == {(await api.read(id_))["state"] for id_ in ids}


async def test_aborted_work_does_nothing_more(api: Serving, store: Store) -> None:
    """Whoever comes to carry it out; aborting what is over changes nothing."""
    task = await api.submitted(ADD)
    work = await begun(api, "cancel", filter={"queue": "default"})
    aborted = (await api.http.delete(f"/v1/bulk/{work['id']}")).json()
    assert ("aborted", "by request") == (aborted["state"], aborted["reason"])
    assert aborted == await carried(api, store, work["id"])
    assert aborted == (await api.http.delete(f"/v1/bulk/{work['id']}")).json()
    assert "queued" == (await api.read(task["id"]))["state"]
    for method in ("GET", "DELETE"):
        assert 404 == (await api.http.request(method, "/v1/bulk/nothing")).status_code


async def test_waiting_tasks_are_moved(api: Serving, store: Store) -> None:
    """To another time, to another priority."""
    task = await api.submitted(ADD)
    work = await begun(api, "reschedule", filter={"name": "demo.*"}, run_at="2036-01-01T00:00:00Z")
    assert 1 == (await carried(api, store, work["id"]))["done"]
    work = await begun(api, "priority", filter={"state": "scheduled"}, priority=8)
    assert 1 == (await carried(api, store, work["id"]))["done"]
    shown = await api.read(task["id"])
    assert ("2036-01-01T00:00:00.000Z", 8) == (shown["run_at"], shown["priority"])


async def test_replays_of_many_have_what_was_edited(api: Serving, store: Store, worker: Worker) -> None:
    """Those for which the edits are nothing are skipped, and said to be."""
    task = await api.submitted(ADD)
    call = await api.submitted({"url": "https://example.com/"})
    await worker.fail(*await worker.lease(), *await worker.lease(lane="url"))
    work = await begun(api, "replay", filter={"state": "failed"}, edits={"args": {"b": 7}, "queue": "again"})
    done = await carried(api, store, work["id"])
    assert (1, 1) == (done["done"], done["skipped"])
    [again] = (await api.http.get("/v1/tasks", params={"queue": "again"})).json()["items"]
    assert ({"a": 2, "b": 7}, task["id"]) == (again["args"], again["replay_of"])
    work = await begun(api, "replay", filter={"state": "failed"}, edits={"args": {"b": "seven"}})
    done = await carried(api, store, work["id"])
    assert (0, 2) == (done["done"], done["skipped"])
    assert call["id"]


@pytest.mark.parametrize(
    ("action", "asked", "pointer"),
    [
        ("cancel", {"filter": {}}, "/filter"),
        ("cancel", {}, ""),
        ("cancel", {"filter": {"state": "failed"}}, "/filter/state"),
        ("delete", {"filter": {"state": "queued"}}, "/filter/state"),
        ("replay", {"filter": {"state": "running"}}, "/filter/state"),
        ("cancel", {"filter": {"name": "a b"}}, "/filter/name"),
        ("cancel", {"filter": {"nmae": "a"}}, "/filter/nmae"),
        ("cancel", {"filter": {"tag": "a"}, "priority": 3}, "/priority"),
        ("cancel", {"filter": {"tag": "a"}, "rate_per_second": 0}, "/rate_per_second"),
        ("priority", {"filter": {"tag": "a"}}, ""),
        ("reschedule", {"filter": {"tag": "a"}}, ""),
        ("reschedule", {"filter": {"tag": "a"}, "delay_seconds": 1, "run_at": "2036-01-01T00:00:00Z"}, "/run_at"),
        ("reschedule", {"filter": {"tag": "a"}, "run_at": "2236-01-01T00:00:00Z"}, "/run_at"),
        ("replay", {"filter": {"tag": "a"}, "edits": {"url": "http://169.254.169.254/"}}, "/edits/url"),
        ("replay", {"filter": {"tag": "a"}, "edits": {"url": "https://example.com/", "args": {}}}, "/edits/args"),
        ("replay", {"filter": {"tag": "a"}, "canary": {}}, "/canary"),
    ],
)
async def test_work_that_makes_no_sense_is_refused(
    api: Serving, action: str, asked: dict[str, Any], pointer: str
) -> None:
    """With the place of the fault; also as a dry run."""
    for more in ({}, {"dry_run": True}):
        answer = await api.http.post(f"/v1/bulk/{action}", json={**asked, **more})
        assert 422 == answer.status_code, answer.text
        assert pointer in [fault["pointer"] for fault in answer.json()["errors"]], answer.text
    assert [] == (await api.http.get("/v1/bulk")).json()["items"]


async def test_one_task_is_replayed_with_edits(api: Serving, store: Store, worker: Worker) -> None:
    """Arguments are merged and checked as those of a submission are; what the task is not has no edits."""
    task = await api.submitted(ADD)
    await worker.fail(*await worker.lease())
    path = f"/v1/tasks/{task['id']}/replay"
    answer = await api.http.post(path, json={"args": {"b": 40}, "priority": 9, "queue": "again"})
    shown = answer.json()
    assert 201 == answer.status_code, answer.text
    assert ({"a": 2, "b": 40}, 9, "again", task["id"]) == (
        shown["args"], shown["priority"], shown["queue"], shown["replay_of"]
    )  # fmt: skip
    for edits, pointer in (
        ({"args": {"b": "x"}}, "/args/b"),
        ({"args": {"c": 1}}, "/args/c"),
        ({"url": "https://example.com/"}, "/url"),
        ({"args": {"b": 1}, "retries": 3}, "/retries"),
    ):
        answer = await api.http.post(path, json=edits)
        assert (422, pointer) == (answer.status_code, answer.json()["errors"][0]["pointer"]), answer.text
    await publish(store, [handler("demo.add", a="integer")])
