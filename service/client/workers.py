"""
Workers as the client hands them out: one whole, with its processes and what they run, and what it was told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypedDict

import msgspec

from service.client.types import View, Worker


class WorkerSizes(TypedDict, total=False):
    """How much a worker is to run at once: its processes, and what each of them runs. None is the same as left out."""

    processes: int | None
    concurrency: int | None
    threads: int | None
    children: int | None
    url_concurrency: int | None


class WorkerSlots(msgspec.Struct, frozen=True):
    """The slots of one lane of a process; *busy* may be over *size* for a while after a resize."""

    size: int
    busy: int


class WorkerChild(msgspec.Struct, frozen=True):
    """A child process, which runs one `def` handler at a time. *tasks*: so many so far."""

    pid: int
    rss_bytes: int | None
    tasks: int


class WorkerProcess(msgspec.Struct, frozen=True):
    """A process of a worker. *rss_bytes* is None where the machine does not say."""

    number: int
    state: str
    pid: int | None = None
    rss_bytes: int | None = None
    slots: Mapping[str, WorkerSlots] = {}
    heartbeat_age_seconds: float | None = None
    blocked_seconds: float = 0
    children: Sequence[WorkerChild] = ()


class WorkerTask(msgspec.Struct, frozen=True):
    """A task that a worker runs, in its process number *process*."""

    id: str
    name: str
    queue: str
    lane: str
    attempt: int
    started_at: datetime
    process: int
    overdue_seconds: float = 0
    heartbeat_age_seconds: float | None = None


class WorkerCommand(View, frozen=True, kw_only=True):
    """What a worker was told; as `last_command` of a worker, what it obeyed last."""

    id: str
    worker: str
    command: str
    sent_at: datetime
    drain_seconds: float | None = None
    processes: int | None = None
    concurrency: int | None = None
    threads: int | None = None
    children: int | None = None
    url_concurrency: int | None = None


class WorkerDetail(Worker, frozen=True, kw_only=True):
    """A live worker as it was at `seen_at`. *tasks* are at most 200, those that have run for longest."""

    versions: Mapping[str, str] = {}
    process_list: Sequence[WorkerProcess] = ()
    tasks: Sequence[WorkerTask] = ()
    last_command: WorkerCommand | None = None
