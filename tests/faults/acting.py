"""
Workers and schedulers as real processes, to be killed, paused and asked to stop; and looks at what became of tasks.

Leases are short (2 s), so that what must wait for one does not wait long. Each process writes its log to a file.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from service.children import bind_to_parent
from service.errors import StoreUnavailable
from service.store import Store
from service.store.outside import cancel
from service.task import Snapshot
from service.ties import NO_TIES
from tests.store.acting import new, snapshot, state, submit

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60.0
SHORT = {"TASKPOST_LEASE_MS": "2000", "TASKPOST_HEARTBEAT_MS": "500", "TASKPOST_DRAIN_SECONDS": "2"}
RUN_SCHEDULER = "import sys, service.scheduler as s, service.settings as t; sys.exit(s.run(t.Settings.from_env()))"
COMMANDS = {"worker": ["-m", "workers"], "scheduler": ["-c", RUN_SCHEDULER], "web": ["-m", "service.cli", "web"]}
FAKETIME = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)

__all__ = ["snapshot", "state", "submit"]


def given(name: str, *, lane: str = "async", queue: str = "default", delay_ms: int = 0, **options: Any) -> Any:
    """A task for handler `faults.<name>`; `args` and the options of a submission by name."""
    crashes, ties = options.get("max_crashes", 3), options.pop("ties", NO_TIES)
    submission = {"name": f"faults.{name}", **options}
    return new(submission, lane=lane, queue=queue, delay_ms=delay_ms, max_crashes=crashes, ties=ties)


async def eventually(claim: Callable[[], Any | Awaitable[Any]], what: str = "") -> Any:
    """The first true answer of *claim*, looked for again and again; Redis away counts as not yet."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = claim()
            if isinstance(answer, Awaitable):
                answer = await answer
        except StoreUnavailable:  # a server that was killed is on its way back
            answer = None
        if answer:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"did not come true: {what or claim}")


async def until_state(store: Store, id_: bytes, *wanted: str) -> Snapshot:
    """The task, once it reads as one of *wanted*."""

    async def look() -> Snapshot | None:
        found = await snapshot(store, id_)
        if found.record.has_ended and found.state not in wanted:
            raise AssertionError(f"it is {found.state}: {found.record.outcome}")
        return found if found.state in wanted else None

    found: Snapshot = await eventually(look, f"{id_.hex()} reads as {wanted}")
    return found


async def until_ended(store: Store, *ids: bytes) -> list[Snapshot]:
    """The tasks, once all have ended."""

    async def look() -> list[Snapshot | None] | None:
        found = await store.tasks.read(ids)
        return found if all(one is None or one.record.has_ended for one in found) else None

    found = await eventually(look, "all tasks ended")
    return [one for one in found if one is not None]


async def until_confirmed(store: Store, *ids: bytes) -> None:
    """A heartbeat of the worker that runs these tasks has been heard."""

    async def look() -> bool:
        found = await store.tasks.read(ids)
        return all(one is not None and one.run is not None and one.run.is_confirmed for one in found)

    await eventually(look, "their leases are confirmed")


def outcome(found: Snapshot) -> Any:
    """State, and the result or the error's type."""
    told = found.record.outcome or {}
    return found.state, told["error"]["type"] if "error" in told else told.get("result")


def lines(path: Path | str, word: str = "ran") -> list[int]:
    """The process of each line with *word* that handlers have left."""
    path = Path(path)
    text = path.read_text() if path.exists() else ""
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith(word)]


async def cancel_task(store: Store, id_: bytes) -> str | None:
    return await cancel(store.tasks, store.handlers, store.settings, id_)


class Part:
    """A worker, a scheduler or an API."""

    def __init__(
        self, kind: str, log: Path, url: str, settings: dict[str, str], folder: Path = ROOT,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """*folder*: where it is started; it finds Taskpost's packages from anywhere. *more* of its environment."""
        self.log = log
        env = {name: value for name, value in os.environ.items() if not name.startswith(("TASKPOST_", "REDIS_"))}
        env |= {"TASKPOST_REDIS_URL": url, "TASKPOST_HANDLERS": "tests.faults.handlers", **SHORT}
        env["PYTHONPATH"] = str(ROOT)
        env |= {"TASKPOST_DEV": "1"}  # endpoints of tests listen on loopback
        env |= {f"TASKPOST_{name.upper()}": value for name, value in settings.items()}
        env |= more
        self.processes = int(env.get("TASKPOST_PROCESSES", "1"))
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *COMMANDS[kind]], cwd=folder, env=env, stdout=file, stderr=file,
                start_new_session=True, preexec_fn=bind_to_parent(),
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    async def ready(self) -> Part:
        """Once all of its processes take work."""

        def is_ready() -> bool:
            assert self.process.poll() is None, f"it ended with status {self.process.returncode}:\n{self.text}"
            return self.text.count("is ready") + self.text.count("scheduler: ready") >= self.processes

        await eventually(is_ready, "the worker is ready")
        return self

    def children(self) -> list[int]:
        """The process ids of its processes."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(number) for number in path.read_text().split()] if path.exists() else []

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def signal_all(self, number: signal.Signals) -> None:
        """To every process of the worker at once."""
        os.killpg(self.pid, number)

    async def ended(self) -> int:
        """Its exit status."""
        await eventually(lambda: self.process.poll() is not None, "the process has ended")
        return self.process.returncode

    async def stop(self) -> int:
        """Ask it to stop; its exit status."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out. Returns when its children are gone as well."""
        children = self.children()
        self.process.kill()
        self.process.wait()
        await eventually(lambda: not any(is_alive(pid) for pid in children), "the children died with their parent")

    def close(self) -> None:
        if self.process.poll() is None:
            self.signal_all(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self.process.wait()


def descendants(pid: int) -> list[int]:
    """Every process below *pid*."""
    try:
        below = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return below + [one for child in below for one in descendants(child)]


def clock_env(path: Path) -> dict[str, str]:
    """Environment of a process whose wall clock is as far ahead as *path* says (`+3600s`); monotonic time stays."""
    return {
        "LD_PRELOAD": FAKETIME or "", "FAKETIME_TIMESTAMP_FILE": str(path), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip


def is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
