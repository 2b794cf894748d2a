"""
Taskpost's own processes for tests: `web`, `worker`, `scheduler`, as the Procfile starts them.

Each is a real process on a free loopback port, with its own settings and nothing of the test's environment; it ends
with the object that holds it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from service.children import bind_to_parent
from service.ports import free_port
from tests.servers import until

ROOT = Path(__file__).parents[1]


class Part:
    """One process and what it prints."""

    def __init__(self, name: str, redis_url: str, **settings: Any) -> None:
        self.name = name
        self.output = tempfile.TemporaryFile()  # noqa: SIM115  close() does
        env = {key: value for key, value in os.environ.items() if not key.startswith(("TASKPOST_", "REDIS_"))}
        # Endpoints of tests listen on loopback.
        env |= {f"TASKPOST_{key.upper()}": str(value) for key, value in {"dev": 1, **settings}.items()}
        env |= {"TASKPOST_REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", name],
            cwd=ROOT,
            env=env,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            preexec_fn=bind_to_parent(),
        )

    def printed(self) -> str:
        """Everything so far."""
        return os.pread(self.output.fileno(), 1 << 20, 0).decode(errors="replace")

    def end(self, sent: signal.Signals = signal.SIGTERM, deadline_seconds: float = 60) -> int:
        """Send *sent* and wait; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sent)
        return self.process.wait(deadline_seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()


class System:
    """An API, workers and a scheduler on one Redis. `api` speaks to the API."""

    def __init__(self, redis_url: str, stack: ExitStack, **settings: Any) -> None:
        self.redis_url, self.stack = redis_url, stack
        port = free_port("127.0.0.1")
        self.url = f"http://127.0.0.1:{port}"
        self.settings = {"public_url": self.url, **settings}
        self.web = self.start("web", port=port)
        self.scheduler = self.start("scheduler")
        self.api = stack.enter_context(httpx.Client(base_url=self.url, timeout=60, trust_env=False))

    def start(self, name: str, **settings: Any) -> Part:
        part = Part(name, self.redis_url, **{**self.settings, **settings})
        self.stack.callback(part.close)
        return part

    def start_worker(self, handlers: str = "workers.demo", **settings: Any) -> Part:
        """A worker, once its handlers are known."""
        before = len(self.workers())
        part = self.start("worker", handlers=handlers, **settings)
        until(lambda: len(self.workers()) > before, "a new worker")
        return part

    def submit(self, wait: float | None = None, **submission: Any) -> dict[str, Any]:
        """A task that was taken in; *wait*: for its end, so many seconds at most."""
        headers = {} if wait is None else {"Prefer": f"wait={wait:g}"}
        answer = self.api.post("/v1/tasks", json=submission, headers=headers)
        assert answer.status_code in (200, 201, 202), answer.text
        task: dict[str, Any] = answer.json()
        return task

    def ended(self, id_: str) -> dict[str, Any]:
        """The task, once it has ended."""

        def finished() -> dict[str, Any] | None:
            task: dict[str, Any] = self.api.get(f"/v1/tasks/{id_}", params={"wait": 20}).json()
            return task if task.get("finished_at") else None  # a busy API may answer 503

        task: dict[str, Any] = until(finished, f"the end of task {id_}")
        return task

    def workers(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.api.get("/v1/workers").json().get("items", [])
        return items

    def ready(self) -> bool:
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def system(redis_url: str, **settings: Any) -> Iterator[System]:
    """A running system without workers; *settings* go to every part."""
    with ExitStack() as stack:
        running = System(redis_url, stack, **settings)
        until(running.ready, "an API that is ready")
        yield running
