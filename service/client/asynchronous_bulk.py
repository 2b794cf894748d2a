"""
The asynchronous client's methods for work on many tasks: the same as `blocking_bulk`, awaited.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from service.client.bulk import Bulk, BulkCount, Edits
from service.client.calls import Steps
from service.client.options import Seconds
from service.client.search import Filters
from service.client.shell import Shell

T = TypeVar("T")


class AsyncBulks(Shell):
    """What `AsyncTaskpost` can do with many tasks at once."""

    async def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    async def count_bulk(self, action: str, filters: Filters, **options: Any) -> BulkCount:
        """As `Taskpost.count_bulk`."""
        return await self._run(self._bulks.count(action, filters, options))

    async def begin_bulk(self, action: str, filters: Filters, **options: Any) -> Bulk:
        """As `Taskpost.begin_bulk`."""
        return await self._run(self._bulks.begin(action, filters, options))

    async def cancel_many(self, filters: Filters, *, rate_per_second: float | None = None) -> Bulk:
        """As `Taskpost.cancel_many`."""
        return await self._run(self._bulks.begin("cancel", filters, {"rate_per_second": rate_per_second}))

    async def replay_many(
        self,
        filters: Filters,
        *,
        edits: Edits | None = None,
        canary: int | None = None,
        max_failures: int = 0,
        rate_per_second: float | None = None,
    ) -> Bulk:
        """As `Taskpost.replay_many`."""
        canaries = None if canary is None else {"tasks": canary, "max_failures": max_failures}
        given = {"edits": edits, "canary": canaries, "rate_per_second": rate_per_second}
        return await self._run(self._bulks.begin("replay", filters, given))

    async def reschedule_many(
        self,
        filters: Filters,
        *,
        delay_seconds: Seconds | None = None,
        run_at: datetime | str | None = None,
        rate_per_second: float | None = None,
    ) -> Bulk:
        """As `Taskpost.reschedule_many`."""
        given = {"delay_seconds": delay_seconds, "run_at": run_at, "rate_per_second": rate_per_second}
        return await self._run(self._bulks.begin("reschedule", filters, given))

    async def prioritize_many(self, filters: Filters, priority: int, *, rate_per_second: float | None = None) -> Bulk:
        """As `Taskpost.prioritize_many`."""
        given = {"priority": priority, "rate_per_second": rate_per_second}
        return await self._run(self._bulks.begin("priority", filters, given))

    async def delete_many(self, filters: Filters, *, rate_per_second: float | None = None) -> Bulk:
        """As `Taskpost.delete_many`."""
        return await self._run(self._bulks.begin("delete", filters, {"rate_per_second": rate_per_second}))

    async def bulk(self, id_: str) -> Bulk:
        """As `Taskpost.bulk`."""
        return await self._run(self._bulks.get(id_))

    async def bulks(self) -> list[Bulk]:
        """As `Taskpost.bulks`."""
        return await self._run(self._bulks.everything())

    async def abort_bulk(self, id_: str) -> Bulk:
        """As `Taskpost.abort_bulk`."""
        return await self._run(self._bulks.abort(id_))
