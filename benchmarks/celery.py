"""
Our process pool beside Celery's prefork pool: handlers that do nothing, as many children, the same kind of server.

Only by name: `scripts/bench celery`. It installs Celery from the package index into an environment of its own, in a
temporary folder that is gone afterwards. Both workers are frozen while tasks are submitted, and let go; both keep
results. Celery runs as it was fastest of what was tried (children, prefetch, `-O`), without gossip, mingle,
heartbeat, remote control and rate limits. Its finished tasks are counted by their results in its Redis, looked at every
few milliseconds; ours by what Redis noted. The time before the first one counts for neither.
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
from benchmarks.drain import A_REQUEST, IN_PROCESS, Drained, drained
from benchmarks.figures import Figure, Goal
from benchmarks.scale import Scale
from benchmarks.system import MEMORY, System, system
from tests import servers
from tests.running import process
from tests.servers import Server

CHILDREN = 4
OURS_A_PEERS = 10  # how many tasks of ours for one of Celery's, so that both take seconds
WARM_UP = 10  # a round of so many times fewer comes first and is not counted
LOOK_SECONDS = 0.01
QUEUE_KEYS = ("celery", "unacked", "unacked_index", "unacked_mutex", "_kombu.binding.celery")
MODULE = """
import os
import celery
app = celery.Celery("peer", broker=os.environ["PEER_URL"], backend=os.environ["PEER_URL"])
app.conf.update(
    worker_prefetch_multiplier=64, worker_disable_rate_limits=True, worker_enable_remote_control=False,
    broker_heartbeat=0, task_serializer="json", result_serializer="json", accept_content=["json"],
)
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

    def drained(self, many: int) -> tuple[float, float]:
        """Tasks a second, from the first that finished on; and processor time of a task, in us."""
        self.signal(signal.SIGSTOP)
        try:
            self.server.admin.flushall()
            self.submit(many)
            began_us = machine.cpu_us(self.worker.pid)
        finally:
            self.signal(signal.SIGCONT)
        first = self.until(1)
        last = self.until(many)
        used_us = machine.cpu_us(self.worker.pid) - began_us
        return (last[1] - first[1]) / max(last[0] - first[0], LOOK_SECONDS), used_us / many

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
    subprocess.run([python, "-m", "pip", "install", *quiet, "celery[redis]", "hiredis"], check=True, timeout=600)
    shown = subprocess.run([python, "-c", "import celery; print(celery.__version__)"], check=True, capture_output=True)
    return shown.stdout.decode().strip()


def celery(scale: Scale, kind: str) -> Iterator[Figure]:
    """Both drain for seconds, one after the other in each round."""
    theirs_many = max(scale.peers, 1)
    ours_many = max(theirs_many * OURS_A_PEERS // A_REQUEST, 1) * A_REQUEST
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskpost-peer-")))
        version = install(folder)
        peer = Peer(stack, stack.enter_context(servers.single(kind)), folder)
        ours: System = stack.enter_context(system(kind, MEMORY, "web", "worker", processes=1, children=CHILDREN))
        peer.drained(max(theirs_many // WARM_UP, 1))
        drained(ours, IN_PROCESS, max(ours_many // WARM_UP, A_REQUEST))
        rounds: list[Drained] = []
        theirs: list[tuple[float, float]] = []
        for _ in range(scale.rounds):
            theirs.append(peer.drained(theirs_many))
            rounds.append(drained(ours, IN_PROCESS, ours_many))
        against = f"Celery {version} prefork -c {CHILDREN}"
        name = f"tasks in child processes ({ours_many:,}; Celery {theirs_many:,})"
        rates = [each.a_second for each in rounds]
        yield Figure(name, ours.where, "tasks/s", rates, Goal(12, is_ratio=True), against, [rate for rate, _ in theirs])
        yield Figure(f"{name}: the goal without Celery", ours.where, "tasks/s", rates, Goal(6_000))
        # On a machine that others use too, this is the figure to compare.
        worker_us = [each.worker_us for each in rounds]
        where = ours.where
        yield Figure(f"{name}: worker CPU", where, "us/task", worker_us, None, against, [us for _, us in theirs])
