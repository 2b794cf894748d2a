"""
Where submissions go: over HTTP to the API, or, in tests, to what stands in for it (`eager.py`, `testing.py`).

Owns the clients: one for each event loop, closed when that loop shuts down, and one for each process, closed at its
exit; a process that was forked makes its own. The settings of the environment are read at each submission.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from service.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from service.client import AsyncTaskpost, ResultGone, Task, Taskpost
    from service.client.calls import Steps
    from workers.handler import Handler

T = TypeVar("T")


class Door(Protocol):
    """Takes submissions of synchronous code."""

    calls: Any

    def submit(self, submission: dict[str, Any], handler: Handler[..., Any]) -> Task: ...

    def submit_many(self, submissions: list[dict[str, Any]], handler: Handler[..., Any]) -> list[Task]: ...

    def run(self, steps: Steps[T]) -> T: ...


class AsyncDoor(Protocol):
    """Takes submissions of asyncio."""

    calls: Any

    async def submit(self, submission: dict[str, Any], handler: Handler[..., Any]) -> Task: ...

    async def submit_many(self, submissions: list[dict[str, Any]], handler: Handler[..., Any]) -> list[Task]: ...

    async def run(self, steps: Steps[T]) -> T: ...


class Doors(Protocol):
    """Both kinds, of something that stands in for the API."""

    def sync(self) -> Door: ...

    def asynchronous(self) -> AsyncDoor: ...


STANDING_IN: list[Doors] = []  # the last one counts; for the whole process, as the environment would be


@contextmanager
def standing_in(doors: Doors) -> Iterator[None]:
    """While it lasts, submissions of this process go to *doors*."""
    STANDING_IN.append(doors)
    try:
        yield
    finally:
        STANDING_IN.remove(doors)


def stand_in(settings: ClientSettings) -> Doors | None:
    """What stands in for the API, if anything does."""
    return STANDING_IN[-1] if STANDING_IN else eager_of(settings)


def eager_of(settings: ClientSettings) -> Doors | None:
    """Eager mode, where the environment asks for it."""
    if not settings.eager:
        return None
    from workers.eager import EAGER  # brings all of a worker with it

    return EAGER


# ---------------------------------------------------------------- asyncio


class HttpAsyncDoor:
    """Over HTTP."""

    def __init__(self, client: AsyncTaskpost, settings: ClientSettings) -> None:
        self.client, self.settings, self.calls = client, settings, client._calls

    async def submit(self, submission: dict[str, Any], handler: Handler[..., Any]) -> Task:  # noqa: ARG002
        return await self.run(self.calls.submit(submission, None))

    async def submit_many(self, submissions: list[dict[str, Any]], handler: Handler[..., Any]) -> list[Task]:  # noqa: ARG002
        receipts = await self.client.submit_many(submissions)  # type: ignore[arg-type]
        return [one.task_or_raise() for one in receipts]

    async def run(self, steps: Steps[T]) -> T:
        return await self.client._run(steps)


# The generator is kept where the loop finds it: a loop that shuts down ends it, and that closes the client.
OF_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[HttpAsyncDoor, AsyncGenerator[HttpAsyncDoor]]]
OF_LOOPS = WeakKeyDictionary()


async def kept(settings: ClientSettings) -> AsyncGenerator[HttpAsyncDoor]:
    from service.client import AsyncTaskpost  # httpx takes long to load, and many never submit

    client = AsyncTaskpost(settings.url, settings.api_key)
    try:
        yield HttpAsyncDoor(client, settings)
    finally:
        await client.close()


async def async_door() -> AsyncDoor:
    """The door for code on the running loop."""
    settings = ClientSettings.from_env()
    if (doors := stand_in(settings)) is not None:
        return doors.asynchronous()
    loop = asyncio.get_running_loop()
    found = OF_LOOPS.get(loop)
    if found is None or found[0].settings != settings:
        keeper = kept(settings)
        if found is not None:
            await found[1].aclose()
        found = OF_LOOPS[loop] = (await anext(keeper), keeper)
    return found[0]


# ---------------------------------------------------------------- synchronous


class HttpDoor:
    """Over HTTP."""

    def __init__(self, client: Taskpost, settings: ClientSettings) -> None:
        self.client, self.settings, self.calls, self.pid = client, settings, client._calls, os.getpid()

    def submit(self, submission: dict[str, Any], handler: Handler[..., Any]) -> Task:  # noqa: ARG002
        return self.run(self.calls.submit(submission, None))

    def submit_many(self, submissions: list[dict[str, Any]], handler: Handler[..., Any]) -> list[Task]:  # noqa: ARG002
        return [one.task_or_raise() for one in self.client.submit_many(submissions)]  # type: ignore[arg-type]

    def run(self, steps: Steps[T]) -> T:
        return self.client._run(steps)


class OfProcess:
    """The door of this process."""

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)
        atexit.register(self.close)

    def renew(self) -> None:
        """Begin anew: a connection of the parent's, or a lock that it held, is nothing for a forked process."""
        self.lock = threading.Lock()
        self.door: HttpDoor | None = None

    def get(self, settings: ClientSettings) -> HttpDoor:
        with self.lock:
            if self.door is None or self.door.settings != settings:
                from service.client import Taskpost  # as above

                self.door = HttpDoor(Taskpost(settings.url, settings.api_key), settings)
            return self.door

    def close(self) -> None:
        with self.lock:
            if self.door is not None:
                self.door.client.close()
                self.door = None


OF_PROCESS = OfProcess()


def door() -> Door:
    """The door for synchronous code."""
    settings = ClientSettings.from_env()
    if (doors := stand_in(settings)) is not None:
        return doors.sync()
    return OF_PROCESS.get(settings)


# ---------------------------------------------------------------- words


def failure_of(task: Task) -> Exception:
    """The TaskFailed of a task that ended without a result."""
    from service.client import TaskFailed  # as above

    said = f": {task.error.type}: {task.error.message}" if task.error else ""
    problem: Mapping[str, Any] = {
        "type": "/problems/task-failed",
        "title": "The task ended without a result",
        "status": 409,
        "detail": f"task {task.id} {task.state}{said}",
        "error": task.raw.get("error"),
    }
    return TaskFailed(problem)


def result_gone(task: Task) -> ResultGone:
    """The ResultGone of a task whose result was not kept."""
    from service.client import ResultGone  # as above

    detail = f"task {task.id} succeeded, and its result was not kept (result_ttl 0)"
    return ResultGone({"type": "/problems/result-gone", "status": 410, "detail": detail})
