"""Today's processes on what an earlier version left in Redis: everything is read as it was, and goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.frozen.keyspace import load
from tests.parts import system
from tests.servers import HOST, Server, until

pytestmark = pytest.mark.both_servers

FROZEN = sorted((Path(__file__).parents[1] / "frozen").glob("format-*.jsonl"))
KEPT = {"result_ttl_seconds": 300_000_000, "failure_ttl_seconds": 300_000_000}
OVER = ("succeeded", "large", "called", "failed", "keyed")
# What says nothing of the past: where it stands by today's clock and settings.
OF_TODAY = {"state", "run_at", "finished_at", "result_ttl_seconds"}


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: path.stem)
def test_what_an_earlier_version_left_is_read_and_done(redis_server: Server, path: Path) -> None:
    """Ended tasks with attempts, waiting ones with ties, a lease whose worker is gone, a schedule, settings."""
    load(redis.Redis(HOST, redis_server.port), path)
    frozen = json.loads(path.with_suffix(".json").read_text())
    with system(redis_server.url, **KEPT) as running:

        def task(name: str) -> dict[str, Any]:
            found: dict[str, Any] = running.api.get(f"/v1/tasks/{frozen['tasks'][name]['id']}").json()
            return found

        for name, before in frozen["tasks"].items():
            now = task(name)
            assert now["id"] == before["id"], (name, now)
            passed = {*OF_TODAY, "progress"} if name not in OVER else {"result_ttl_seconds"}
            said = {field: one for field, one in before.items() if field not in passed}
            assert said == {field: now.get(field) for field in said}, name
        shown = running.api.get(f"/v1/tasks/{frozen['tasks']['failed']['id']}/attempts").json()["items"]
        assert frozen["attempts"] == shown
        assert "0 3 * * *" == running.api.get("/v1/schedules/nightly").json()["cron"]
        mail = running.api.get("/v1/queues/mail").json()
        assert (True, 5, 7) == (mail["paused"], mail["settings"]["concurrency"], mail["settings"]["retries"])
        unique = frozen["tasks"]["unique"]
        again = {name: unique[name] for name in ("name", "args", "queue", "unique")}
        assert unique["id"] == running.api.post("/v1/tasks", json=again).json()["id"]
        running.start_worker()
        for name in ("running", "queued", "held", "grouped", "unique"):
            until(lambda name=name: task(name)["state"] == "succeeded", f"{name} is done")  # type: ignore[misc]
        assert "queued" == task("in_mail")["state"]
        running.api.post("/v1/queues/mail/resume")
        for name in ("in_mail", "scheduled"):
            running.api.post(f"/v1/tasks/{frozen['tasks'][name]['id']}/run")
            until(lambda name=name: task(name)["state"] == "succeeded", f"{name} is done")  # type: ignore[misc]
