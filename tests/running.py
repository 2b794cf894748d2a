"""
A whole Taskpost for tests that meet it as users do: a server, the API and a worker with the demo handlers.

The parts are processes on loopback with free ports; they end with the block that started them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError

import orjson

from service.children import bind_to_parent
from tests import servers

ROOT = Path(__file__).parents[1]


@contextmanager
def taskpost(*parts: str, kind: str = "valkey", **settings: str) -> Iterator[str]:
    """The URL of the API. *parts* are `web` and `worker` unless named; *settings* go into their environment."""
    with servers.single(kind) as server, ExitStack() as stack:
        port = servers.free_port()
        env = {name: value for name, value in os.environ.items() if not name.startswith(("TASKPOST_", "REDIS_"))}
        env |= {"TASKPOST_REDIS_URL": server.url, "TASKPOST_PORT": str(port), "TASKPOST_HANDLERS": "workers.demo"}
        env["TASKPOST_DEV"] = "1"  # endpoints of tests listen on loopback
        env |= {f"TASKPOST_{name.upper()}": value for name, value in settings.items()}
        wanted = parts or ("web", "worker")
        running = [stack.enter_context(process([sys.executable, "-m", "service.cli", part], env)) for part in wanted]
        url = f"http://{servers.HOST}:{port}"

        def claim() -> bool:
            for part, one in zip(wanted, running, strict=True):
                if one.poll() is not None:
                    raise AssertionError(f"taskpost {part} ended with status {one.returncode}; what it said is above")
            return is_ready(url, settings.get("api_key", ""), "worker" in wanted)

        servers.until(claim, f"Taskpost at {url}")
        yield url


@contextmanager
def process(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is told to stop at the end, and made to when it does not."""
    started = subprocess.Popen(command, cwd=ROOT, env=env, preexec_fn=bind_to_parent())
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(servers.DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def is_ready(url: str, api_key: str, has_worker: bool) -> bool:
    """Whether the API answers, and lists a handler if there is to be a worker."""
    path = "/v1/handlers" if has_worker else "/readyz"
    request = urllib.request.Request(url + path, headers={"authorization": f"Bearer {api_key}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return not has_worker or bool(orjson.loads(answer.read())["items"])
    except (URLError, OSError):
        return False
