"""
SIGKILL to the only worker while it runs a task: how long until the task runs again, once another worker is there.

All peers are killed and wait at the same time, each on its own server, since waiting is nearly all they do; the
system is idle, as it is at night when nobody would notice. A task that did not run again within the time is lost or
late: from outside nobody can tell. Taskpost's is also measured when only the child process that runs it is killed.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import load, machine
from benchmarks.figures import Figure, Goal
from benchmarks.load import Load
from benchmarks.peers.definitions import Peer
from benchmarks.peers.running import Running, running, send
from benchmarks.scale import Scale
from benchmarks.system import MEMORY, System, started, system, until
from tests import servers

HOST_GOAL, CHILD_GOAL = Goal(most=16), Goal(most=1)
LOOK_SECONDS = 0.05


class Held:
    """A running peer whose worker was killed at *killed_ns* while it ran a task, and another started."""

    def __init__(self, one: Running) -> None:
        one.start_worker(one.peer.worker)
        ran = one.ran()
        one.submit("hold", 1)
        one.until(ran + 1)
        self.one, self.killed_ns = one, time.time_ns()
        one.kill_worker()
        one.start_worker(one.peer.worker)
        self.known = ran + 2  # the stamps so far: the held task's, and that of the first task of the new worker

    def again_seconds(self) -> float | None:
        """How long after the kill the task ran again; None when it has not."""
        later = self.one.stamps_ns(self.known)
        return (later[-1] - self.killed_ns) / 1e9 if later else None


def recovery(scale: Scale, kind: str, peers: list[Peer]) -> Iterator[Figure]:
    with ExitStack() as stack:
        waiting: list[Held] = []
        for peer in peers:
            try:
                waiting.append(Held(stack.enter_context(running(peer, kind))))
            except Exception as fault:
                traceback.print_exc()
                yield Figure("recovery", kind, "", [], None, str(peer), error=str(fault))
        ours, child, where = of_ours(kind)
        yield Figure("SIGKILL of a child process -> task runs again", where, "s", [child], CHILD_GOAL)
        name = "SIGKILL of the only worker -> task runs again"
        yield Figure(name, where, "s", [ours], HOST_GOAL)
        deadline = time.monotonic() + scale.recover_seconds
        while time.monotonic() < deadline and any(held.again_seconds() is None for held in waiting):
            time.sleep(LOOK_SECONDS)
        for held in waiting:
            again, waited = held.again_seconds(), (time.time_ns() - held.killed_ns) / 1e9
            against = str(held.one.peer) if again is not None else f"{held.one.peer}, not within"
            yield Figure(name, where, "s", [ours], HOST_GOAL, against, [waited if again is None else again])


def of_ours(kind: str) -> tuple[float, float, str]:
    """(seconds from the kill of a worker, of a child process, which server)."""
    found = []
    with tempfile.TemporaryDirectory(prefix="taskpost-held-") as folder:
        os.environ["BENCH_NOTES"] = str(Path(folder) / "notes")
        try:
            for name in ("bench.held", "bench.held.process"):
                with system(kind, MEMORY, "web", "scheduler") as one:
                    found.append(killed(one, Path(os.environ["BENCH_NOTES"]), name))
        finally:
            del os.environ["BENCH_NOTES"]
    return found[0], found[1], one.where


def killed(one: System, notes: Path, name: str) -> float:
    """Kill who runs the task *name*: the worker, or its child process. Seconds until it ran again."""
    notes.write_bytes(b"")
    with ExitStack() as stack:
        stack.enter_context(started(one, "worker"))
        first = one.parts["worker"]
        load.run(Load(one.port, "/v1/tasks", f'{{"name":"{name}"}}', connections=1, most=1))
        until(lambda: notes_of(notes), f"{name} runs")
        runner, killed_ns = notes_of(notes)[0][1], time.time_ns()
        send([runner] if name.endswith("process") else machine.family(first.pid), signal.SIGKILL)
        if not name.endswith("process"):
            first.wait()
            stack.enter_context(started(one, "worker"))
        servers.until(lambda: len(notes_of(notes)) > 1, f"{name} runs again")
        return (notes_of(notes)[1][0] - killed_ns) / 1e9


def notes_of(path: Path) -> list[tuple[int, int]]:
    """(when a held handler started in ns, in which process)."""
    rows = [line.split() for line in path.read_text().splitlines() if line]
    return [(int(at), int(pid)) for at, pid in rows]
