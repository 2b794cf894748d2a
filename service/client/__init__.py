"""
The Python client of the HTTP API: `Taskpost` for synchronous code, `AsyncTaskpost` for asyncio.

    from service.client import Taskpost

    with Taskpost() as taskpost:
        task = taskpost.submit("demo.add", {"a": 2, "b": 3}, wait=10)
        print(task.state, task.result)

Both find the API by TASKPOST_URL and TASKPOST_API_KEY unless told otherwise. `calls` and `many` know what is said,
without a network; `blocking` and `asynchronous` only send and sleep. This package and `workers/push` are the door
to httpx.

The fact to know: a request that got no answer, or a 503, is repeated up to *retries* times. So that a repeated
submission never makes a second task, each carries an idempotency key: yours, or one made up for that call. With
`retries=0` nothing is repeated and no key is made up.
"""

from __future__ import annotations

from service.client.asynchronous import AsyncTaskpost
from service.client.blocking import Taskpost
from service.client.bulk import Bulk, BulkCount, Edits
from service.client.completion import AsyncCompletion, Completion, later
from service.client.endpoints import Endpoint
from service.client.errors import (
    ApiError,
    ClientError,
    ConnectFailed,
    NoAnswer,
    NotFinished,
    NotFound,
    Refused,
    ResultGone,
    StateConflict,
    TaskFailed,
    Unauthorized,
    Unavailable,
    VersionConflict,
    WaitTimedOut,
)
from service.client.flows import Flow, Group
from service.client.keys import ApiKey, AuditEntry, NewApiKey, RateLimit
from service.client.live import Event, EventFilters, ReadToken
from service.client.options import Options, Submission
from service.client.queues import Queue, QueueScale, QueueSettings, Route
from service.client.schedules import Backfill, BackfillCount, Occurrence, Preview, Schedule, ScheduleRun
from service.client.search import Filters
from service.client.statistics import Overview, Statistics
from service.client.types import (
    Attempt,
    CallTimes,
    Checkpoint,
    Explanation,
    FiredBy,
    Handler,
    HttpCall,
    LogLine,
    Progress,
    Receipt,
    Secret,
    Task,
    TaskError,
    Worker,
)
from service.client.workers import WorkerCommand, WorkerDetail

__all__ = [
    "ApiError",
    "ApiKey",
    "AsyncCompletion",
    "AsyncTaskpost",
    "Attempt",
    "AuditEntry",
    "Backfill",
    "BackfillCount",
    "Bulk",
    "BulkCount",
    "CallTimes",
    "Checkpoint",
    "ClientError",
    "Completion",
    "ConnectFailed",
    "Edits",
    "Endpoint",
    "Event",
    "EventFilters",
    "Explanation",
    "Filters",
    "FiredBy",
    "Flow",
    "Group",
    "Handler",
    "HttpCall",
    "LogLine",
    "NewApiKey",
    "NoAnswer",
    "NotFinished",
    "NotFound",
    "Occurrence",
    "Options",
    "Overview",
    "Preview",
    "Progress",
    "Queue",
    "QueueScale",
    "QueueSettings",
    "RateLimit",
    "ReadToken",
    "Receipt",
    "Refused",
    "ResultGone",
    "Route",
    "Schedule",
    "ScheduleRun",
    "Secret",
    "StateConflict",
    "Statistics",
    "Submission",
    "Task",
    "TaskError",
    "TaskFailed",
    "Taskpost",
    "Unauthorized",
    "Unavailable",
    "VersionConflict",
    "WaitTimedOut",
    "Worker",
    "WorkerCommand",
    "WorkerDetail",
    "later",
]
