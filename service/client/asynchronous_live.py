"""
The asynchronous client's methods for events: the same as `blocking_live`, awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar, Unpack

import httpx

from service.client.blocking_live import WhenBroken
from service.client.calls import Steps
from service.client.errors import ClientError
from service.client.live import Event, EventFilters, Following, ReadToken
from service.client.options import Seconds
from service.client.shell import Shell, id_of
from service.client.types import Task

T = TypeVar("T")


class AsyncLiveReader(Shell):
    """How `AsyncTaskpost` follows what happens."""

    _http: httpx.AsyncClient

    async def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    def events(
        self, *, cursor: str | None = None, when_broken: WhenBroken | None = None, **filters: Unpack[EventFilters]
    ) -> AsyncIterator[Event]:
        """As `Taskpost.events`, with `async for`."""
        return self._follow(self._live.all(filters, cursor), when_broken)

    def follow(
        self, task: str | Task, *, cursor: str | None = None, when_broken: WhenBroken | None = None
    ) -> AsyncIterator[Event]:
        """As `Taskpost.follow`, with `async for`."""
        return self._follow(self._live.one(id_of(task), cursor), when_broken)

    async def read_token(self, task: str | Task, *, ttl_seconds: Seconds | None = None) -> ReadToken:
        """As `Taskpost.read_token`."""
        return await self._run(self._live.read_token(id_of(task), ttl_seconds))

    async def _follow(self, following: Following, when_broken: WhenBroken | None) -> AsyncIterator[Event]:
        while True:
            request = following.request()
            broken: ClientError | None = None
            try:
                async with self._http.stream(**self.streamed(request)) as answer:
                    body = b"" if answer.status_code == 200 else await answer.aread()
                    following.begin(answer.status_code, answer.headers, body)
                    if answer.status_code == 200:
                        async for some in answer.aiter_bytes():
                            for event in following.feed(some):
                                yield event
            except httpx.TransportError as exc:
                broken = self.failed(request, exc)
            except ClientError as exc:
                broken = exc
            if following.is_over:
                return
            pause = following.broke(broken or following.ended())
            if when_broken is not None:
                when_broken(broken or following.ended())
            await asyncio.sleep(pause)
