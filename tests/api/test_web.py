"""The API as processes: where it listens, and how it stops."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.web import check_address, is_loopback, listen
from service.children import bind_to_parent
from service.errors import InvalidSetting
from service.settings import Settings
from tests.servers import Server, free_port, until

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from service.api.web import serve
from service.settings import Settings
sys.exit(serve(Settings.from_env()))
"""


class Web:
    """A process of the API."""

    def __init__(self, redis_url: str, **settings: Any) -> None:
        self.port = free_port()
        env = {name: value for name, value in os.environ.items() if not name.startswith(("TASKPOST_", "REDIS_"))}
        env |= {f"TASKPOST_{name.upper()}": str(value) for name, value in settings.items()}
        env |= {"TASKPOST_REDIS_URL": redis_url, "TASKPOST_PORT": str(self.port)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN], cwd=ROOT, env=env, stderr=subprocess.PIPE, preexec_fn=bind_to_parent()
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, "the API ended"
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@contextmanager
def web(redis_url: str, **settings: Any) -> Iterator[Web]:
    with ExitStack() as stack:
        started = Web(redis_url, **settings)
        stack.callback(started.close)
        until(started.is_ready, "the API is ready")
        yield started


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_ends_it_in_order(redis_server: Server, processes: int) -> None:
    """Also while somebody waits and a stream is open, and when it is told twice; the exit status is 0."""
    with web(redis_server.url, web_processes=processes) as running, ThreadPoolExecutor() as threads:
        task = running.http.post("/v1/tasks", json={"url": "http://a.example"}).json()
        waiting = threads.submit(running.http.get, f"/v1/tasks/{task['id']}?wait=25")
        until(lambda: redis_server.admin.info("clients")["blocked_clients"], "somebody waits for the task")
        stream = socket.create_connection(("127.0.0.1", running.port))
        stream.sendall(b"POST /v1/tasks/stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b"200 OK" in stream.recv(4096)
        running.process.send_signal(signal.SIGTERM)
        running.process.send_signal(signal.SIGTERM)
        assert 0 == running.process.wait(25)
        assert "queued" == waiting.result().json()["state"]
        assert b"0\r\n\r\n" == stream.recv(4096)
        stream.close()


def test_killed_process_is_started_again(redis_url: str) -> None:
    """One of several dies: the others answer, and a new one takes its place."""
    with web(redis_url, web_processes=2) as running:
        children = set(children_of(running.process.pid))
        assert 2 == len(children)
        os.kill(children.pop(), signal.SIGKILL)
        until(lambda: len(set(children_of(running.process.pid)) - children) == 1, "a new process")
        until(running.is_ready, "the API is ready again")
        running.process.terminate()
        assert 0 == running.process.wait(25)


def test_processes_end_with_their_parent(redis_url: str) -> None:
    """A SIGKILL of the parent leaves nobody behind on the port."""
    with web(redis_url, web_processes=2) as running:
        children = children_of(running.process.pid)
        running.process.kill()
        running.process.wait()
        until(lambda: not any(is_alive(pid) for pid in children), "the children have ended")


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def test_other_deployments_are_refused(redis_server: Server) -> None:
    """A Redis with another number of shards ends the API with a status that is not 0, and the reason."""
    with web(redis_server.url, shards=2):
        pass
    for processes in (1, 2):
        other = Web(redis_server.url, shards=3, web_processes=processes)
        _, told = other.process.communicate(timeout=60)
        other.close()
        assert 0 != other.process.returncode
        assert b"TASKPOST_SHARDS=3" in told


def test_address_beyond_loopback_needs_a_key_or_a_word() -> None:
    """Nobody opens the API to the world by accident; the text names both ways out."""
    with pytest.raises(InvalidSetting, match=r"TASKPOST_API_KEY.*--insecure"):
        check_address(Settings(host="0.0.0.0"))
    check_address(Settings(host="0.0.0.0", api_key="k"))
    check_address(Settings(host="0.0.0.0", insecure=True))
    check_address(Settings(host="127.0.0.1"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("", False), ("192.0.2.1", False)],
)  # fmt: skip
def test_loopback_is_told_from_the_world(host: str, expected: bool) -> None:
    """An empty host means every address."""
    assert expected is is_loopback(host)


def test_taken_port_is_named() -> None:
    """And how to choose another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidSetting, match=rf"TASKPOST_PORT={port}.*--port"):
            listen(Settings(port=port))
