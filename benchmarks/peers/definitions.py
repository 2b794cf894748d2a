"""
Which peers there are: their versions, how their workers start, and what Taskpost has to reach beside each.

How a peer is set up and why stands in its program under `programs/` or `bullmq/`; here are the commands. Two
processes where one cannot use both processors of a small machine, since that was fastest or no slower.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS, REQUIREMENTS, BULLMQ = HERE / "programs", HERE / "requirements", HERE / "bullmq"


@dataclass(frozen=True, slots=True)
class Peer:
    """
    *worker* starts what runs handlers that do nothing, *waiting* what runs 200 at once that sleep; None where it
    cannot. Of both there are *copies*. The goals are how many times as much Taskpost does.
    """

    name: str
    title: str
    worker: str
    waiting: str | None
    copies: int = 1
    submit_goal: float | None = None  # against FastAPI before it
    drain_goal: float | None = None
    has_web: bool = True

    @property
    def is_node(self) -> bool:
        return self.name == "bullmq"

    @property
    def requirements(self) -> Path:
        """The file with its exact versions, and those of all that it needs."""
        return BULLMQ / "package.json" if self.is_node else REQUIREMENTS / f"{self.name}.txt"

    @property
    def program(self) -> Path:
        return BULLMQ / "with_bullmq.mjs" if self.is_node else PROGRAMS / f"with_{self.name}.py"

    @property
    def version(self) -> str:
        text = self.requirements.read_text()
        if self.is_node:
            return str(json.loads(text)["dependencies"][self.name])
        found = re.search(rf"^{self.name}==(.+)$", text, re.MULTILINE | re.IGNORECASE)
        if found is None:
            raise ValueError(f"{self.requirements}: needs a line {self.name}==VERSION")
        return found[1]

    def __str__(self) -> str:
        return f"{self.title} {self.version}"


CELERY = "celery --quiet -A with_celery worker --loglevel error --without-gossip --without-mingle --without-heartbeat"
DRAMATIQ = "dramatiq with_dramatiq --skip-logging"
TASKIQ = "taskiq worker with_taskiq:broker --log-level ERROR"
BULLMQ_WORKER = "node with_bullmq.mjs worker"
WAKAQ = "wakaq-worker --app with_wakaq.wakaq"
ARQ = "arq with_arq.WorkerSettings"
ALL = (
    # Of two and four children, four were faster. Threads for what waits: its children would be 200 processes.
    Peer("celery", "Celery", f"{CELERY} -c 4", f"{CELERY} -P threads -c 200", submit_goal=25),
    Peer("dramatiq", "dramatiq", f"{DRAMATIQ} -p 2 -t 8", f"{DRAMATIQ} -p 2 -t 100", drain_goal=5),
    Peer("taskiq", "taskiq", f"{TASKIQ} -w 2", f"{TASKIQ} -w 2 --max-async-tasks 100", submit_goal=6),
    Peer("arq", "arq", ARQ, ARQ, 2, submit_goal=6),
    # A worker of RQ is a process that does one task at a time: 200 of them are no sensible configuration.
    Peer("rq", "RQ", "rq worker-pool -q -n 2 -w rq.worker.SimpleWorker -u {url} default", None),
    Peer(
        "huey", "huey", "huey_consumer with_huey.huey -q -k process -w 4",
        "huey_consumer with_huey.huey -q -k thread -w 200",
    ),
    Peer("wakaq", "WakaQ", WAKAQ, WAKAQ, drain_goal=2.5),
    Peer("bullmq", "BullMQ", f"{BULLMQ_WORKER} 100", f"{BULLMQ_WORKER} 200", drain_goal=1.5, has_web=False),
)  # fmt: skip
PEERS: Mapping[str, Peer] = {peer.name: peer for peer in ALL}
