"""
Eager mode: a task that is submitted runs at once, in the process that submits it, through a worker's own pipeline.

`with eager():`, or TASKPOST_EAGER=1. Arguments, middleware, dependencies, hooks, retries and results are those of a
worker; a delay, a backoff or a `Defer` takes no time, and a clock of its own moves on by as much. Not so: nothing is
sent or stored, queues, priorities, idempotency keys and callbacks mean nothing, and a `def` has no time limits.
The fact to know: a `def` handler runs in the calling thread, so that it sees its transaction; awaited from a loop it
runs in a thread beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import orjson

from service.client import StateConflict, Task
from service.client.submission import document, encode
from service.client.types import view
from service.ids import new_ids
from service.redaction import Redaction
from service.settings import Settings
from service.showing import show
from service.store.decisions import Again
from service.store.endings import Ending
from service.task import DEFAULT_NAMESPACE, DEFAULT_PRIORITY, Leased, Record, Run, Snapshot
from workers import doors
from workers.around import call_sync
from workers.outcome import Outcome
from workers.pools import Pool
from workers.pools.loop import LoopPool
from workers.registry import Registry
from workers.run import Ears, Pipeline
from workers.said import SAID

if TYPE_CHECKING:
    from service.client.calls import Steps
    from workers.context import Context
    from workers.handler import Handler

T = TypeVar("T")

WORKER = "eager"
MOST_ATTEMPTS = 10_000  # a task that defers itself without end
STATES = {"succeeded": b"S", "failed": b"F", "cancelled": b"C"}


@contextmanager
def eager() -> Iterator[None]:
    """While it lasts, every task submitted from Python in this process runs at once; its handle has ended."""
    with doors.standing_in(EAGER):
        yield


class PlacePool:
    """Runs `def` handlers where they are submitted; beside the loop when there is one."""

    def __init__(self, max_result_bytes: int) -> None:
        self.max_result_bytes = max_result_bytes

    async def call(
        self,
        handler: Handler[..., Any],
        kwargs: dict[str, Any],
        ctx: Context,
        timeout: float,  # noqa: ARG002 - nobody could keep it
        soft_timeout: float | None = None,  # noqa: ARG002
    ) -> Outcome:
        """Run *handler* once; see `Pool.call`."""
        if is_on_loop():
            return await asyncio.to_thread(call_sync, handler, kwargs, ctx, self.max_result_bytes)
        return call_sync(handler, kwargs, ctx, self.max_result_bytes)


class EagerRun:
    """One task from its submission to its end."""

    def __init__(self, submission: Mapping[str, Any], handler: Handler[..., Any]) -> None:
        self.settings = Settings.from_env()
        # Through JSON, as it would go: what cannot be sent fails here too.
        self.submission: dict[str, Any] = orjson.loads(encode(document(submission)))
        self.queue = self.submission.pop("queue", handler.queue)
        self.priority = self.submission.pop("priority", DEFAULT_PRIORITY)
        self.handler = handler
        self.now_ms = int(time.time() * 1000)
        (self.id,) = new_ids(0, 1, self.now_ms)
        registry = Registry()
        registry.add(handler)
        most = self.settings.max_result_bytes
        place = PlacePool(most)
        pools: dict[str, Pool] = {"async": LoopPool(max_result_bytes=most), "thread": place, "process": place}
        self.pipeline = Pipeline(registry, pools, NO_CALLS, self.settings, WORKER)
        self.checkpoint = b""
        self.ears = Ears(progress=lambda _: None, log=lambda _: None, checkpoint=lambda _: self.keep)

    async def run(self) -> Task:
        """Attempt after attempt, without waiting; the ended task."""
        attempt_number = 1
        for _ in range(MOST_ATTEMPTS):
            attempt = self.pipeline.prepare(self.leased(attempt_number), 0)
            decision = await self.pipeline.run_attempt(attempt, self.ears, lambda: self.now_ms)
            if isinstance(decision, Ending):
                return self.ended(decision, attempt.options, attempt_number)
            assert isinstance(decision, Again)  # noqa: S101 - there is no third
            self.now_ms += decision.delay_ms
            attempt_number += decision.kind == b"R"
        raise RuntimeError(f"{self.handler.name} came back {MOST_ATTEMPTS} times and has not ended")

    def keep(self, checkpoint: bytes) -> Awaitable[None]:
        """The next attempt goes on from there."""
        self.checkpoint = checkpoint
        return SAID

    def leased(self, attempt: int) -> Leased:
        return Leased(
            id=self.id,
            token=b"",
            raw=b"",
            submission=self.submission,
            queue=self.queue,
            namespace=DEFAULT_NAMESPACE,
            priority=self.priority,
            lane=self.handler.lane,
            attempt=attempt,
            crashes=0,
            leased_ms=self.now_ms,
            checkpoint=self.checkpoint,
        )

    def ended(self, ending: Ending, options: Mapping[str, Any], attempt: int) -> Task:
        """The task as the API would show it."""
        outcome: dict[str, Any] = {"attempt": attempt, "crashes": 0, "started_ms": self.now_ms, "worker": WORKER}
        if ending.result is not None:
            outcome["result"] = orjson.loads(ending.result)
        if ending.error is not None:
            outcome["error"] = ending.error
        record = Record(
            state=STATES[ending.state],
            generation=0,
            priority=self.priority,
            lane=self.handler.lane,
            time_ms=self.now_ms,
            max_crashes=options["max_crashes"],
            queue=self.queue,
            namespace=DEFAULT_NAMESPACE,
            submission=self.submission,
            outcome=outcome,
        )
        run: Run | None = None
        return view(Task, show(Snapshot(self.id, record, run, None, self.now_ms), options, Redaction()))


class NoCalls:
    """Stands where a worker calls URLs; handlers cannot be sent there."""

    async def call(self, *_: Any) -> NoReturn:
        raise RuntimeError("a URL task cannot run eagerly")


NO_CALLS: Any = NoCalls()


class EndedCalls:
    """What a handle may still ask of a task that has ended: nothing but to cancel it, which comes too late."""

    def cancel(self, id_: str) -> Steps[Task]:
        detail = f"task {id_} has ended, so it cannot be cancelled"
        yield from ()
        raise StateConflict({"type": "/problems/state-conflict", "status": 409, "detail": detail})


class EagerDoor:
    """Runs what synchronous code submits."""

    calls = EndedCalls()

    def submit(self, submission: dict[str, Any], handler: Handler[..., Any]) -> Task:
        return to_its_end(EagerRun(submission, handler).run(), is_async=handler.lane == "async")

    def submit_many(self, submissions: list[dict[str, Any]], handler: Handler[..., Any]) -> list[Task]:
        return [self.submit(one, handler) for one in submissions]

    def run(self, steps: Steps[T]) -> T:
        return stepped(steps)


class EagerAsyncDoor:
    """Runs what asyncio code submits."""

    calls = EndedCalls()

    async def submit(self, submission: dict[str, Any], handler: Handler[..., Any]) -> Task:
        # A task of its own: the limits of the handler are kept by cancelling, which is nobody else's.
        return await asyncio.create_task(EagerRun(submission, handler).run())

    async def submit_many(self, submissions: list[dict[str, Any]], handler: Handler[..., Any]) -> list[Task]:
        return [await self.submit(one, handler) for one in submissions]

    async def run(self, steps: Steps[T]) -> T:
        return stepped(steps)


class Eager:
    """Stands in for the API."""

    def sync(self) -> EagerDoor:
        return EagerDoor()

    def asynchronous(self) -> EagerAsyncDoor:
        return EagerAsyncDoor()


EAGER = Eager()


def stepped(steps: Steps[T]) -> T:
    """What *steps*, which ask nobody, return."""
    try:
        next(steps)
    except StopIteration as end:
        done: T = end.value
        return done
    raise RuntimeError("an eager task cannot ask the API")


def to_its_end(running: Coroutine[Any, Any, Task], *, is_async: bool) -> Task:
    """Run in this thread. A `def` handler is run without a loop; an `async def` on one of its own."""
    if not is_async and not is_on_loop():
        try:
            running.send(None)
        except StopIteration as end:
            task: Task = end.value
            return task
        raise RuntimeError("a `def` handler waited for something outside of it")
    if not is_on_loop():
        return asyncio.run(running)
    return in_thread(running)


def in_thread(running: Coroutine[Any, Any, Task]) -> Task:
    """Run on a loop in a thread, while this one stands still: here is a loop already, which waits for no one."""
    from concurrent.futures import ThreadPoolExecutor  # only here

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, running).result()


def is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
