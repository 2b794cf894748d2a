"""
Our process pool beside Celery's prefork pool: handlers that do nothing, as many children, the same kind of server.

Only by name: `scripts/bench celery`. It installs Celery from the package index into an environment of its own, in a
temporary folder that is gone afterwards. Both workers are frozen while tasks are submitted, and let go. Celery runs
with its defaults but without gossip, mingle and heartbeat, which speeds it up. Its finished tasks are counted by
their results in its Redis, looked at every few milliseconds; the time before the first one counts for neither.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import machine
from benchmarks.drain import A_REQUEST, IN_PROCESS, drained
from benchmarks.figures import Figure, Goal
from benchmarks.scale import Scale
from benchmarks.system import MEMORY, System, system
from tests import servers
from tests.running import process
from tests.servers import Server

MOST_TASKS = 2_000
CHILDREN = 4
LOOK_SECONDS = 0.002
QUEUE_KEYS = ("celery", "unacked", "unacked_index", "unacked_mutex", "_kombu.binding.celery")
MODULE = """
import os
import celery
app = celery.Celery("peer", broker=os.environ["PEER_URL"], backend=os.environ["PEER_URL"])
@app.task(name="peer.nothing")
def nothing(a, b):
    return a + b
"""
SUBMIT = "import sys, peer\nfor _ in range(int(sys.argv[1])): peer.nothing.delay(2, 3)"


class Peer:
    """A Celery worker on *server*, from the environment at *folder*."""

    def __init__(self, stack: ExitStack, server: Server, folder: Path) -> None:
        self.server, self.python = server, str(folder / "bin" / "python")
        (folder / "peer.py").write_text(MODULE)
        self.env = {**os.environ, "PEER_URL": server.url, "PYTHONPATH": str(folder)}
        command = [self.python, "-m", "celery", "--quiet", "-A", "peer", "worker", "-c", str(CHILDREN)]
        command += ["--loglevel", "error", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.worker = stack.enter_context(process(command, self.env))
        self.submit(1)
        self.until(1)

    def submit(self, many: int) -> None:
        subprocess.run([self.python, "-c", SUBMIT, str(many)], env=self.env, check=True, timeout=300)

    def drained(self, many: int) -> float:
        """Tasks a second, from the first that finished on."""
        self.signal(signal.SIGSTOP)
        try:
            self.server.admin.flushall()
            self.submit(many)
        finally:
            self.signal(signal.SIGCONT)
        first = self.until(1)
        last = self.until(many)
        return (last[1] - first[1]) / max(last[0] - first[0], LOOK_SECONDS)

    def until(self, least: int) -> tuple[float, int]:
        """(when, how many) once *least* results are there: all keys but those of the queue."""
        while (results := int(self.server.admin.dbsize()) - int(self.server.admin.exists(*QUEUE_KEYS))) < least:
            if self.worker.poll() is not None:
                raise RuntimeError(f"Celery's worker ended with status {self.worker.returncode}; what it said is above")
            time.sleep(LOOK_SECONDS)
        return time.perf_counter(), results

    def signal(self, number: signal.Signals) -> None:
        for pid in machine.family(self.worker.pid):
            os.kill(pid, number)


def install(folder: Path) -> str:
    """Celery into a new environment at *folder*; its version."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    quiet = ["--quiet", "--quiet", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", "install", *quiet, "celery[redis]"], check=True, timeout=600)
    shown = subprocess.run([python, "-c", "import celery; print(celery.__version__)"], check=True, capture_output=True)
    return shown.stdout.decode().strip()


def celery(scale: Scale, kind: str) -> Iterator[Figure]:
    """Both drain the same number of tasks, one after the other in each round."""
    many = max(min(scale.drained_otherwise, MOST_TASKS) // A_REQUEST, 1) * A_REQUEST
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskpost-peer-")))
        version = install(folder)
        peer = Peer(stack, stack.enter_context(servers.single(kind)), folder)
        ours: System = stack.enter_context(system(kind, MEMORY, "web", "worker", processes=1, children=CHILDREN))
        rates: list[float] = []
        theirs: list[float] = []
        for _ in range(scale.rounds):
            theirs.append(peer.drained(many))
            rates.append(drained(ours, IN_PROCESS, many).a_second)
        against = f"Celery {version} prefork -c {CHILDREN}"
        yield Figure(f"{many:,} tasks in child processes", ours.where, "tasks/s", rates, Goal(12, is_ratio=True),
                     against, theirs)  # fmt: skip
