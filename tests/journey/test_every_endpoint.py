"""Every endpoint over real processes, with tasks in each of sixteen shards: on one server and on a cluster."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.ids import decode_id, shard_of
from tests.journey.receiver import receiver
from tests.parts import System, system
from tests.servers import until

pytestmark = pytest.mark.both_servers

SHARDS = set(range(16))
ADD = {"name": "demo.add", "args": {"a": 2, "b": 3}}


def all_pages(running: System, **query: Any) -> list[str]:
    """The ids of a whole walk, in the order in which they came."""
    ids: list[str] = []
    page = running.api.get("/v1/tasks", params={"limit": 50, **query}).json()
    while True:
        ids += [task["id"] for task in page["items"]]
        if page["next_cursor"] is None:
            return ids
        page = running.api.get("/v1/tasks", params={"limit": 50, **query, "cursor": page["next_cursor"]}).json()


def shards_of(ids: list[str]) -> set[int]:
    return {shard_of(decode_id(id_)) for id_ in ids}


def test_sixteen_shards_on_one_server(redis_url: str) -> None:
    """The shard of a task is no user's business: every endpoint serves all of them."""
    walk(redis_url)


@pytest.mark.full
def test_a_cluster_of_three_nodes(cluster_url: str) -> None:
    """The same on a cluster, long-polls included."""
    walk(cluster_url)


def walk(redis_url: str) -> None:
    """Alone, in batches and as a stream; waited for, listed, read, cancelled and deleted."""
    with system(redis_url, shards=16) as running:
        running.start_worker()
        ids = submit_in_every_way(running)
        read_in_every_way(running, ids)
        later = hold_and_cancel(running) + finish_later(running)
        for id_ in ids + later:
            assert 204 == running.api.delete(f"/v1/tasks/{id_}").status_code
            assert 404 == running.api.get(f"/v1/tasks/{id_}").status_code
        assert [] == all_pages(running)
        work_on_many(running)
        look_around(running)
        look_after_the_worker(running)


def submit_in_every_way(running: System) -> list[str]:
    api = running.api
    alone = [api.post("/v1/tasks", json=ADD).json()["id"] for _ in range(32)]
    batch = api.post("/v1/tasks/batch", json=[{**ADD, "idempotency_key": f"key-{n}"} for n in range(100)]).json()
    lines = "".join(json.dumps({**ADD, "tags": ["line"]}) + "\n" for _ in range(40))
    stream = api.post("/v1/tasks/stream", content=lines, headers={"Content-Type": "application/x-ndjson"}).text
    ids = alone + [receipt["task"]["id"] for receipt in batch]
    ids += [json.loads(line)["task"]["id"] for line in stream.splitlines()]
    assert 172 == len(set(ids))
    assert SHARDS == shards_of(ids)
    again = api.post("/v1/tasks", json=ADD, headers={"Idempotency-Key": "key-7"})
    assert (200, batch[7]["task"]["id"]) == (again.status_code, again.json()["id"])
    return ids


def read_in_every_way(running: System, ids: list[str]) -> None:
    api = running.api
    for id_ in ids:
        task = api.get(f"/v1/tasks/{id_}", params={"wait": 25}).json()
        assert ("succeeded", 5) == (task["state"], task["result"])
    assert 5 == api.get(f"/v1/tasks/{ids[0]}/result").json()
    assert 1 == len(api.get(f"/v1/tasks/{ids[0]}/attempts").json()["items"])
    assert sorted(ids, reverse=True) == all_pages(running)
    assert sorted(ids) == sorted(all_pages(running, state="succeeded"))
    assert 40 == len(all_pages(running, tag="line"))


def hold_and_cancel(running: System) -> list[str]:
    api = running.api
    delayed = [{**ADD, "delay_seconds": 1000, "idempotency_key": f"later-{n}"} for n in range(99)]
    waiting = api.post("/v1/tasks/batch", json=delayed)
    later = [receipt["task"]["id"] for receipt in waiting.json()]
    assert SHARDS == shards_of(later)
    assert sorted(later) == sorted(all_pages(running, state="scheduled"))
    [queue] = [one for one in api.get("/v1/queues").json()["items"] if one["name"] == "default"]
    assert (0, 99, 0) == (queue["queued"], queue["scheduled"], queue["running"])
    assert queue == {**api.get("/v1/queues/default").json(), "oldest_seconds": queue["oldest_seconds"]}
    for id_ in later:
        assert "cancelled" == api.post(f"/v1/tasks/{id_}/cancel").json()["state"]
    return later


