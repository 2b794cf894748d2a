"""
The asynchronous client's methods for schedules: the same as `blocking_schedules`, awaited.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal, TypeVar, Unpack

from service.client.calls import Steps
from service.client.many import Listing
from service.client.schedules import (
    Backfill,
    BackfillCount,
    Definition,
    Preview,
    Schedule,
    ScheduleRun,
    Times,
)
from service.client.shell import Shell
from service.client.types import Task

T = TypeVar("T")


class AsyncSchedules(Shell):
    """What `AsyncTaskpost` can do with schedules."""

    async def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    async def schedules(self, *, limit: int | None = None) -> AsyncIterator[Schedule]:
        """As `Taskpost.schedules`, with `async for`."""
        listing = Listing(self._calls, Schedule, "/v1/schedules", {}, limit)
        while not listing.is_over:
            for one in await self._run(listing.more()):
                yield one

    async def schedule(self, name: str) -> Schedule:
        """As `Taskpost.schedule`."""
        return await self._run(self._schedules.get(name))

    async def create_schedule(self, name: str | None = None, **definition: Unpack[Definition]) -> Schedule:
        """As `Taskpost.create_schedule`."""
        return await self._run(self._schedules.create(name, definition))

    async def put_schedule(
        self, name: str, *, if_version: int | None = None, **definition: Unpack[Definition]
    ) -> Schedule:
        """As `Taskpost.put_schedule`."""
        return await self._run(self._schedules.put(name, if_version, definition))

    async def update_schedule(
        self, name: str, *, if_version: int | None = None, **changes: Unpack[Definition]
    ) -> Schedule:
        """As `Taskpost.update_schedule`."""
        return await self._run(self._schedules.update(name, if_version, changes))

    async def delete_schedule(self, name: str, *, if_version: int | None = None) -> None:
        """As `Taskpost.delete_schedule`."""
        await self._run(self._schedules.delete(name, if_version))

    async def pause_schedule(self, name: str) -> Schedule:
        """As `Taskpost.pause_schedule`."""
        return await self._run(self._schedules.turn(name, "pause"))

    async def resume_schedule(self, name: str) -> Schedule:
        """As `Taskpost.resume_schedule`."""
        return await self._run(self._schedules.turn(name, "resume"))

    async def run_schedule(self, name: str) -> Task:
        """As `Taskpost.run_schedule`."""
        return await self._run(self._schedules.run(name))

    async def preview_schedule(self, name: str, *, count: int = 10) -> Preview:
        """As `Taskpost.preview_schedule`."""
        return await self._run(self._schedules.preview(name, count))

    async def preview_times(self, name: str | None = None, *, count: int = 10, **times: Unpack[Times]) -> Preview:
        """As `Taskpost.preview_times`."""
        return await self._run(self._schedules.preview_times(name, count, times))

    async def schedule_runs(self, name: str) -> list[ScheduleRun]:
        """As `Taskpost.schedule_runs`."""
        return await self._run(self._schedules.runs(name))

    async def count_backfill(
        self, name: str, start_at: datetime | str, end_at: datetime | str | None = None
    ) -> BackfillCount:
        """As `Taskpost.count_backfill`."""
        return await self._run(self._schedules.count(name, start_at, end_at))

    async def backfill_schedule(
        self,
        name: str,
        start_at: datetime | str,
        end_at: datetime | str | None = None,
        *,
        rate_per_second: float | None = None,
        overlap: Literal["allow", "one_by_one"] | None = None,
    ) -> Backfill:
        """As `Taskpost.backfill_schedule`."""
        return await self._run(
            self._schedules.backfill(
                name,
                {"start_at": start_at, "end_at": end_at, "rate_per_second": rate_per_second, "overlap": overlap},
            )
        )

    async def backfills(self, name: str) -> list[Backfill]:
        """As `Taskpost.backfills`."""
        return await self._run(self._schedules.backfills(name))

    async def backfill(self, name: str, id_: str) -> Backfill:
        """As `Taskpost.backfill`."""
        return await self._run(self._schedules.one_backfill("GET", name, id_))

    async def abort_backfill(self, name: str, id_: str) -> Backfill:
        """As `Taskpost.abort_backfill`."""
        return await self._run(self._schedules.one_backfill("DELETE", name, id_))
