"""
What a worker tells of itself: in short for lists, and whole for who looks at it alone.

Read from the memory that it shares with its processes, so that one which is blocked or busy is told of all the same.
Bounded: at most 200 tasks, those that have run for longest, and 200 child processes.
"""

from __future__ import annotations

import os
import platform
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service import __version__
from service.ids import encode_id
from service.settings import Settings
from service.task import SHARED
from workers.blocked import BlockWatch
from workers.crew import Crew
from workers.held import SIZED, Running, monotonic_ms
from workers.process import Process

MOST_TASKS = 200
MOST_CHILDREN = 200
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Portrait:
    """Describes one worker, which is stopping when its crew is."""

    def __init__(self, settings: Settings, worker: str, queues: Sequence[str], crew: Crew, blocks: BlockWatch) -> None:
        self.settings, self.worker, self.queues, self.crew, self.blocks = settings, worker, queues, crew, blocks
        self.started_ms = crew.store.tasks.clock.now_ms()
        self.server = ""  # the server's name and version
        self.statuses: dict[Process, dict[str, Any]] = {}

    def look(self) -> None:
        """Learn how the processes are; of one that is just writing it, what it told before stands."""
        known = self.statuses
        self.statuses = {}
        for process in self.crew.processes:
            if process.is_ready and (status := process.table.status() or known.get(process)):
                self.statuses[process] = status

    @property
    def is_settled(self) -> bool:
        """Whether all processes are, by what they told, as they are wanted."""
        wanted = self.crew.wanted
        return all(
            (status := self.statuses.get(process)) is not None
            and (status["is_quiet"], status["sizes"]) == (wanted.is_quiet, wanted.sizes)
            and not process.leaving.is_set()
            for process in self.crew.processes
        )

    @property
    def state(self) -> str:
        if self.crew.stopping.is_set():
            return "stopping"
        told = [self.statuses[process]["is_quiet"] for process in self.crew.staying if process in self.statuses]
        return "quiet" if self.crew.wanted.is_quiet and told and all(told) else "running"

    def summary(self, now_ms: int) -> dict[str, Any]:
        """The contract's `Worker`, times in ms."""
        staying = self.crew.staying
        sizes = [self.statuses.get(process, {}).get("sizes", self.crew.wanted.sizes) for process in staying]
        return {
            "id": self.worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "state": self.state,
            "started_ms": self.started_ms,
            "seen_ms": now_ms,
            "namespace": self.settings.namespace or SHARED,
            "queues": list(self.queues),
            "handlers": next(filter(None, (process.table.handlers for process in reversed(self.crew.processes))), []),
            "processes": len(staying),
            "slots": {lane: sum(one[lane] for one in sizes) for lane in SIZED},
            "blocked_seconds": round(self.blocks.blocked_seconds, 3),
            "running": sum(len(process.table.held()) for process in self.crew.processes),
        }

    def detail(self, last_command: dict[str, Any] | None) -> dict[str, Any]:
        """What `WorkerDetail` has beyond that; tasks as rows in the order of its fields."""
        now_ms = monotonic_ms()
        running = {process: process.table.running(now_ms) for process in self.crew.processes}
        tasks = [(one, process) for process, some in running.items() for one in some]
        tasks.sort(key=lambda task: task[0].started_ms)
        versions = {"taskpost": __version__, "python": platform.python_version(), "server": self.server}
        if self.settings.app_version:
            versions["application"] = self.settings.app_version
        children = MOST_CHILDREN
        processes = []
        for process, some in running.items():
            processes.append(self.process(process, some, now_ms, children))
            children -= len(processes[-1]["children"])
        return {
            "versions": versions,
            "process_list": processes,
            "tasks": [
                [encode_id(one.id), one.name, one.queue, one.lane, one.attempt, one.started_ms, process.number,
                 one.overdue_ms]
                for one, process in tasks[:MOST_TASKS]
            ],
            "last_command": last_command,
        }  # fmt: skip

    def process(self, process: Process, running: Sequence[Running], now_ms: int, children: int) -> dict[str, Any]:
        """The contract's `WorkerProcess`, with so many *children* at most."""
        status = self.statuses.get(process, {})
        sizes, busy = status.get("sizes", self.crew.wanted.sizes), status.get("busy", {})
        here = Counter(one.lane for one in running)  # what it told may be from before its loop was blocked
        blocked_ms = self.blocks.since_ms.get(process.number)
        beat_ms = process.table.beat_ms
        return {
            "number": process.number,
            "state": self.state_of(process, status),
            "pid": process.pid,
            "rss_bytes": rss_bytes(process.pid),
            "slots": {lane: {"size": sizes[lane], "busy": max(busy.get(lane, 0), here[lane])} for lane in SIZED},
            "heartbeat_age_seconds": (now_ms - beat_ms) / 1000 if beat_ms else None,
            "blocked_seconds": 0 if blocked_ms is None else (now_ms - blocked_ms) / 1000,
            "children": [
                {"pid": pid, "rss_bytes": rss_bytes(pid), "tasks": tasks}
                for pid, tasks in status.get("executors", [])[:children]
            ],
        }

    def state_of(self, process: Process, status: dict[str, Any]) -> str:
        if not process.is_ready:
            return "starting"
        if self.crew.is_ending(process):
            return "stopping"
        return "quiet" if status.get("is_quiet") else "running"


def rss_bytes(pid: int | None) -> int | None:
    """The memory that a process has in use; None where the machine does not say, or no more."""
    if pid is None:
        return None
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return None
