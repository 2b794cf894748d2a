"""`/v1/routes` and declared queues: where tasks go, and where they may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.store import Store
from tests.api.serving import ADD, Serving, handler, publish, serving

MAIL = [{"match": "demo.*", "queue": "mail", "priority": 7}, {"match": "https://slow.example.com/*", "queue": "slow"}]


async def routed(api: Serving, routes: list[dict[str, Any]]) -> dict[str, Any]:
    answer = await api.http.put("/v1/routes", json={"items": routes})
    assert 200 == answer.status_code, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


@pytest.fixture
async def strict(store: Store, redis_url: str) -> AsyncIterator[Serving]:
    """An API that takes tasks for declared queues only."""
    async with serving(redis_url, strict_queues=True) as running:
        yield running


async def test_a_task_that_names_no_queue_goes_where_its_route_leads(api: Serving) -> None:
    """By the name of its handler or its URL; the first that matches decides, and its priority is a default."""
    assert [] == (await api.http.get("/v1/routes")).json()["items"]
    assert MAIL == (await routed(api, MAIL))["items"]
    task = await api.submitted(ADD)
    assert ("mail", 7) == (task["queue"], task["priority"])
    assert task == await api.read(task["id"])
    own = await api.submitted({**ADD, "queue": "own", "priority": 2})
    assert ("own", 2) == (own["queue"], own["priority"])
    assert "slow" == (await api.submitted({"url": "https://slow.example.com/a?b=/c"}))["queue"]
    assert "default" == (await api.submitted({"url": "https://fast.example.com/"}))["queue"]
    await routed(api, [{"match": "demo.sleep", "queue": "a"}, {"match": "demo.a*", "queue": "b"}, *MAIL])
    assert "b" == (await api.submitted(ADD))["queue"]
    [receipt] = (await api.http.post("/v1/tasks/batch", json=[ADD])).json()
    assert "b" == receipt["task"]["queue"]


async def test_a_route_goes_before_the_queue_of_the_handler(api: Serving, store: Store) -> None:
    """Work moves without a deploy, and comes back when the route is gone."""
    await publish(store, [{**handler("demo.add", a="integer", b="integer"), "queue": "own"}])
    await api.api.runtime.store.handlers.refresh()
    assert "own" == (await api.submitted(ADD))["queue"]
    await routed(api, MAIL)
    assert "mail" == (await api.submitted(ADD))["queue"]
    await routed(api, [])
    assert "own" == (await api.submitted(ADD))["queue"]


async def test_tasks_of_schedules_are_routed_when_they_fire(api: Serving) -> None:
    """As those that are submitted."""
    schedule = {"name": "s", "cron": "@yearly", "task": ADD}
    assert 201 == (await api.http.post("/v1/schedules", json=schedule)).status_code
    assert "default" == (await api.http.post("/v1/schedules/s/run")).json()["queue"]
    await routed(api, MAIL)
    assert "mail" == (await api.http.post("/v1/schedules/s/run")).json()["queue"]


async def test_a_routed_submission_is_the_same_when_it_is_sent_again(api: Serving) -> None:
    """Its key stands for what its user sent, whatever the routes are by then."""
    keyed = {**ADD, "idempotency_key": "k"}
    first = await api.submitted(keyed)
    await routed(api, MAIL)
    again = await api.post(keyed)
    assert (200, first["id"]) == (again.status_code, again.json()["id"])


async def test_routes_have_a_version(api: Serving) -> None:
    """A change that was decided on older ones is refused."""
    stale = {"If-Match": (await api.http.get("/v1/routes")).headers["ETag"]}
    assert 200 == (await api.http.put("/v1/routes", json={"items": MAIL}, headers=stale)).status_code
    assert 412 == (await api.http.put("/v1/routes", json={"items": []}, headers=stale)).status_code
    assert 2 == len((await api.http.get("/v1/routes")).json()["items"])


async def test_every_fault_of_routes_is_named(api: Serving) -> None:
    """And nothing changes."""
    wrong = {"items": [{"match": "", "queue": "a b"}, {"queue": "x", "prio": 1}]}
    answer = await api.http.put("/v1/routes", json=wrong)
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert (422, {"/items/0/match", "/items/0/queue", "/items/1", "/items/1/prio"}) == (answer.status_code, pointers)
    assert [] == (await api.http.get("/v1/routes")).json()["items"]


async def test_queues_must_be_declared_where_that_is_asked_for(strict: Serving) -> None:
    """By settings, by a route or by a handler; the answer names the nearest. One that was declared just now counts."""
    refused = await strict.post({**ADD, "queue": "mial"})
    assert (422, "/problems/unknown-queue") == (refused.status_code, refused.json()["type"])
    assert 201 == (await strict.post(ADD)).status_code
    await strict.http.patch("/v1/queues/mail", json={"description": "what people read"})
    fault = (await strict.post({**ADD, "queue": "mial"})).json()["errors"][0]
    assert ("/queue", "mail") == (fault["pointer"], fault["hint"])
    assert 201 == (await strict.post({**ADD, "queue": "mail"})).status_code
    assert [422, 201] == [
        one["status"]
        for one in (await strict.http.post("/v1/tasks/batch", json=[{**ADD, "queue": "x"}, ADD])).json()
    ]
    await routed(strict, [{"match": "demo.sleep", "queue": "slow"}])
    assert 201 == (await strict.post({**ADD, "queue": "slow"})).status_code


async def test_a_queue_that_another_process_declared_counts_at_once(strict: Serving, store: Store) -> None:
    """Before a submission is refused, the settings are read again."""
    await store.queue_settings.put("default", "mail", "concurrency", 2)
    assert 201 == (await strict.post({**ADD, "queue": "mail"})).status_code
    await store.queue_settings.put("default", "news", "concurrency", 2)
    receipts = (await strict.http.post("/v1/tasks/batch", json=[{**ADD, "queue": "news"}])).json()
    assert [201] == [one["status"] for one in receipts]


async def test_routes_are_no_queue(api: Serving) -> None:
    """What stands beside the queues in Redis is neither listed nor read as one."""
    await routed(api, MAIL)
    assert ["default"] == [one["name"] for one in (await api.http.get("/v1/queues")).json()["items"]]
    assert 404 == (await api.http.get("/v1/queues/%23routes")).status_code
    assert 404 == (await api.http.delete("/v1/queues/%23routes")).status_code
