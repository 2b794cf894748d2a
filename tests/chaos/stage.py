"""
What a round is played on: servers, Taskpost's own processes, and what faults do to them.

Owns the starting, killing and starting again of each; notes in the history whatever dies. `single`, `sentinel` or
`cluster` is where Redis is.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests import servers
from tests.chaos.history import History
from tests.faults.acting import FAKETIME, Part, clock_env, descendants
from tests.servers import Server, free_port, until
from tests.store.deployments import Deployment

LEASE_SECONDS = 8.0
SETTINGS = {"lease_ms": "8000", "heartbeat_ms": "1000", "drain_seconds": "2", "children": "2", "concurrency": "20",
            "log_level": "info"}  # fmt: skip
WORKERS = ("worker-0", "worker-1")
SCHEDULERS = ("scheduler-0", "scheduler-1")
PARTS = ("web", *SCHEDULERS, *WORKERS)


class Stage:
    """Running servers and parts; *fsync* is Redis' `appendfsync`; else it keeps `snapshots`, or `none`."""

    def __init__(self, stack: ExitStack, history: History, where: str, kind: str, fsync: str, handlers: str) -> None:
        self.stack, self.history, self.where, self.fsync, self.handlers = stack, history, where, fsync, handlers
        can_sync = kind == "valkey" and fsync in ("everysec", "always")
        self.durability = "replica" if where == "sentinel" else "fsync" if can_sync else "memory"
        config: dict[str, Any] = {"appendonly": "yes", "appendfsync": fsync}
        if fsync in ("none", "snapshots"):
            config = {"save": "3 1" if fsync == "snapshots" else '""'}
        self.sentinels = stack.enter_context(servers.sentinel(kind, 3, **config)) if where == "sentinel" else None
        self.cluster = (
            stack.enter_context(servers.cluster(kind, cluster_require_full_coverage="no", **config))
            if where == "cluster"
            else None
        )
        self.server = stack.enter_context(servers.single(kind, **config)) if where == "single" else None
        self.proxy: Any = None  # between parts and `server`, once somebody has set it up
        self.port = free_port()
        self.parts: dict[str, Part] = {}
        self.logs: list[Path] = []
        self.clock = history.folder / "clock"
        self.clock.write_text("+0s\n")

    @property
    def url(self) -> str:
        """Where API users find it."""
        return f"http://{servers.HOST}:{self.port}"

    @property
    def redis_url(self) -> str:
        if (several := self.sentinels or self.cluster) is not None:
            return several.url
        return f"redis://{servers.HOST}:{self.proxy.port if self.proxy else self.redis.port}/0"

    @property
    def redis(self) -> Server:
        """The server, or the master of now."""
        found = self.sentinels.master if self.sentinels else self.server
        assert found is not None, "a cluster has several"
        return found

    def deployment(self) -> Deployment:
        """All keys, past any proxy."""
        if self.cluster:
            return Deployment(self.cluster.url, self.cluster.nodes, 16, self.cluster)
        return Deployment(self.redis.url if self.server else self.redis_url, [self.redis], 1)

    # ------------------------------------------------------------ parts

    def start_all(self, names: Sequence[str]) -> None:
        for name in names:
            self.start(name)
        for name in self.parts:
            self.until_ready(name)
        until(lambda: self.answers("/v1/handlers", b"chaos.add"), "the handlers are published")

    def start(self, name: str) -> None:
        kind = name.partition("-")[0]
        settings = {**SETTINGS, "port": str(self.port), "public_url": self.url, "handlers": self.handlers}
        settings["processes"] = "2" if name == WORKERS[0] else "1"
        more = {"CHAOS_FOLDER": str(self.history.folder), **self.clock_of(name)}
        if name in self.parts:
            self.parts[name].close()
        log = self.history.folder / f"{name}.{len(self.logs)}.log"
        self.logs.append(log)
        part = Part(kind, log, self.redis_url, settings, more=more)
        self.stack.callback(part.close)
        self.parts[name] = part

    def clock_of(self, name: str) -> dict[str, str]:
        """Of each kind the second one has a clock that can be made to jump."""
        return clock_env(self.clock) if FAKETIME and name.endswith("-1") else {}

    def until_ready(self, name: str) -> None:
        """Until it works, or has ended."""
        part = self.parts[name]
        if name == "web":
            until(lambda: part.process.poll() is not None or self.answers(), "the API answers")
        else:
            word = "is ready" if name in WORKERS else "scheduler: ready"
            until(lambda: part.process.poll() is not None or word in part.text, f"{name} is ready")

    def answers(self, path: str = "/readyz", word: bytes = b"") -> bool:
        """Whether the API answers well, and says *word*."""
        try:
            answer = httpx.get(f"{self.url}{path}", timeout=2, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and word in answer.content

    # ------------------------------------------------------------ what is done to them

    def family(self, name: str) -> list[int]:
        """The part's process and all below it."""
        pid = self.parts[name].pid
        return [pid, *descendants(pid)]

    def kill(self, name: str) -> None:
        """SIGKILL, without a word beforehand."""
        self.history.note("died", pids=self.family(name), name=f"{name.partition('-')[0]} killed")
        part = self.parts[name]
        part.process.kill()
        part.process.wait()

    def kill_one(self, pid: int, name: str) -> None:
        """SIGKILL for one process, which takes those below it along."""
        self.history.note("died", pids=[pid, *descendants(pid)], name=name)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def pause(self, pids: list[int], name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        self.history.note("died", pids=pids, name=name)
        for sent in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                try:
                    os.kill(pid, sent)
                except ProcessLookupError:
                    pass
            if sent == signal.SIGSTOP:
                time.sleep(seconds)

    def stop(self, name: str) -> int:
        """SIGTERM, as a deploy does; its exit status. What it hands back runs elsewhere."""
        self.history.note("died", pids=self.family(name), name=f"{name.partition('-')[0]} stopped")
        part = self.parts[name]
        part.process.terminate()
        return part.process.wait(60)
