"""
A peer that runs: its worker, its submitter and FastAPI before it, each a process from its own environment.

Everything a process says goes to a file, whose end is in the error when it ends too soon. Nothing of a peer outlives
the block that holds it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from benchmarks import machine
from benchmarks.peers.definitions import PROGRAMS, Peer, Web
from benchmarks.peers.environment import environment
from benchmarks.system import is_listening
from service.children import bind_to_parent
from tests import servers
from tests.servers import Server

START_SECONDS = 60.0
DRAIN_SECONDS = 120.0


class PeerFailed(RuntimeError):
    """What a peer did not do, and the last lines it said."""


class Running:
    """*peer* on *server*; `stamps_ns` is when its handlers ran."""

    def __init__(self, peer: Peer, server: Server, stack: ExitStack) -> None:
        self.peer, self.server, self.stack = peer, server, stack
        self.place = environment(peer)
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskpost-peer-")))
        self.stamps, self.log = self.folder / "stamps", self.folder / "log"
        self.stamps.touch()
        self.env = {**os.environ, "PEER_URL": server.url, "PEER_STAMPS": str(self.stamps)}
        self.env |= {"FLOWER_UNAUTHENTICATED_API": "1"}
        self.env |= {"PEER_MODULE": f"with_{peer.name}", "PYTHONPATH": str(PROGRAMS), "PYTHONWARNINGS": "ignore"}
        self.workers: list[subprocess.Popen[bytes]] = []
        self.submitter: subprocess.Popen[bytes] | None = None

    def start(self, command: str, *, port: int = 0, **pipes: Any) -> subprocess.Popen[bytes]:
        program, *words = command.format(url=self.server.url, port=port).split()
        path = self.place / "bin" / program
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                [str(path) if path.exists() else program, *words], cwd=self.place if self.peer.is_node else self.folder,
                env=self.env, stderr=log, preexec_fn=bind_to_parent(), **({"stdout": log} | pipes),
            )  # fmt: skip
        self.stack.callback(kill, started)
        return started

    def start_worker(self, command: str) -> None:
        """Start all copies, and wait until a task has run."""
        self.workers = [self.start(command) for _ in range(self.peer.copies)]
        ran = self.ran()
        self.submit("nothing", 1)
        self.until(ran + 1, START_SECONDS)

    def kill_worker(self) -> None:
        """SIGKILL to all its processes."""
        while self.workers:
            kill(self.workers.pop())

    def worker_cpu_us(self) -> float:
        """Processor time of all its processes."""
        return sum(machine.cpu_us(worker.pid) for worker in self.workers)

    def signal(self, number: signal.Signals) -> None:
        for worker in self.workers:
            send(machine.family(self.alive(worker).pid), number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def ask(self, **asked: Any) -> dict[str, Any]:
        """What the submitter answers."""
        if self.submitter is None:
            of_python = f"python {PROGRAMS / 'submitter.py'} {self.env['PEER_MODULE']}"
            command = "node with_bullmq.mjs submitter" if self.peer.is_node else of_python
            self.submitter = self.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.line()
        pipe = self.submitter.stdin
        assert pipe
        pipe.write(orjson.dumps(asked) + b"\n")
        pipe.flush()
        return dict(orjson.loads(self.line()))

    def line(self) -> bytes:
        assert self.submitter
        assert self.submitter.stdout
        if not (line := self.submitter.stdout.readline()):
            raise PeerFailed(f"{self.peer}: its submitter ended: {self.said()}")
        return line

    def submit(self, name: str, many: int, **args: Any) -> None:
        self.ask(submit=name, many=many, args=args or None)

    def web(self, web: Web) -> tuple[int, int]:
        """Start it: (the port where it listens, its process id)."""
        port = servers.free_port()
        started = self.start(web.command, port=port)

        def claim() -> bool:
            self.alive(started)
            return is_listening(port)

        servers.until(claim, f"{web.title} before {self.peer} listens")
        return port, started.pid

    def ran(self) -> int:
        """How many stamps there are."""
        return self.stamps.stat().st_size // 8

    def stamps_ns(self, first: int) -> list[int]:
        """All but the *first* ones, in order of time."""
        return read_stamps(self.stamps)[first:]

    def until(self, many: int, seconds: float = DRAIN_SECONDS) -> None:
        """Until so many handlers ran. Raises PeerFailed."""
        deadline = time.monotonic() + seconds
        while self.ran() < many:
            for worker in self.workers:
                self.alive(worker)
            if time.monotonic() > deadline:
                raise PeerFailed(f"{self.peer}: {self.ran()} of {many} tasks ran in {seconds:g} s: {self.said()}")
            time.sleep(0.02)

    def alive(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        if process.poll() is not None:
            raise PeerFailed(f"{self.peer}: a process ended with status {process.returncode}: {self.said()}")
        return process

    def said(self) -> str:
        return self.log.read_text(errors="replace").strip()[-600:] or "it said nothing"


def read_stamps(path: Path) -> list[int]:
    """Stamps in order of time; those of many processes lie in the file as they were written, nearly so."""
    written = path.read_bytes()
    return sorted(int.from_bytes(written[at : at + 8], "little") for at in range(0, len(written) // 8 * 8, 8))


def rate(stamps_ns: list[int]) -> float:
    """Tasks a second, from the first that ran on."""
    return (len(stamps_ns) - 1) / max(stamps_ns[-1] - stamps_ns[0], 1) * 1e9


def send(pids: list[int], number: signal.Signals) -> None:
    """To those that are still there: a peer may replace its processes at any time."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(process: subprocess.Popen[bytes]) -> None:
    """
    SIGKILL to it first, so that it starts nobody anew, and to all that descend from it. At return their connections
    are closed: Redis gives a task to whoever still listens, dying or not.
    """
    pids = machine.family(process.pid) if process.poll() is None else []
    send(pids, signal.SIGKILL)
    process.wait()
    servers.until(lambda: not any(map(is_alive, pids)), "killed processes are gone")


def is_alive(pid: int) -> bool:
    """Whether it still has files and connections: a zombie has none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def running(peer: Peer, kind: str) -> Iterator[Running]:
    """*peer* on a server of its own of that *kind*; its processes are started when they are needed."""
    with ExitStack() as stack:
        yield Running(peer, stack.enter_context(servers.single(kind)), stack)
