"""
What the client hands out: typed, frozen views of the API's JSON.

Owns the reading of answers into types. Refuses to know where they came from.
The fact to know: each keeps its JSON in `raw`, so that a field which a later version of the API adds can be read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypedDict, TypeVar

import msgspec

from service.client.errors import ApiError, ClientError
from service.client.options import Seconds as Seconds
from service.task import ENDED

Ending = Literal["succeeded", "failed", "cancelled", "expired"]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A typed view of one JSON object."""

    raw: dict[str, Any] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "raw"]
        return f"{type(self).__name__}({', '.join(shown)})"


class TaskError(msgspec.Struct, frozen=True):
    """Why an attempt failed."""

    type: str
    message: str
    traceback: str | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What the handler reported last. *total* and *message* are None when it did not say."""

    current: float
    total: float | None = None
    message: str | None = None
    at: datetime


class Checkpoint(msgspec.Struct, frozen=True):
    """That there is a place for the next attempt to go on from: since when, and how large it is."""

    at: datetime
    bytes: int


class FiredBy(msgspec.Struct, frozen=True):
    """The schedule that made a task, and the occurrence."""

    name: str
    fire_time: datetime


class Task(View, frozen=True, kw_only=True):
    """A task as it stood when it was read; read it again to see it move."""

    id: str
    state: str
    name: str | None = None
    args: dict[str, Any] | None = None
    url: str | None = None
    method: str | None = None
    headers: dict[str, str] | None = None
    body: Any = None
    queue: str = "default"
    namespace: str = "default"
    lane: str = ""
    priority: int = 5
    attempt: int = 0
    retries: int = 0
    crashes: int = 0
    max_crashes: int = 0
    created_at: datetime | None = None
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    timeout_seconds: float | None = None
    soft_timeout_seconds: float | None = None
    retry_for_seconds: float | None = None
    result_ttl_seconds: float | None = None
    backoff: dict[str, Any] | None = None
    result: Any = None
    error: TaskError | None = None
    unreadable: str | None = None  # why what it carries is not here: it is encrypted, and the service lacks the key
    progress: Progress | None = None
    checkpoint: Checkpoint | None = None
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    idempotency_key: str | None = None
    unique: dict[str, Any] | None = None
    debounce: dict[str, Any] | None = None
    deduplicated: bool = False
    flow: dict[str, Any] | None = None
    group: str | None = None
    callback: dict[str, Any] | None = None
    callback_of: str | None = None
    replay_of: str | None = None
    parent: str | None = None
    schedule: FiredBy | None = None
    worker: str | None = None

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.what} {self.state}>"

    @property
    def is_ended(self) -> bool:
        """Whether it will not run again. A state of a later version counts by `finished_at`."""
        return self.state in ENDED or self.finished_at is not None

    @property
    def succeeded(self) -> bool:
        return self.state == "succeeded"

    @property
    def has_result(self) -> bool:
        """Whether `result` is one; a handler that returned None has one too."""
        return "result" in self.raw

    @property
    def what(self) -> str:
        """The handler, or the method and URL that is called."""
        if self.name is None and self.unreadable is not None:
            return "(unreadable)"
        return self.name if self.name is not None else f"{self.method or 'POST'} {self.url}"


class Receipt(View, frozen=True, kw_only=True):
    """What became of one submission of many: either `task` or `problem` is set."""

    index: int
    status: int
    task: Task | None = None
    problem: ApiError | None = None

    @property
    def is_stored(self) -> bool:
        return self.task is not None

    def task_or_raise(self) -> Task:
        """The task; raises the problem, an ApiError, when there is none."""
        if self.task is None:
            raise self.problem or ApiError({"status": self.status, "detail": "the receipt names no task"})
        return self.task


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that an attempt logged. *level*: debug, info, warning, error or critical."""

    at: datetime
    level: str
    message: str


class CallTimes(View, frozen=True, kw_only=True):
    """How long the steps of a call took; None for one that was not taken, or is not known."""

    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    body_ms: float | None = None
    total_ms: float | None = None


class HttpCall(View, frozen=True, kw_only=True):
    """
    The call of a URL by an attempt. *status* is None when nothing was answered; *curl* is a command that repeats the
    call. *request* and *response* have `headers`, `body_text` or `body_base64`, and `body_bytes`.
    """

    status: int | None = None
    address: str | None = None
    reused: bool | None = None
    times: CallTimes = CallTimes()
    request: dict[str, Any] = {}
    response: dict[str, Any] = {}
    curl: str = ""


class Attempt(View, frozen=True, kw_only=True):
    """One run of a task. *outcome* and *finished_at* are None while it runs; *log* is what it has said so far."""

    attempt: int
    started_at: datetime
    finished_at: datetime | None = None
    worker: str = ""
    outcome: str | None = None
    error: TaskError | None = None
    retry_at: datetime | None = None
    reason: str | None = None
    http: HttpCall | None = None
    log: list[LogLine] = []


class Rescheduling(TypedDict, total=False):
    """What to change of a waiting task; what is None or left out stays."""

    delay_seconds: Seconds | None
    run_at: datetime | str | None
    priority: int | None


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that holds a task, and what would change it."""

    kind: str
    detail: str
    remedy: str | None = None


class Explanation(View, frozen=True, kw_only=True):
    """Why a task stands where it does. *ahead*: about how many ready tasks go before it, None when it is not ready."""

    id: str
    state: str
    summary: str
    ahead: int | None = None
    reasons: list[Reason] = []


class Worker(View, frozen=True, kw_only=True):
    """A live worker. *slots* says by lane how many tasks it can run at once."""

    id: str
    host: str = ""
    pid: int = 0
    state: str = "running"
    started_at: datetime
    seen_at: datetime
    namespace: str = "*"
    queues: list[str] = []
    handlers: list[str] = []
    processes: int = 1
    slots: dict[str, int] = {}
    running: int = 0
    version: str = ""


class Handler(View, frozen=True, kw_only=True):
    """A Python function that runs tasks, as its workers published it; options that it does not declare are None."""

    name: str
    lane: str = ""
    queue: str = "default"
    description: str | None = None
    args_schema: dict[str, Any] = {}
    result_schema: dict[str, Any] | None = None
    workers: int = 0
    retries: int | None = None
    timeout_seconds: float | None = None
    soft_timeout_seconds: float | None = None
    max_crashes: int | None = None
    backoff: dict[str, Any] | None = None
    flow: dict[str, Any] | None = None
    group: str | None = None
    unique: dict[str, Any] | None = None
    last_seen_at: datetime | None = None


class Secret(View, frozen=True, kw_only=True):
    """
    What signs calls of URLs: *secret* checks `v1` signatures, *public_key* `v1a` ones. *expires_at* is None for the
    current one.
    """

    secret: str
    public_key: str
    created_at: datetime
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<Secret {self.public_key}>"


class Page(View, frozen=True, kw_only=True):
    """Part of a list; it may be empty and still have a `next_cursor`."""

    items: list[dict[str, Any]]
    next_cursor: str | None = None


V = TypeVar("V", bound=View)


def view(kind: type[V], document: Any) -> V:
    """
    *document* as a *kind*.

    Raises:
        ClientError: it is none; the text says which field is not what the contract says.
    """
    try:
        return msgspec.convert({**document, "raw": document} if isinstance(document, dict) else document, kind)
    except msgspec.ValidationError as exc:
        raise ClientError(
            f"the answer is not a {kind.__name__} of Taskpost ({exc}); is TASKPOST_URL right, and the API no older?"
        ) from exc
