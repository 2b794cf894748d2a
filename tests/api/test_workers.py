"""One worker over HTTP: shown whole, and told what to do."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from service.contract import validator_of
from service.store import Store
from tests.api.serving import Serving

SLOTS = {"url": 100, "async": 100, "thread": 16, "process": 4}


async def announced(store: Store, id_: str = "web-1-22-9f27c4", state: str = "running", **detail: Any) -> str:
    """A worker as its parent announces it."""
    now_ms = store.tasks.clock.now_ms()
    worker = {
        "id": id_, "host": "web-1", "pid": 22, "version": "0.1.0", "state": state, "started_ms": now_ms - 5000,
        "seen_ms": now_ms, "queues": [], "handlers": ["demo.add"], "processes": 1, "slots": SLOTS,
        "blocked_seconds": 0.0, "running": 1,
    }  # fmt: skip
    await store.workers.announce(worker, now_ms, detail)
    return id_


def process(age_seconds: float | None) -> dict[str, Any]:
    return {
        "number": 0, "state": "running", "pid": 23, "rss_bytes": 1024, "heartbeat_age_seconds": age_seconds,
        "slots": {lane: {"size": size, "busy": 0} for lane, size in SLOTS.items()}, "blocked_seconds": 0,
        "children": [{"pid": 24, "rss_bytes": None, "tasks": 7}],
    }  # fmt: skip


async def test_a_worker_is_shown_with_what_it_runs(api: Serving, store: Store) -> None:
    """As the contract says; the beat of a task is one that came after it began."""
    now_ms = store.tasks.clock.now_ms()
    rows = [["ID1", "demo.add", "default", "async", 1, now_ms - 60_000, 0, 1500],
            ["ID2", "POST https://example.com", "mail", "url", 2, now_ms - 1000, 0, 0]]  # fmt: skip
    command = {"id": "c", "kind": "resize", "sent_ms": now_ms, "children": 8}
    id_ = await announced(
        store, versions={"taskpost": "0.1.0"}, process_list=[process(3.5)], tasks=rows, last_command=command
    )
    shown = (await api.http.get(f"/v1/workers/{id_}")).json()
    assert [] == [str(fault) for fault in validator_of("WorkerDetail").iter_errors(shown)]
    assert [(1.5, 3.5), (0, None)] == [(one["overdue_seconds"], one["heartbeat_age_seconds"]) for one in shown["tasks"]]
    assert ("resize", id_, 8) == tuple(shown["last_command"][name] for name in ("command", "worker", "children"))
    (listed,) = (await api.http.get("/v1/workers")).json()["items"]
    assert "running" == listed["state"]
    assert "tasks" not in listed


async def test_a_worker_of_an_older_version_is_shown_as_far_as_it_tells(api: Serving, store: Store) -> None:
    """A rolling deploy shows them all."""
    await store.workers.announce({"id": "old", "started_ms": 1, "seen_ms": 2}, store.tasks.clock.now_ms())
    shown = (await api.http.get("/v1/workers/old")).json()
    assert ("running", [], []) == (shown["state"], shown["process_list"], shown["tasks"])


@pytest.mark.parametrize(
    ("command", "body"),
    [("quiet", None), ("resume", None), ("stop", None), ("stop", {"drain_seconds": 0.5}),
     ("resize", {"processes": 2, "children": 0, "url_concurrency": 10_000})],
)  # fmt: skip
async def test_a_command_waits_for_its_worker(api: Serving, store: Store, command: str, body: Any) -> None:
    """202, with where to see what came of it."""
    id_ = await announced(store)
    answer = await api.http.post(f"/v1/workers/{id_}/{command}", json=body)
    assert (202, f"/v1/workers/{id_}") == (answer.status_code, answer.headers["location"])
    said = answer.json()
    assert [] == list(validator_of("WorkerCommand").iter_errors(said))
    (text,) = await store.workers.commands(id_)
    told = orjson.loads(text)
    assert {"id": said["id"], "kind": command, **(body or {})} == {
        name: value for name, value in told.items() if name != "sent_ms"
    }


@pytest.mark.parametrize("path", ["", "/quiet", "/resume", "/stop", "/resize"])
async def test_a_worker_that_is_not_there(api: Serving, store: Store, path: str) -> None:
    """It never was, or has ended meanwhile."""
    id_ = await announced(store)
    await store.workers.leave(id_)
    ask = api.http.post(f"/v1/workers/{id_}{path}", json={"threads": 1}) if path == "/resize" else None
    answer = await (ask or (api.http.post if path else api.http.get)(f"/v1/workers/{id_}{path}"))
    assert (404, "/problems/worker-not-found") == (answer.status_code, answer.json()["type"])
    assert id_ in answer.json()["detail"]


async def test_a_worker_that_is_stopping_can_only_be_stopped(api: Serving, store: Store) -> None:
    """Nothing is accepted that would never be done."""
    id_ = await announced(store, state="stopping")
    for command in ("quiet", "resume"):
        answer = await api.http.post(f"/v1/workers/{id_}/{command}")
        assert (409, "/problems/worker-stopping") == (answer.status_code, answer.json()["type"])
    assert 409 == (await api.http.post(f"/v1/workers/{id_}/resize", json={"threads": 1})).status_code
    assert 202 == (await api.http.post(f"/v1/workers/{id_}/stop")).status_code


async def test_every_wrong_size_is_named(api: Serving, store: Store) -> None:
    """All at once, the misspelt ones with what was meant."""
    id_ = await announced(store)
    wrong = {"processes": 0, "children": 5000, "threads": "many", "url_concurency": 1}
    answer = await api.http.post(f"/v1/workers/{id_}/resize", json=wrong)
    assert 422 == answer.status_code
    errors = {one["pointer"]: one for one in answer.json()["errors"]}
    assert {"/processes", "/children", "/threads", "/url_concurency"} == set(errors)
    assert "url_concurrency" == errors["/url_concurency"]["hint"]
    empty = await api.http.post(f"/v1/workers/{id_}/resize", json={})
    assert (422, "") == (empty.status_code, empty.json()["errors"][0]["pointer"])
    late = await api.http.post(f"/v1/workers/{id_}/stop", json={"drain_seconds": -1})
    assert (422, "/drain_seconds") == (late.status_code, late.json()["errors"][0]["pointer"])
    assert [] == await store.workers.commands(id_)
