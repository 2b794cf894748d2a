"""
What is measured: a server, and the parts of Taskpost or a floor on it, each a process on loopback.

Every process is held by the block that started it, and ends with it. The floors get the same server program, the
same event loop and the same uvicorn settings as the API.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks import machine
from tests import servers
from tests.running import process
from tests.servers import HOST, Server

ROOT = Path(__file__).parents[1]
HANDLERS = "workers.demo,benchmarks.handlers"
MEMORY, AOF = "no persistence", "AOF everysec"
PERSISTENCE: dict[str, dict[str, str | int]] = {
    MEMORY: {},
    AOF: {"appendonly": "yes", "appendfsync": "everysec"},
}
DEADLINE_SECONDS = 300.0


class System:
    """
    A running Taskpost. *parts* are its processes by name; the server is `server`, in a cluster the node of shard 0, and
    `nodes` are all.
    """

    def __init__(self, server: Server, kind: str, persistence: str, port: int, nodes: Sequence[Server] = ()) -> None:
        self.server, self.port, self.nodes = server, port, nodes or [server]
        info = server.admin.info("server")
        self.version = f"{kind} {info.get('valkey_version', info['redis_version'])}"
        self.where = f"{self.version}, {persistence}"
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.env: dict[str, str] = {}

    def part_cpu_us(self, name: str) -> float:
        return machine.cpu_us(self.parts[name].pid)

    def server_cpu_us(self) -> float:
        """Of all nodes together."""
        used = [node.admin.info("cpu") for node in self.nodes]
        return sum(float(cpu["used_cpu_user"] + cpu["used_cpu_sys"]) for cpu in used) * 1e6

    def round_trips(self) -> int:
        """Commands that clients sent, but for those of this process: what scripts call by themselves is left out."""
        sent = self.server.admin.info("commandstats")
        return sum(sent.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval", "bzpopmin", "xread"))

    def used_bytes(self) -> int:
        """Memory in use, once it no longer changes."""
        before = -1
        while abs((now := int(self.server.admin.info("memory")["used_memory"])) - before) > 4096:
            before = now
            time.sleep(0.3)
        return now

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send *number* to a part and its children: SIGSTOP freezes them where they are."""
        for pid in machine.family(self.parts[name].pid):
            os.kill(pid, number)

    def count(self, key: str) -> int:
        """Members of the sorted set *key* of the only shard."""
        return int(self.server.admin.zcard(f"tp:{{0}}:{key}"))

    def ended_ms(self, first: int) -> list[float]:
        """When the tasks ended, by Redis' clock, but for the *first* ones."""
        with redis.Redis(HOST, self.server.port) as client:  # ids are no text
            return [at for _, at in client.zrange("tp:{0}:done", first, -1, withscores=True)]


@contextmanager
def system(kind: str, persistence: str, *parts: str, nodes: int = 0, **settings: Any) -> Iterator[System]:
    """Start a server of *kind*, or a cluster of *nodes*, and Taskpost's *parts* on it with the handlers measured."""
    with ExitStack() as stack:
        if nodes:
            cluster = stack.enter_context(servers.cluster(kind, nodes, **PERSISTENCE[persistence]))
            url, server, all_of_them = cluster.url, cluster.owner(cluster.slot("tp:{0}:done")), cluster.nodes
        else:
            server = stack.enter_context(servers.single(kind, **PERSISTENCE[persistence]))
            url, all_of_them = server.url, [server]
        one = System(server, kind, persistence, servers.free_port(), all_of_them)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("TASKPOST_", "REDIS_"))}
        env |= {"TASKPOST_REDIS_URL": url, "TASKPOST_PORT": str(one.port), "TASKPOST_HANDLERS": HANDLERS}
        env |= {"TASKPOST_DEV": "1"}  # the endpoint listens on loopback
        env |= {"TASKPOST_LOG_LEVEL": "error"} | {f"TASKPOST_{name.upper()}": str(v) for name, v in settings.items()}
        # The handlers stay published when the worker that did it has gone.
        one.env = env
        for part in dict.fromkeys(("worker", *parts)):
            if part in parts:
                stack.enter_context(started(one, part))
            else:
                with process(command_of(part), env) as publishing:
                    wait_for(one, "handlers", publishing)
        yield one


def command_of(part: str) -> list[str]:
    return [sys.executable, "-m", "service.cli", part]


@contextmanager
def started(one: System, part: str) -> Iterator[None]:
    """A part of *one*, running."""
    with process(command_of(part), one.env) as running:
        one.parts[part] = running
        wait_for(one, part, running)
        yield


def wait_for(one: System, part: str, started: subprocess.Popen[bytes]) -> None:
    """Until a part is there. Raises RuntimeError when it ends instead."""

    def is_there() -> bool:
        if started.poll() is not None:
            raise RuntimeError(f"{part} ended with status {started.returncode}; what it said is above")
        if part == "web":
            return is_listening(one.port)
        is_published = bool(one.server.admin.hlen("tp:{0}:handlers"))
        return part == "scheduler" or (is_published and (part == "handlers" or one.count("workers") > 0))

    servers.until(is_there, f"{part} is there")


@contextmanager
def floor(name: str, redis_url: str = "") -> Iterator[tuple[int, int]]:
    """(port, process id) of one of the programs in `floors.py`."""
    port = servers.free_port()
    with process([sys.executable, "-m", "benchmarks.floors", name, str(port), redis_url], dict(os.environ)) as started:
        servers.until(lambda: name == "pop" or is_listening(port), f"the floor {name} listens")
        yield port, started.pid


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def until(claim: Any, what: str) -> None:
    """Wait for *claim* to hold, looking seldom enough to disturb nothing. Raises TimeoutError."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not claim():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {DEADLINE_SECONDS:g} s")
        time.sleep(0.05)
