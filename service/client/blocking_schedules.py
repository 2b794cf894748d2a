"""
The synchronous client's methods for schedules.
"""

from __future__ import annotations

from collections.abc import Iterator
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


class Schedules(Shell):
    """What `Taskpost` can do with schedules."""

    def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    def schedules(self, *, limit: int | None = None) -> Iterator[Schedule]:
        """The schedules by name, at most *limit* (None: all); pages are read as they are needed."""
        listing = Listing(self._calls, Schedule, "/v1/schedules", {}, limit)
        while not listing.is_over:
            yield from self._run(listing.more())

    def schedule(self, name: str) -> Schedule:
        """One schedule as it stands. Raises NotFound."""
        return self._run(self._schedules.get(name))

    def create_schedule(self, name: str | None = None, **definition: Unpack[Definition]) -> Schedule:
        """
        Save a new schedule: `create_schedule("nightly", cron="0 3 * * *", timezone="Asia/Shanghai", task={"name": …})`.
        Without a name one is made up. Sent once: look at `schedules` before calling again after `NoAnswer`.

        Raises:
            StateConflict: there is one of that name.
            Refused: the definition has faults, all listed.
        """
        return self._run(self._schedules.create(name, definition))

    def put_schedule(self, name: str, *, if_version: int | None = None, **definition: Unpack[Definition]) -> Schedule:
        """
        Save a schedule under *name*, whatever was there; with *if_version* only if it is of that `version`.

        Raises:
            VersionConflict: it was changed since it was read.
            Refused: the definition has faults, all listed.
        """
        return self._run(self._schedules.put(name, if_version, definition))

    def update_schedule(self, name: str, *, if_version: int | None = None, **changes: Unpack[Definition]) -> Schedule:
        """
        Change the fields that are given: of `task` too only those; None removes one. Raises as `put_schedule`, and
        NotFound.
        """
        return self._run(self._schedules.update(name, if_version, changes))

    def delete_schedule(self, name: str, *, if_version: int | None = None) -> None:
        """Remove a schedule and its history; its tasks stay. Raises NotFound, VersionConflict."""
        self._run(self._schedules.delete(name, if_version))

    def pause_schedule(self, name: str) -> Schedule:
        """Keep a schedule from firing until it is resumed."""
        return self._run(self._schedules.turn(name, "pause"))

    def resume_schedule(self, name: str) -> Schedule:
        """Let a schedule fire again, from now on."""
        return self._run(self._schedules.turn(name, "resume"))

    def run_schedule(self, name: str) -> Task:
        """
        Make the task of a schedule now, whatever its state. Sent once: look at `schedule_runs` before calling again
        after `NoAnswer`.
        """
        return self._run(self._schedules.run(name))

    def preview_schedule(self, name: str, *, count: int = 10) -> Preview:
        """The next *count* occurrences of a schedule."""
        return self._run(self._schedules.preview(name, count))

    def preview_times(self, name: str | None = None, *, count: int = 10, **times: Unpack[Times]) -> Preview:
        """
        The next *count* occurrences of times that are not saved: `preview_times(cron="0 9 * * MON-FRI")`. *name*
        decides what `H` and the jitter are. Raises Refused.
        """
        return self._run(self._schedules.preview_times(name, count, times))

    def schedule_runs(self, name: str) -> list[ScheduleRun]:
        """What became of its last 100 occurrences, the newest first."""
        return self._run(self._schedules.runs(name))

    def count_backfill(
        self, name: str, start_at: datetime | str, end_at: datetime | str | None = None
    ) -> BackfillCount:
        """How many occurrences a past range of a schedule has (None: up to now). Fires nothing."""
        return self._run(self._schedules.count(name, start_at, end_at))

    def backfill_schedule(
        self,
        name: str,
        start_at: datetime | str,
        end_at: datetime | str | None = None,
        *,
        rate_per_second: float | None = None,
        overlap: Literal["allow", "one_by_one"] | None = None,
    ) -> Backfill:
        """
        Fire the occurrences of a past range, both ends included, so many a second (None: 10). Sent once: look at
        `backfills` before calling again after `NoAnswer`.

        Raises:
            StateConflict: ten of this schedule are under way.
            Refused: the range has no occurrence, too many, or lies in the future.
        """
        return self._run(
            self._schedules.backfill(
                name,
                {"start_at": start_at, "end_at": end_at, "rate_per_second": rate_per_second, "overlap": overlap},
            )
        )

    def backfills(self, name: str) -> list[Backfill]:
        """The backfills of a schedule under way, and the last that ended, the newest first."""
        return self._run(self._schedules.backfills(name))

    def backfill(self, name: str, id_: str) -> Backfill:
        """How far a backfill has come. Raises NotFound."""
        return self._run(self._schedules.one_backfill("GET", name, id_))

    def abort_backfill(self, name: str, id_: str) -> Backfill:
        """Have a backfill fire nothing more; its tasks stay. Raises NotFound."""
        return self._run(self._schedules.one_backfill("DELETE", name, id_))
