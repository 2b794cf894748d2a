"""Namespaces over real processes: workers for one, workers for all, each with handlers of its own."""

from __future__ import annotations

import httpx

from tests.parts import System, system
from tests.servers import until

ADD = {"name": "demo.add", "args": {"a": 2, "b": 3}}
WAIT = {"Prefer": "wait=25"}


def holder(running: System, namespace: str) -> httpx.Client:
    """Who has a key of *namespace*."""
    asked = {"name": namespace, "scopes": ["operator"], "namespace": namespace}
    key = running.api.post("/v1/keys", json=asked).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    return running.stack.enter_context(
        httpx.Client(base_url=running.url, timeout=60, trust_env=False, headers=headers)
    )


def test_a_worker_of_one_namespace_runs_its_tasks_only(redis_url: str) -> None:
    """The other's wait until there is a worker for all; then all run, wherever they are from."""
    with system(redis_url, api_key="root", accept_unknown_handlers=1) as running:
        running.api.headers["Authorization"] = "Bearer root"
        acme, globex = holder(running, "acme"), holder(running, "globex")
        running.start("worker", handlers="workers.demo", namespace="acme", queues="mail:3,default:1")
        until(lambda: acme.get("/v1/workers").json()["items"], "acme has a worker")
        assert [] == globex.get("/v1/workers").json()["items"]
        for queue in ("default", "mail"):
            assert 5 == acme.post("/v1/tasks", json={**ADD, "queue": queue}, headers=WAIT).json()["result"]
        theirs = globex.post("/v1/tasks", json=ADD).json()
        assert "demo.add" in [one["name"] for one in acme.get("/v1/handlers").json()["items"]]
        assert [] == globex.get("/v1/handlers").json()["items"]
        explained = globex.get(f"/v1/tasks/{theirs['id']}/explain").json()
        assert "no-worker" in str(explained["reasons"])
        running.start_worker()
        assert 5 == globex.get(f"/v1/tasks/{theirs['id']}", params={"wait": 25}).json()["result"]
        assert "demo.add" in [one["name"] for one in globex.get("/v1/handlers").json()["items"]]
        assert 5 == running.api.post("/v1/tasks", json=ADD, headers=WAIT).json()["result"]
