"""
One attempt, as a pipeline: find the handler, bind its arguments, call it, decide what the outcome means.

Nothing here writes to Redis: the answer is a report that the lease loop sends. What an outcome means is decided in
`service.store.decisions`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import orjson

from service.completion import token_of, url_of
from service.errors import InvalidArguments, PayloadUnreadable, TaskpostError
from service.figures import AGAIN
from service.ids import encode_id
from service.meter import Meter
from service.outcome import Accepted, PutOff
from service.settings import Settings
from service.slow import SlowAttempt
from service.store import Store
from service.store.decisions import Again, Decision, HandOver, decide, report_of, row_of
from service.store.endings import Ending
from service.store.gone import without_query
from service.task import Leased, options_of
from service.telemetry import Tracer
from workers.context import Context, KeepCheckpoint, ReportProgress
from workers.handler import Handler
from workers.log_sender import Unsent
from workers.outcome import Cancelled, Deferred, Failed, Outcome, Succeeded, failed
from workers.pools import Pool
from workers.push.answer import GONE
from workers.push.client import PushClient
from workers.push.gate import Gate, Visit
from workers.registry import Registry
from workers.slow import Slowness
from workers.task_log import ReportLog

log = logging.getLogger("taskpost.worker")

UNKNOWN_HANDLER_SECONDS = 2.0
UNREADABLE_SECONDS = 15.0
STORE_SECONDS = 2.0
OPTION_NAMES = frozenset(options_of({}, None, Settings()))


class Attempt:
    """An attempt in progress: the task, its limits, and the way to stop it."""

    __slots__ = (
        "ctx", "deadline_ms", "decision", "ended_ms", "handler", "is_handed_back", "log", "options", "progress", "slot",
        "slow", "stop_reason", "task",
    )  # fmt: skip

    def __init__(self, task: Leased, handler: Handler[..., Any] | None, options: Mapping[str, Any], slot: int) -> None:
        self.task, self.handler, self.options, self.slot = task, handler, options, slot
        self.deadline_ms = task.leased_ms + int(options["timeout_seconds"] * 1000)
        self.progress: dict[str, Any] | None = None
        self.log: Unsent | None = None  # what it logged and Redis may not have
        self.ctx: Context | None = None
        self.slow: SlowAttempt | None = None  # once it has ended, if it was slow
        self.stop_reason = ""
        self.is_handed_back = False
        self.decision: Decision | None = None
        self.ended_ms = 0

    def context(self, ears: Ears) -> Context:
        """What its handler may know; made once."""
        submission = self.task.submission
        last_ms = 0
        if self.handler is not None and not self.handler.is_bare:
            last_ms = self.task.due_ms + int(self.options["retry_for_seconds"] * 1000)
        self.ctx = Context(
            id=encode_id(self.task.id),
            name=submission.get("name") or submission["url"],
            queue=self.task.queue,
            attempt=self.task.attempt,
            retries=self.options["retries"],
            metadata=submission.get("metadata"),
            tags=submission.get("tags", ()),
            deadline_ms=self.deadline_ms,
            report_progress=ears.progress(self),
            report_log=ears.log(self),
            keep_checkpoint=ears.checkpoint(self),
            last_checkpoint=orjson.Fragment(self.task.checkpoint) if self.task.checkpoint else None,
            backoff=self.options["backoff"],
            last_ms=last_ms,
        )
        return self.ctx


@dataclass(frozen=True, slots=True)
class Ears:
    """Who hears what handlers say while they run: each makes what the context of one attempt calls; None: nobody."""

    progress: Callable[[Attempt], ReportProgress | None]
    log: Callable[[Attempt], ReportLog | None]
    checkpoint: Callable[[Attempt], KeepCheckpoint | None]


# An endpoint says what it has to say through its completion URL.
DEAF = Ears(progress=lambda _: None, log=lambda _: None, checkpoint=lambda _: None)


class Pipeline:
    """What attempts need: handlers, pools, the client for call-outs. One for each worker process."""

    def __init__(
        self,
        registry: Registry,
        pools: Mapping[str, Pool],
        push: PushClient,
        settings: Settings,
        worker: str,
        store: Store | None = None,
        gate: Gate | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """
        Without a *store*, as in tests, no URL is known to be gone, and none can finish its task later; without a *gate*
        every endpoint may be called.
        """
        self.registry, self.pools, self.push, self.settings, self.worker = registry, pools, push, settings, worker
        self.gone = None if store is None else store.gone
        self.secret = None if store is None else store.completions.secret
        self.queues = None if store is None else store.queue_book
        self.memory = None if store is None else store.memory
        self.meter = Meter() if store is None else store.meters.meter
        self.gate, self.tracer = gate, tracer
        self.slowness = Slowness(settings, registry, worker, store)
        self.defaults: dict[str, dict[str, Any]] = {}

    def prepare(self, task: Leased, slot: int) -> Attempt:
        """Find the handler and the options in force."""
        submission = task.submission
        name = submission.get("name", "")
        handler = self.registry.find(name)
        of_queue = self.queues.known(task.namespace, task.queue) if self.queues else None
        if not of_queue and OPTION_NAMES.isdisjoint(submission):
            kind = name or ("callback" if "callback_of" in submission else "url")  # no URL task has a name
            options = self.defaults.get(kind)
            if options is None:
                published = handler.published() if handler else None
                options = self.defaults[kind] = options_of(submission, published, self.settings)
        else:
            options = options_of(submission, handler.published() if handler else None, self.settings, of_queue)
        return Attempt(task, handler, options, slot)

    async def run_attempt(self, attempt: Attempt, ears: Ears, now_ms: Callable[[], int]) -> Decision:
        """Run *attempt* to its end, and decide; with a span, while traces are asked for."""
        if self.tracer is None:
            return await self.attempted(attempt, ears, now_ms)
        with self.tracer.attempt(attempt.task) as span:
            decision = await self.attempted(attempt, ears, now_ms)
            self.tracer.decided(span, *told_of(decision))
            return decision

    async def attempted(self, attempt: Attempt, ears: Ears, now_ms: Callable[[], int]) -> Decision:
        """Run *attempt* to its end, and decide. What is past its time does not start."""
        if 0 < attempt.task.expires_ms <= now_ms():
            return Ending("expired")
        if (fault := attempt.task.unreadable) is not None:
            return unreadable(attempt, fault, now_ms(), self.worker)
        if attempt.task.lane == "url":
            outcome = await self.call_url(attempt, now_ms)
        elif attempt.handler is None:
            return unknown(attempt, now_ms())
        else:
            outcome = await self.call_handler(attempt, attempt.handler, ears)
        return self.decide(attempt, outcome, now_ms())

    def decide(self, attempt: Attempt, outcome: Outcome | Accepted | PutOff, now_ms: int) -> Decision:
        """What *outcome* means for the task of *attempt*."""
        return decide(attempt.task, outcome, attempt.options, now_ms, self.worker, random.random)

    async def call_url(self, attempt: Attempt, now_ms: Callable[[], int]) -> Outcome | Accepted | PutOff:
        """Call the URL, unless it is gone or its endpoint may not be called now."""
        task, gone = attempt.task, self.gone
        url = task.submission["url"]
        if gone is not None and (reason := await gone.confirmed(task.namespace, url, now_ms())):
            return failed("UrlDisabled", reason, retry=False)
        attempt.context(DEAF)  # from here on it can be told to stop
        visit = None if self.gate is None else await self.gate.enter(task, attempt.options, now_ms())
        if not isinstance(visit, Visit):
            return await self.visited(attempt, now_ms) if visit is None else visit
        outcome: Outcome | Accepted | None = None
        try:
            outcome = await self.visited(attempt, now_ms)
        finally:
            visit.leave(outcome)
        return outcome

    async def visited(self, attempt: Attempt, now_ms: Callable[[], int]) -> Outcome | Accepted:
        """What the call of the URL answers; one that says that it is gone is not called again."""
        task, gone = attempt.task, self.gone
        url = task.submission["url"]
        try:
            later = await self.completion_url(task)
        except TaskpostError as exc:  # no fault of the task's
            return Deferred(STORE_SECONDS, f"{exc}")
        if attempt.ctx is not None:
            attempt.ctx.began = monotonic()
        outcome = await self.push.call(task, attempt.options, attempt.deadline_ms, attempt.ctx, later)
        self.meter.count("taskpost_http_attempts_total", answer_of(outcome))
        if gone is not None and isinstance(outcome, Failed) and (outcome.http or {}).get("status") == GONE:
            try:
                await gone.disable(task.namespace, url, now_ms())
            except TaskpostError as exc:
                log.warning("%s is gone, and only this process knows: %s", without_query(url), exc)
        return outcome

    async def completion_url(self, task: Leased) -> str | None:
        """Where the endpoint may end this attempt later; None without a store. Raises StoreUnavailable."""
        if self.secret is None:
            return None
        return url_of(self.settings.public_url, token_of(await self.secret.get(), task.id, task.token))

    async def call_handler(self, attempt: Attempt, handler: Handler[..., Any], ears: Ears) -> Outcome:
        args = attempt.task.submission.get("args") or {}
        try:
            # An executor binds them itself: what the conversion makes could not be sent to it.
            kwargs = args if handler.lane == "process" else handler.bind(args)
        except InvalidArguments as exc:
            return failed("InvalidArguments", str(exc), retry=False)
        pool = self.pools.get(handler.lane)
        if pool is None:  # its task was submitted for another lane, and this worker has no room in its own
            return Deferred(UNKNOWN_HANDLER_SECONDS, f"a worker had no room in the lane {handler.lane!r}")
        options = attempt.options
        ctx = attempt.context(ears)
        return await pool.call(handler, kwargs, ctx, options["timeout_seconds"], options["soft_timeout_seconds"])

    def cancelled(self, attempt: Attempt, now_ms: int) -> Ending:
        """The end of a task that was cancelled while it ran."""
        row = row_of(attempt.task, Cancelled(attempt.stop_reason), "cancelled", now_ms, self.worker)
        return Ending("cancelled", row=row)

    def report(self, attempt: Attempt, decision: Decision, now_ms: int) -> list[bytes]:
        """*decision* as step.lua takes it; *attempt* keeps it until that is recorded."""
        attempt.decision, attempt.ended_ms = decision, now_ms
        if attempt.log is not None and not isinstance(decision, HandOver):
            decision.log = attempt.log.batch()
        if isinstance(decision, Ending):
            decision.progress = attempt.progress
            if self.memory is not None:
                self.memory.relieve(decision)
        return report_of(attempt.task, decision, attempt.options, self.settings, self.worker, now_ms)


def told_of(decision: Decision) -> tuple[str, str]:
    """What a trace tells of *decision*: the state, or how the task goes on; and the type of its error."""
    if isinstance(decision, Ending):
        return decision.state, (decision.error or {}).get("type", "")
    if isinstance(decision, Again):
        return AGAIN[decision.kind.decode()], decision.error_type
    return "handed_over", ""


def answer_of(outcome: Outcome | Accepted) -> str:
    """What the endpoint answered, as metrics tell it: `2xx` … `5xx`, or `none`."""
    if isinstance(outcome, Succeeded | Accepted):
        return "2xx"
    status = (getattr(outcome, "http", None) or {}).get("status")
    return f"{status // 100}xx" if status else "none"


def unreadable(attempt: Attempt, fault: PayloadUnreadable, now_ms: int, worker: str) -> Decision:
    """
    What the task carries does not open here. Without its key it goes back for a while, since a worker that has it may
    come or be started again; what was changed in Redis fails at once.
    """
    outcome: Outcome = failed("PayloadUnreadable", fault.detail, retry=False)
    if fault.is_missing:
        seconds = UNREADABLE_SECONDS * (0.5 + random.random())
        outcome = Deferred(seconds, fault.detail, kind="PayloadUnreadable")
    return decide(attempt.task, outcome, attempt.options, now_ms, worker, random.random)


def unknown(attempt: Attempt, now_ms: int) -> Decision:
    """There is no such handler here; another worker may have it, so the task goes back for a moment."""
    seconds = UNKNOWN_HANDLER_SECONDS * (0.5 + random.random())
    reason = f"no worker had a handler called {attempt.task.submission.get('name')!r}"
    decision = decide(attempt.task, Deferred(seconds, reason), attempt.options, now_ms, "", random.random)
    if isinstance(decision, Again):
        decision.row = None  # a rolling deploy would fill the list of attempts
    return decision
