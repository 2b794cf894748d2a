"""
The asynchronous client's methods for queues: the same as `blocking_queues`, awaited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Unpack

from service.client.bulk import Bulk, BulkCount
from service.client.calls import Steps
from service.client.queues import Queue, QueueScale, QueueSettings, Route
from service.client.shell import Shell

T = TypeVar("T")


class AsyncQueueKeeper(Shell):
    """What `AsyncTaskpost` can do with queues."""

    async def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    async def queues(self) -> list[Queue]:
        """As `Taskpost.queues`."""
        return await self._run(self._queues.everything())

    async def queue(self, name: str, /) -> Queue:
        """As `Taskpost.queue`."""
        return await self._run(self._queues.get(name))

    async def change_queue(
        self,
        name: str,
        /,
        settings: Mapping[str, Any] | None = None,
        *,
        if_version: str | None = None,
        **changes: Unpack[QueueSettings],
    ) -> Queue:
        """As `Taskpost.change_queue`."""
        return await self._run(self._queues.change(name, {**(settings or {}), **changes}, if_version))

    async def pause_queue(self, name: str, /, *, reason: str | None = None, by: str | None = None) -> Queue:
        """As `Taskpost.pause_queue`."""
        return await self._run(self._queues.tell(name, "pause", {"reason": reason, "by": by}))

    async def drain_queue(self, name: str, /, *, reason: str | None = None, by: str | None = None) -> Queue:
        """As `Taskpost.drain_queue`."""
        return await self._run(self._queues.tell(name, "drain", {"reason": reason, "by": by}))

    async def resume_queue(self, name: str, /) -> Queue:
        """As `Taskpost.resume_queue`."""
        return await self._run(self._queues.tell(name, "resume", {}))

    async def delete_queue(self, name: str, /) -> None:
        """As `Taskpost.delete_queue`."""
        await self._run(self._queues.delete(name))

    async def count_purge(self, name: str, /) -> BulkCount:
        """As `Taskpost.count_purge`."""
        return await self._run(self._queues.count_purge(name))

    async def purge_queue(self, name: str, /, *, rate_per_second: float | None = None) -> Bulk:
        """As `Taskpost.purge_queue`."""
        return await self._run(self._queues.purge(name, rate_per_second))

    async def scale_queue(
        self, name: str, /, *, tasks_per_worker: int | None = None, least: int | None = None, most: int | None = None
    ) -> QueueScale:
        """As `Taskpost.scale_queue`."""
        bounds = {"tasks_per_worker": tasks_per_worker, "min": least, "max": most}
        return await self._run(self._queues.scale(name, bounds))

    async def routes(self) -> list[Route]:
        """As `Taskpost.routes`."""
        return await self._run(self._queues.routes())

    async def set_routes(self, routes: Sequence[Route], /) -> list[Route]:
        """As `Taskpost.set_routes`."""
        return await self._run(self._queues.put_routes(routes))
