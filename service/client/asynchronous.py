"""
The client for asyncio: the same as `blocking`, awaited.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any, TypeVar, Unpack

import httpx

from service.client.asynchronous_bulk import AsyncBulks
from service.client.asynchronous_flows import AsyncFlowKeeper
from service.client.asynchronous_keys import AsyncKeyKeeper
from service.client.asynchronous_live import AsyncLiveReader
from service.client.asynchronous_queues import AsyncQueueKeeper
from service.client.asynchronous_schedules import AsyncSchedules
from service.client.asynchronous_statistics import AsyncStatisticsReader
from service.client.bulk import Edits
from service.client.calls import Answer, Pause, Steps
from service.client.endpoints import Endpoint, EndpointCall, EndpointSettings
from service.client.many import Listing, Window
from service.client.options import Options, Seconds, Submission
from service.client.search import Filters, filters_of
from service.client.shell import id_of
from service.client.submission import plain
from service.client.types import (
    Attempt,
    Explanation,
    Handler,
    Receipt,
    Rescheduling,
    Secret,
    Task,
    Worker,
)
from service.client.workers import WorkerCommand, WorkerDetail, WorkerSizes

T = TypeVar("T")
List = builtins.list  # in the class below `list` is a method


class AsyncTaskpost(
    AsyncSchedules,
    AsyncBulks,
    AsyncKeyKeeper,
    AsyncQueueKeeper,
    AsyncFlowKeeper,
    AsyncStatisticsReader,
    AsyncLiveReader,
):
    """
    The API, for asyncio: the methods of `Taskpost`, to be awaited. Use it in one event loop, with `async with`.

    For many requests at once give it a faster transport: `AsyncTaskpost(transport=httpx_aiohttp.AiohttpTransport())`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 30,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key, timeout_seconds, retries)
        self._http = httpx.AsyncClient(transport=transport, **self.options())

    async def __aenter__(self) -> AsyncTaskpost:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = steps.send(None)
                    continue
                try:
                    got = await self._http.request(**self.sent(step))
                except httpx.TransportError as exc:
                    step = steps.throw(self.failed(step, exc))
                else:
                    step = steps.send(Answer(got.status_code, got.headers, got.content))
        except StopIteration as end:
            done: T = end.value
            return done

    async def submit(
        self,
        name: str | None = None,
        args: Mapping[str, Any] | None = None,
        *,
        wait: float | None = None,
        **options: Unpack[Options],
    ) -> Task:
        """As `Taskpost.submit`."""
        return await self._run(self._calls.submit({"name": name, "args": args, **options}, wait))

    async def submit_many(self, submissions: Iterable[Submission] | AsyncIterable[Submission]) -> List[Receipt]:
        """As `Taskpost.submit_many`."""
        return [one async for one in self._receipts(Window(self._calls, "batch"), submissions)]

    def stream(self, submissions: Iterable[Submission] | AsyncIterable[Submission]) -> AsyncIterator[Receipt]:
        """As `Taskpost.stream`; *submissions* may be an async iterable."""
        return self._receipts(Window(self._calls, "stream"), submissions)

    async def _receipts(
        self, window: Window, submissions: Iterable[Submission] | AsyncIterable[Submission]
    ) -> AsyncIterator[Receipt]:
        async for one in each(submissions):
            for receipt in await self._run(window.add(one)):
                yield receipt
        for receipt in await self._run(window.send()):
            yield receipt

    async def get(self, task: str | Task, *, wait: float | None = None) -> Task:
        """As `Taskpost.get`."""
        return await self._run(self._calls.get(id_of(task), wait))

    async def wait(self, task: str | Task, timeout_seconds: float | None = None) -> Task:
        """As `Taskpost.wait`."""
        return await self._run(self._calls.wait(id_of(task), timeout_seconds))

    async def result(self, task: str | Task, *, wait: float | None = None) -> Any:
        """As `Taskpost.result`."""
        return await self._run(self._calls.result(id_of(task), wait))

    async def cancel(self, task: str | Task) -> Task:
        """As `Taskpost.cancel`."""
        return await self._run(self._calls.cancel(id_of(task)))

    async def explain(self, task: str | Task) -> Explanation:
        """As `Taskpost.explain`."""
        return await self._run(self._calls.explain(id_of(task)))

    async def replay(self, task: str | Task, **edits: Unpack[Edits]) -> Task:
        """As `Taskpost.replay`."""
        return await self._run(self._calls.replay(id_of(task), edits))

    async def run(self, task: str | Task) -> Task:
        """As `Taskpost.run`."""
        return await self._run(self._calls.run(id_of(task)))

    async def reschedule(self, task: str | Task, **given: Unpack[Rescheduling]) -> Task:
        """As `Taskpost.reschedule`."""
        return await self._run(self._calls.reschedule(id_of(task), given))

    async def delete(self, task: str | Task) -> None:
        """As `Taskpost.delete`."""
        await self._run(self._calls.delete(id_of(task)))

    async def attempts(self, task: str | Task) -> List[Attempt]:
        """As `Taskpost.attempts`."""
        return await self._run(self._calls.attempts(id_of(task)))

    async def list(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> AsyncIterator[Task]:
        """As `Taskpost.list`, with `async for`."""
        listing = Listing(self._calls, Task, "/v1/tasks", filters_of(filters), limit)
        while not listing.is_over:
            for one in await self._run(listing.more()):
                yield one

    async def workers(self) -> List[Worker]:
        """As `Taskpost.workers`."""
        return await self._run(self._calls.everything(Worker, "/v1/workers"))

    async def worker(self, id_: str) -> WorkerDetail:
        """As `Taskpost.worker`."""
        return await self._run(self._calls.worker(id_))

    async def quiet_worker(self, id_: str) -> WorkerCommand:
        """As `Taskpost.quiet_worker`."""
        return await self._run(self._calls.tell(id_, "quiet", {}))

    async def resume_worker(self, id_: str) -> WorkerCommand:
        """As `Taskpost.resume_worker`."""
        return await self._run(self._calls.tell(id_, "resume", {}))

    async def stop_worker(self, id_: str, *, drain_seconds: Seconds | None = None) -> WorkerCommand:
        """As `Taskpost.stop_worker`."""
        seconds = None if drain_seconds is None else plain("drain_seconds", drain_seconds)
        return await self._run(self._calls.tell(id_, "stop", {"drain_seconds": seconds}))

    async def resize_worker(self, id_: str, **sizes: Unpack[WorkerSizes]) -> WorkerCommand:
        """As `Taskpost.resize_worker`."""
        return await self._run(self._calls.tell(id_, "resize", sizes))

    async def handlers(self) -> List[Handler]:
        """As `Taskpost.handlers`."""
        return await self._run(self._calls.everything(Handler, "/v1/handlers"))

    async def secrets(self, *, reveal: bool = False) -> List[Secret]:
        """As `Taskpost.secrets`."""
        return await self._run(self._calls.secrets(reveal))

    async def rotate_secrets(self, *, overlap_seconds: Seconds | None = None) -> List[Secret]:
        """As `Taskpost.rotate_secrets`."""
        return await self._run(self._calls.rotate_secrets(overlap_seconds))

    async def endpoints(self) -> List[Endpoint]:
        """As `Taskpost.endpoints`."""
        return await self._run(self._calls.everything(Endpoint, "/v1/endpoints"))

    async def endpoint(self, endpoint: str) -> Endpoint:
        """As `Taskpost.endpoint`."""
        return await self._run(self._calls.endpoint(endpoint))

    async def change_endpoint(self, endpoint: str, **settings: Unpack[EndpointSettings]) -> Endpoint:
        """As `Taskpost.change_endpoint`."""
        return await self._run(self._calls.change_endpoint(endpoint, settings))

    async def disable_endpoint(self, endpoint: str, *, reason: str | None = None) -> Endpoint:
        """As `Taskpost.disable_endpoint`."""
        return await self._run(self._calls.tell_endpoint(endpoint, "disable", {"reason": reason}))

    async def enable_endpoint(self, endpoint: str, *, url: str | None = None) -> Endpoint:
        """As `Taskpost.enable_endpoint`."""
        return await self._run(self._calls.tell_endpoint(endpoint, "enable", {"url": url}))

    async def try_endpoint(self, endpoint: str, **call: Unpack[EndpointCall]) -> Task:
        """As `Taskpost.try_endpoint`."""
        return await self._run(self._calls.try_endpoint(endpoint, call))

    async def credentials(self, endpoint: str) -> dict[str, Any]:
        """As `Taskpost.credentials`."""
        return await self._run(self._calls.credentials(endpoint))

    async def set_credentials(self, endpoint: str, auth: Mapping[str, Any]) -> dict[str, Any]:
        """As `Taskpost.set_credentials`."""
        return await self._run(self._calls.set_credentials(endpoint, auth))

    async def remove_credentials(self, endpoint: str) -> None:
        """As `Taskpost.remove_credentials`."""
        await self._run(self._calls.remove_credentials(endpoint))


async def each(many: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """The members of *many*, whichever kind of iterable it is."""
    if isinstance(many, AsyncIterable):
        async for one in many:
            yield one
    else:
        for one in many:
            yield one
