"""A snapshot of Redis, put into an empty server as docs/operating.md says: what waited waits, what ran runs again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from typing import Any

from tests.parts import System, system
from tests.servers import Server, single, until


def submit(running: System, **task: Any) -> str:
    answer = running.api.post("/v1/tasks", json=task)
    assert 201 == answer.status_code, answer.text
    return str(answer.json()["id"])


def state(running: System, id_: str) -> str:
    return str(running.api.get(f"/v1/tasks/{id_}").json()["state"])


def test_a_snapshot_brings_everything_back(start_server: Callable[..., Server]) -> None:
    """Ended, waiting, delayed and running tasks, and schedules; then with an append-only file from there on."""
    old = start_server("valkey")
    with system(old.url) as running:
        running.start_worker()
        done = submit(running, name="demo.add", args={"a": 2, "b": 3})
        until(lambda: state(running, done) == "succeeded", "a task that ended")
        held = submit(running, name="demo.progress", args={"steps": 900})
        until(lambda: state(running, held) == "running", "a task that runs")
        later = submit(running, name="demo.add", args={"a": 1, "b": 1}, delay_seconds=3600)
        schedule = {"cron": "0 3 * * *", "task": {"name": "demo.add", "args": {"a": 0, "b": 0}}}
        assert running.api.put("/v1/schedules/nightly", json=schedule).status_code in (200, 201)
        old.admin.save()
        with single("valkey", dbfilename="dump.rdb") as restored:
            restored.stop()
            shutil.copy(old.folder / "dump.rdb", restored.folder / "dump.rdb")
            restored.restart()
            restored.admin.execute_command("CONFIG", "SET", "appendonly", "yes")
            with system(restored.url) as again:
                assert "succeeded" == state(again, done)
                assert "scheduled" == state(again, later)
                assert 200 == again.api.get("/v1/schedules/nightly").status_code
                again.start_worker()
                until(lambda: again.api.get(f"/v1/tasks/{held}").json()["attempt"] >= 1, "it runs again")
                until(lambda: state(again, held) == "running", "what ran runs again")
                again.api.post(f"/v1/tasks/{later}/run")
                until(lambda: state(again, later) == "succeeded", "what waited is done")


def test_the_command_of_the_page_makes_the_snapshot(start_server: Callable[..., Server]) -> None:
    """`redis-cli --rdb`, where there is one, writes what a server starts from."""
    if (cli := shutil.which("redis-cli")) is None:
        return
    old = start_server("redis")
    old.admin.set("kept", "1")
    with single("redis", dbfilename="dump.rdb") as restored:
        restored.stop()
        made = restored.folder / "dump.rdb"
        subprocess.run([cli, "-u", old.url, "--rdb", str(made)], check=True, capture_output=True, timeout=60)
        restored.restart()
        assert "1" == restored.admin.get("kept")
