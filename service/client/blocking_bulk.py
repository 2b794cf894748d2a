"""
The synchronous client's methods for work on many tasks.
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


class Bulks(Shell):
    """What `Taskpost` can do with many tasks at once."""

    def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    def count_bulk(self, action: str, filters: Filters, **options: Any) -> BulkCount:
        """How many tasks *action* (cancel, replay, reschedule, priority, delete) would be done to, and some of them."""
        return self._run(self._bulks.count(action, filters, options))

    def begin_bulk(self, action: str, filters: Filters, **options: Any) -> Bulk:
        """Do *action* to all tasks of *filters*; *options* are those of the contract. The scheduler does it."""
        return self._run(self._bulks.begin(action, filters, options))

    def cancel_many(self, filters: Filters, *, rate_per_second: float | None = None) -> Bulk:
        """Cancel all tasks of *filters*; without a state all that wait or run. The scheduler does it: see `bulk`."""
        return self._run(self._bulks.begin("cancel", filters, {"rate_per_second": rate_per_second}))

    def replay_many(
        self,
        filters: Filters,
        *,
        edits: Edits | None = None,
        canary: int | None = None,
        max_failures: int = 0,
        rate_per_second: float | None = None,
    ) -> Bulk:
        """
        Do all ended tasks of *filters* once more, with *edits*; without a state those that failed. The first *canary*
        of them run before the others follow, if no more than *max_failures* of them do not succeed.
        """
        canaries = None if canary is None else {"tasks": canary, "max_failures": max_failures}
        given = {"edits": edits, "canary": canaries, "rate_per_second": rate_per_second}
        return self._run(self._bulks.begin("replay", filters, given))

    def reschedule_many(
        self,
        filters: Filters,
        *,
        delay_seconds: Seconds | None = None,
        run_at: datetime | str | None = None,
        rate_per_second: float | None = None,
    ) -> Bulk:
        """Change when all waiting tasks of *filters* start."""
        given = {"delay_seconds": delay_seconds, "run_at": run_at, "rate_per_second": rate_per_second}
        return self._run(self._bulks.begin("reschedule", filters, given))

    def prioritize_many(self, filters: Filters, priority: int, *, rate_per_second: float | None = None) -> Bulk:
        """Change the priority of all waiting tasks of *filters*."""
        given = {"priority": priority, "rate_per_second": rate_per_second}
        return self._run(self._bulks.begin("priority", filters, given))

    def delete_many(self, filters: Filters, *, rate_per_second: float | None = None) -> Bulk:
        """Delete all ended tasks of *filters*."""
        return self._run(self._bulks.begin("delete", filters, {"rate_per_second": rate_per_second}))

    def bulk(self, id_: str) -> Bulk:
        """Work on many tasks, as it stands. Raises NotFound."""
        return self._run(self._bulks.get(id_))

    def bulks(self) -> list[Bulk]:
        """Work on many tasks that is under way, or was last, the newest first."""
        return self._run(self._bulks.everything())

    def abort_bulk(self, id_: str) -> Bulk:
        """Stop work on many tasks; what is done stays done. Raises NotFound."""
        return self._run(self._bulks.abort(id_))
