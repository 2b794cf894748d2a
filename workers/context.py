"""
What a handler may know of its attempt, and say while it runs.

A handler gets one by annotating any parameter with `Context`. It works the same in `async def` and on a
thread: what is said on another thread is carried to the event loop. It holds no connection; the runtime
passes the callbacks that report progress and log lines, and stops an attempt through `stop`; the pool sets `loop` and
`on_stop`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import orjson

from service.plain import checkpoint as checkpoint_json
from workers.outcome import Outcome, SoftTimeLimitExceeded
from workers.said import SAID, tell, wait_on
from workers.task_log import ReportLog, TaskLog

if TYPE_CHECKING:
    from workers.calling import Submitting
    from workers.handles import Handle, SyncHandle
    from workers.push.trace import Trace

P = ParamSpec("P")
T = TypeVar("T")
ReportProgress = Callable[[float, float | None, str | None], None]
# Takes a checkpoint as JSON. What it answers is a future on the event loop; elsewhere it is done when this returns.
KeepCheckpoint = Callable[[bytes], Awaitable[None]]

MAX_MESSAGE_CHARS = 1000


class Context:
    """One attempt of one task, as its handler sees it."""

    __slots__ = (
        "_checkpoint",
        "_deadline_ms",
        "_keep_checkpoint",
        "_log",
        "_report_progress",
        "_soft_limit_passed",
        "_stop",
        "_stop_seen",
        "_thread",
        "attempt",
        "backoff",
        "began",
        "busy_seconds",
        "id",
        "last_ms",
        "loop",
        "metadata",
        "name",
        "on_stop",
        "queue",
        "report_log",
        "retries",
        "tags",
        "trace",
    )

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the contract's word
        name: str = "",
        queue: str = "default",
        attempt: int = 1,
        retries: int = 0,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        deadline_ms: int = 0,
        report_progress: ReportProgress | None = None,
        report_log: ReportLog | None = None,
        backoff: Mapping[str, Any] | None = None,
        last_ms: int = 0,
        last_checkpoint: Any = None,
        keep_checkpoint: KeepCheckpoint | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.queue = queue
        self.attempt = attempt
        self.retries = retries
        self.metadata = metadata or {}
        self.tags = tags
        self.backoff = backoff
        self.last_ms = last_ms  # no retry starts after this, ms since the epoch; 0: whenever
        self.report_log = report_log
        self.on_stop: Callable[[], None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.began: float | None = None  # when the handler began, or the call of the URL, by the monotonic clock
        self.busy_seconds: float | None = None  # how long of that it computed; an async one: had the event loop
        self.trace: Trace | None = None  # of the call
        self._deadline_ms = deadline_ms
        self._report_progress = report_progress
        self._checkpoint = None if last_checkpoint is None else checkpoint_json(last_checkpoint)
        self._keep_checkpoint = keep_checkpoint
        self._thread = get_ident()
        self._log: TaskLog | None = None
        self._stop: Outcome | None = None
        self._stop_seen = False
        self._soft_limit_passed = False

    @property
    def deadline(self) -> datetime | None:
        """When the hard time limit ends this attempt, in UTC; None outside a worker."""
        return datetime.fromtimestamp(self._deadline_ms / 1000, UTC) if self._deadline_ms else None

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure now is the task's failure."""
        return self.attempt > self.retries

    @property
    def is_cancelled(self) -> bool:
        """
        Whether the attempt was asked to stop; a handler on a thread looks here now and then, and returns.
        """
        if self._stop is None:
            return False
        self._stop_seen = True
        return True

    @property
    def log(self) -> TaskLog:
        """
        A logger: `ctx.log.info("sent %d", 5)`, from any thread. Its lines carry the task's id, name and attempt, and
        are kept with the attempt.
        """
        if self._log is None:
            about = {"task_id": self.id, "task_name": self.name, "attempt": self.attempt}
            self._log = TaskLog(about, self.report_log)
        return self._log

    def progress(self, current: float, total: float | None = None, message: str | None = None) -> Awaitable[None]:
        """
        Say how far the work is: `await ctx.progress(1, 3, "rendering")`; in a `def` handler without `await`.

        What is said in quick succession is reported together, the last word winning.

        Raises:
            TypeError: *current* or *total* is not a number, or *message* no text.
            SoftTimeLimitExceeded: on a thread, once, when the soft time limit has passed: a thread can be
                told only when it asks.
        """
        _check_progress(current, total, message)
        self._tell_soft_limit()
        report = self._report_progress
        if report is not None:
            said = (current, total, message[:MAX_MESSAGE_CHARS] if message else message)
            if self.loop is None or get_ident() == self._thread:
                report(*said)
            else:
                tell(self.loop, partial(report, *said))
        return SAID

    @property
    def last_checkpoint(self) -> Any:
        """What the task's last checkpoint said, in this attempt or an earlier one, as JSON has it; None without one."""
        return None if self._checkpoint is None else orjson.loads(self._checkpoint)

    def checkpoint(self, value: Any) -> Awaitable[None]:
        """
        Keep *value* for the next attempt: `await ctx.checkpoint({"row": 17})`; in a `def` handler without `await`.

        Once this is over it is stored, and an attempt after a crash, a retry or a deploy finds it in
        `last_checkpoint`. While the store is away it waits.

        Raises:
            TypeError: *value* has no form in JSON.
            ValueError: it takes more than 256 KiB.
            asyncio.CancelledError: the lease is lost: the task is another worker's, and nothing was kept.
            SoftTimeLimitExceeded: on a thread, once, when the soft time limit has passed; *value* is kept.
        """
        text = checkpoint_json(value)
        keep = self._keep_checkpoint
        if keep is None:
            self._checkpoint = text
        elif self.loop is None or get_ident() == self._thread:
            kept = keep(text)
            if isinstance(kept, asyncio.Future):
                kept.add_done_callback(partial(self._note_kept, text))
                return kept
            self._checkpoint = text
        else:
            try:
                wait_on(self.loop, partial(keep, text))
            except asyncio.CancelledError:
                self._stop_seen = True
                raise
            self._checkpoint = text
            self._tell_soft_limit()
        return SAID

    @overload
    async def submit(
        self, handler: Submitting[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...

    @overload
    async def submit(self, handler: Submitting[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...

    async def submit(self, handler: Submitting[..., Any], /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """
        Submit a task that is a part of this one: `await ctx.submit(resize, path)`, or `resize.options(queue="slow")`.

        It carries this task's id as its `parent`. An attempt that is tried again submits again: where that matters
        give it a key, `resize.options(idempotency_key=f"{ctx.id}:{path}")`. Raises as `Handler.submit`.
        """
        return await handler.options(parent=self.id).submit(*args, **kwargs)

    @overload
    def submit_sync(
        self, handler: Submitting[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...

    @overload
    def submit_sync(self, handler: Submitting[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SyncHandle[T]: ...

    def submit_sync(self, handler: Submitting[..., Any], /, *args: Any, **kwargs: Any) -> SyncHandle[Any]:
        """As `submit`, for `def` handlers."""
        return handler.options(parent=self.id).submit_sync(*args, **kwargs)

    # ------------------------------------------------------------ for the worker

    def facts(self) -> dict[str, Any]:
        """What another process needs to make the same context, as JSON can carry it."""
        facts = {
            "id": self.id, "name": self.name, "queue": self.queue, "attempt": self.attempt, "retries": self.retries,
            "metadata": self.metadata, "tags": self.tags, "deadline_ms": self._deadline_ms, "backoff": self.backoff,
            "last_ms": self.last_ms,
        }  # fmt: skip
        if self._checkpoint is not None:
            facts["last_checkpoint"] = orjson.Fragment(self._checkpoint)
        return facts

    def stop(self, outcome: Outcome) -> None:
        """
        Ask the attempt to stop; called on the event loop. *outcome* is how it then ends.

        A coroutine is cancelled. A thread sees `is_cancelled`. An attempt that finishes without having
        noticed keeps its own outcome.
        """
        if self._stop is None:
            self._stop = outcome
            if self.on_stop is not None:
                self.on_stop()

    @property
    def stop_requested(self) -> Outcome | None:
        """The outcome an attempt that was asked to stop will have, or None."""
        return self._stop

    def mark_stop_seen(self) -> None:
        """The handler has been interrupted because of the stop."""
        self._stop_seen = True

    @property
    def stopped_as(self) -> Outcome | None:
        """The outcome of an attempt that was asked to stop and has noticed, or None."""
        return self._stop if self._stop_seen else None

    def pass_soft_limit(self) -> None:
        """Let the next `progress` or `checkpoint` on the handler's thread raise SoftTimeLimitExceeded."""
        self._soft_limit_passed = True

    # ------------------------------------------------------------ inside

    def _tell_soft_limit(self) -> None:
        if self._soft_limit_passed:
            self._soft_limit_passed = False
            raise SoftTimeLimitExceeded("the soft time limit has passed")

    def _note_kept(self, text: bytes, kept: asyncio.Future[None]) -> None:
        if not kept.cancelled() and kept.exception() is None:
            self._checkpoint = text



def _check_progress(current: float, total: float | None, message: str | None) -> None:
    for name, value in (("current", current), ("total", total)):
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise TypeError(f"progress({name}={value!r}): needs a number")
    if not isinstance(current, int | float):
        raise TypeError("progress(current=None): needs a number")
    if message is not None and not isinstance(message, str):
        raise TypeError(f"progress(message={message!r}): needs a text")
