"""
What every endpoint of one API process shares: settings, store, the handlers it knows, and whether it is stopping.

Owns the bound on waiting for the store: whoever asks is answered within two seconds, with 503 when need be.
The fact to know: a `Runtime` is the process as one namespace sees it, and what it reads of another is not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.types import Receive, Scope

from service.api.callers import Caller
from service.api.hub import Hub
from service.api.known import Handlers
from service.called import CallsOfTask
from service.egress import Egress
from service.errors import StoreUnavailable, TaskNotFound, TaskpostError
from service.ids import decode_id
from service.redaction import redaction_of
from service.settings import Settings
from service.showing import show
from service.store import Store
from service.task import DEFAULT_NAMESPACE, Snapshot
from service.telemetry import tracer_of

if TYPE_CHECKING:
    from service.api.auth import Gate

log = logging.getLogger("taskpost.api")

Answer = TypeVar("Answer")
PATIENCE_SECONDS = 1.8
LOOK_SECONDS = 0.1
RETRY_AFTER = {"Retry-After": "2"}
NOT_IN_TIME = (
    "Redis did not answer within 2 seconds. Whether the request took effect is unknown: send it again with the same "
    "Idempotency-Key, and it takes effect once."
)


@dataclass(slots=True)
class Asked:
    """
    A request that may be answered: what it named in the path, its query, checked, its headers by name, who asks, the
    gate that let them in, and its ASGI scope.
    *runtime* is the process as the caller's namespace sees it.
    """

    runtime: Runtime
    path: Mapping[str, str]
    query: dict[str, Any]
    receive: Receive
    headers: Mapping[bytes, bytes]
    caller: Caller
    gate: Gate
    scope: Scope

    @property
    def method(self) -> str:
        return str(self.scope["method"])


class Runtime:
    """One API process. `start` returns at once; until the store is there, requests that need it get 503."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.namespace = DEFAULT_NAMESPACE
        self.egress = Egress.of_settings(settings)
        self.rules = self.egress.rules(self.namespace)  # for every URL that a user gives
        self.redaction = redaction_of(settings.redact_headers)
        self.warns = True  # of what is wrong with Redis
        self.when_broken: Callable[[], None] | None = None  # the store turned out to be of another deployment
        self.stopping = asyncio.Event()
        self.broken: TaskpostError | None = None
        self.by_namespace = {self.namespace: self}

    async def start(self) -> None:
        """Begin to connect. Call it on the event loop that serves."""
        self.store = Store(self.settings)
        self.handlers = Handlers(self.store.handlers, self.settings, self.namespace)
        self.hub = Hub(self.store)
        self.tracer = tracer_of(self.settings, "web")
        self.patience = Patience()
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.starting = asyncio.create_task(self.connect())

    async def connect(self) -> None:
        try:
            await self.store.start(warns=self.warns)
            self.store.meters.begin("web")
        except TaskpostError as exc:
            log.error("%s", exc)
            self.broken = exc
            if self.when_broken is not None:
                self.when_broken()

    def of(self, namespace: str) -> Runtime:
        """The same process as *namespace* sees it. Only once it has started."""
        seen = self.by_namespace.get(namespace)
        if seen is None:
            seen = self.by_namespace[namespace] = copy(self)
            seen.namespace, seen.rules = namespace, self.egress.rules(namespace)
            seen.handlers = Handlers(self.store.handlers, self.settings, namespace)
        return seen

    def stop(self) -> None:
        """From now on nobody waits: long-polls answer, streams end, /readyz says 503."""
        self.stopping.set()
        if not self.stopped.done():
            self.stopped.set_result(None)
        self.hub.stop()

    async def close(self) -> None:
        self.stop()
        self.starting.cancel()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)
        self.patience.close()
        await self.store.close()

    def require_store(self) -> Store:
        """The store. Raises StoreUnavailable before it has been reached for the first time."""
        if not self.store.is_ready:
            raise StoreUnavailable("Redis has not been reached since this process started.", headers=RETRY_AFTER)
        return self.store

    async def within(self, asking: Coroutine[Any, Any, Answer] | Awaitable[Answer]) -> Answer:
        """What *asking* of the store answers. Raises StoreUnavailable when that takes over 1.8 seconds."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asking
        except TimeoutError as exc:
            raise StoreUnavailable(NOT_IN_TIME, headers=RETRY_AFTER) from exc

    def options(self, snapshot: Snapshot) -> dict[str, Any]:
        """The options in force for a task."""
        return self.handlers.options(snapshot.record.submission, snapshot.record.queue)

    async def read(self, id_: bytes) -> Snapshot | None:
        """The task as it stands, None when there is none in this namespace."""
        (snapshot,) = await self.within(self.require_store().tasks.read([id_]))
        return snapshot if snapshot is not None and snapshot.record.namespace == self.namespace else None

    async def task(self, text: str) -> Snapshot:
        """The task of the id *text*. Raises TaskNotFound."""
        snapshot = await self.read(task_id(text))
        if snapshot is None:
            raise not_found(text)
        return snapshot

    def show(self, snapshot: Snapshot) -> dict[str, Any]:
        """The task as the contract shows it."""
        return show(snapshot, self.options(snapshot), self.redaction)

    def calls_of(self, snapshot: Snapshot) -> CallsOfTask:
        """The calls of its attempts as the contract shows them."""
        return CallsOfTask(snapshot, self.options(snapshot), self.redaction)


def task_id(text: str) -> bytes:
    """The id that *text* is. Raises TaskNotFound, since nothing else can have such an id."""
    try:
        return decode_id(text)
    except ValueError as exc:
        raise TaskNotFound(f"{exc}") from exc


def not_found(text: str) -> TaskNotFound:
    return TaskNotFound(f"there is no task {text[:40]}; ended tasks are kept for their result_ttl_seconds")


class Patience:
    """
    Gives up futures that take too long, many thousands a second: one timer for all, since they have one patience and
    so the oldest is always the first.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiting: dict[asyncio.Future[Any], float] = {}
        self.given_up: set[asyncio.Future[Any]] = set()
        self.timer: asyncio.TimerHandle | None = None

    async def wait(self, future: asyncio.Future[Answer]) -> Answer:
        """
        What *future* answers.

        Raises:
            StoreUnavailable: it took over 1.8 seconds, and was cancelled.
        """
        self.waiting[future] = self.loop.time() + PATIENCE_SECONDS
        if self.timer is None:
            self.timer = self.loop.call_later(LOOK_SECONDS, self.look)
        try:
            return await future
        except asyncio.CancelledError:
            if future not in self.given_up:
                raise
            raise StoreUnavailable(NOT_IN_TIME, headers=RETRY_AFTER) from None
        finally:
            del self.waiting[future]
            self.given_up.discard(future)

    def look(self) -> None:
        """Give up what is due, and look again while anything waits."""
        now = self.loop.time()
        for future, deadline in list(self.waiting.items()) if self.is_late(now) else ():
            if deadline > now:
                break
            if not future.done():
                self.given_up.add(future)
                future.cancel()
        self.timer = self.loop.call_later(LOOK_SECONDS, self.look) if self.waiting else None

    def is_late(self, now: float) -> bool:
        return bool(self.waiting) and next(iter(self.waiting.values())) <= now

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