def work_on_many(running: System) -> None:
    """Found by a mix of filters; cancelled, replayed and deleted in all shards."""
    api = running.api
    delayed = [{**ADD, "delay_seconds": 1000, "tags": ["many"], "idempotency_key": f"many-{n}"} for n in range(99)]
    ids = [receipt["task"]["id"] for receipt in api.post("/v1/tasks/batch", json=delayed).json()]
    assert sorted(ids) == sorted(all_pages(running, state="scheduled,queued", name="demo.*", tag="many"))

    def work(action: str, **asked: Any) -> dict[str, Any]:
        asked = {"filter": {"tag": "many"}, **asked}
        assert 99 == api.post(f"/v1/bulk/{action}", json={**asked, "dry_run": True}).json()["matched"]
        id_ = api.post(f"/v1/bulk/{action}", json=asked).json()["id"]
        until(lambda: api.get(f"/v1/bulk/{id_}").json()["state"] == "done", f"{action} is done")
        found: dict[str, Any] = api.get(f"/v1/bulk/{id_}").json()
        assert (99, 0) == (found["done"], found["skipped"])
        return found

    work("priority", priority=9)
    work("reschedule", delay_seconds=2000)
    work("cancel")
    done = work("replay", filter={"tag": "many", "state": "cancelled"}, canary={"tasks": 20}, edits={"args": {"b": 7}})
    assert (True, 0) == (done["canary"]["is_passed"], done["canary"]["failed"])
    until(lambda: len(all_pages(running, state="succeeded", tag="many")) == 99, "all replays have run")
    work("delete", filter={"tag": "many", "state": "cancelled"})
    work("delete", filter={"tag": "many", "state": "succeeded"})
    assert [] == all_pages(running, tag="many")
    assert done["id"] in {one["id"] for one in api.get("/v1/bulk").json()["items"]}
    assert "done" == api.delete(f"/v1/bulk/{done['id']}").json()["state"]


def look_after_the_worker(running: System) -> None:
    """Told what to do by its id, until it has stopped."""
    api = running.api
    [worker] = running.workers()
    path = f"/v1/workers/{worker['id']}"

    def is_so(state: str, threads: int) -> bool:
        shown = api.get(path).json()
        return (shown["state"], shown["slots"]["thread"]) == (state, threads)

    for command, body, state, threads in (
        ("quiet", None, "quiet", 16),
        ("resize", {"threads": 3}, "quiet", 3),
        ("resume", None, "running", 3),
    ):
        assert 202 == api.post(f"{path}/{command}", json=body).status_code
        until(partial(is_so, state, threads), f"the worker is {state}")
    assert 5 == api.post("/v1/tasks", json=ADD, headers={"Prefer": "wait=25"}).json()["result"]
    assert 202 == api.post(f"{path}/stop", json={"drain_seconds": 1}).status_code
    until(lambda: api.get(path).status_code == 404, "the worker has stopped")


def finish_later(running: System) -> list[str]:
    """Tasks that their endpoint takes over, says things of, and ends."""
    with receiver() as endpoint:
        endpoint.headers = {"Taskpost-Async": "1"}
        endpoint.answers = [(202, b"{}")] * 64
        batch = running.api.post(
            "/v1/tasks/batch", json=[{"url": endpoint.url, "idempotency_key": f"url-{n}"} for n in range(64)]
        )
        ids = [receipt["task"]["id"] for receipt in batch.json()]
        assert SHARDS == shards_of(ids)
        for _ in ids:
            headers = endpoint.next()[1]
            place = urlsplit(headers["taskpost-completion-url"]).path
            said = [("heartbeat", None), ("progress", {"current": 1}), ("log", {"lines": [{"message": "x"}]})]
            for action, told in [*said, ("complete", {"result": headers["taskpost-task"]})]:
                assert {"cancel": False} == running.api.post(f"{place}/{action}", json=told).json()
            assert 409 == running.api.post(f"{place}/defer", json={"after_seconds": 1}).status_code
    assert ids == [running.api.get(f"/v1/tasks/{id_}", params={"wait": 25}).json()["result"] for id_ in ids]
    return ids


def look_around(running: System) -> None:
    api = running.api
    [worker] = api.get("/v1/workers").json()["items"]
    handlers = {handler["name"]: handler["workers"] for handler in api.get("/v1/handlers").json()["items"]}
    assert "demo.add" in worker["handlers"]
    assert {"demo.add": 1, "demo.sleep": 1} == {name: handlers[name] for name in ("demo.add", "demo.sleep")}
    assert [200, 200, 200] == [api.get(path).status_code for path in ("/livez", "/readyz", "/openapi.json")]
    prove_in_every_way(running)


def prove_in_every_way(running: System) -> None:
    """Secrets and credentials are those of the deployment, whatever its shards."""
    api = running.api
    first = api.get("/v1/secrets", params={"reveal": "true"}).json()["items"]
    new, old = api.post("/v1/secrets/rotate", json={"overlap_seconds": 60}).json()["items"]
    listed = api.get("/v1/secrets").json()["items"]
    assert [new["public_key"], old["public_key"]] == [one["public_key"] for one in listed]
    assert first[0]["public_key"] == old["public_key"]
    path = "/v1/endpoints/https:api.example.com/auth"
    assert [200, 200] == [api.put(path, json={"kind": "oidc"}).status_code, api.get(path).status_code]
    assert [204, 404] == [api.delete(path).status_code, api.get(path).status_code]
    assert 1 == len(api.get("/.well-known/jwks.json").json()["keys"])
