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
class Web:
    """What submits a task to a peer over HTTP: *title*, how it starts, and *body* posted to *path*."""

    title: str
    command: str
    path: str
    body: str


@dataclass(frozen=True, slots=True)
class Peer:
    """
    *worker* starts what runs handlers that do nothing, *waiting* what runs 200 at once that sleep; None where it
    cannot. Of both there are *copies*; *calls* says that it has a task that calls a URL. The goals are how many times
    as much Taskpost does.
    """

    name: str
    title: str
    worker: str
    waiting: str | None
    copies: int = 1
    webs: tuple[Web, ...] = ()
    submit_goal: float | None = None
    drain_goal: float | None = None
    calls: bool = False

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

    def version(self, of: str) -> str:
        text = self.requirements.read_text()
        if self.is_node:
            return str(json.loads(text)["dependencies"][of])
        found = re.search(rf"^{of}==(.+)$", text, re.MULTILINE | re.IGNORECASE)
        if found is None:
            raise ValueError(f"{self.requirements}: needs a line {of}==VERSION")
        return found[1]

    def __str__(self) -> str:
        return f"{self.title} {self.version(self.name)}"


NOTHING = '{"name":"nothing","args":{"a":2,"b":3}}'
UVICORN = "uvicorn web:app --port {port} --loop uvloop --http httptools --no-access-log --log-level error"
FASTAPI = (Web("FastAPI", UVICORN, "/v1/tasks", NOTHING),)
FLOWER = Web(
    "Flower", "celery -A with_celery flower --address=127.0.0.1 --port={port} --logging=error",
    "/api/task/send-task/nothing", '{"kwargs":{"a":2,"b":3}}',
)  # fmt: skip
CELERY = "celery --quiet -A with_celery worker --loglevel error --without-gossip --without-mingle --without-heartbeat"
DRAMATIQ = "dramatiq with_dramatiq --skip-logging"
TASKIQ = "taskiq worker with_taskiq:broker --log-level ERROR"
HUEY = "huey_consumer with_huey.huey -q"
RQ = "rq worker-pool -q -n 2 -w rq.worker.SimpleWorker -u {url} default"
ARQ = "arq with_arq.WorkerSettings --custom-log-dict with_arq.LOGGING"
WAKAQ = "wakaq-worker --app with_wakaq.wakaq"
BULLMQ_WORKER = "node with_bullmq.mjs worker"
ALL = (
    # Of two and four children, four were faster. Threads for what waits: its children would be 200 processes.
    Peer(
        "celery", "Celery", f"{CELERY} -c 4", f"{CELERY} -P threads -c 200", webs=(*FASTAPI, FLOWER), submit_goal=25,
        calls=True,
    ),
    Peer("dramatiq", "dramatiq", f"{DRAMATIQ} -p 2 -t 8", f"{DRAMATIQ} -p 2 -t 100", webs=FASTAPI, drain_goal=5),
    Peer("taskiq", "taskiq", f"{TASKIQ} -w 2", f"{TASKIQ} -w 2 --max-async-tasks 100", webs=FASTAPI, submit_goal=6),
    Peer("arq", "arq", ARQ, ARQ, copies=2, webs=FASTAPI, submit_goal=6, calls=True),
    # A worker of RQ is a process that does one task at a time: 200 of them are no sensible configuration.
    Peer("rq", "RQ", RQ, None, webs=FASTAPI),
    Peer("huey", "huey", f"{HUEY} -k process -w 4", f"{HUEY} -k thread -w 200", webs=FASTAPI),
    Peer("wakaq", "WakaQ", WAKAQ, WAKAQ, webs=FASTAPI, drain_goal=2.5),
    Peer("bullmq", "BullMQ", f"{BULLMQ_WORKER} 100", f"{BULLMQ_WORKER} 200", drain_goal=1.5),
)  # fmt: skip
PEERS: Mapping[str, Peer] = {peer.name: peer for peer in ALL}
