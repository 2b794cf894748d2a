"""
What the client says about schedules, without a network; as `calls` for tasks.

The fact to know: what makes something anew, or only if nobody changed it meanwhile, is sent once, since a repetition
would meet what the first one did. All else may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from service.client.calls import JSON, Calls, Request, Steps, parsed
from service.client.schedules import (
    Backfill,
    BackfillCount,
    Preview,
    Schedule,
    ScheduleRun,
    definition_of,
    patch_of,
    schedule_path,
)
from service.client.submission import encode
from service.client.types import Task, view


class ScheduleCalls:
    """The operations on schedules of one API."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def get(self, name: str) -> Steps[Schedule]:
        return (yield from self._calls.read(Schedule, Request("GET", schedule_path(name))))

    def create(self, name: str | None, definition: Mapping[str, Any]) -> Steps[Schedule]:
        """Sent once: a repetition would meet the schedule that the first one made."""
        body = definition_of({"name": name, **definition})
        request = Request("POST", "/v1/schedules", encode(body), JSON)
        return view(Schedule, parsed((yield from self._calls.ask(request, is_repeatable=False))))

    def put(self, name: str, if_version: int | None, definition: Mapping[str, Any]) -> Steps[Schedule]:
        request = Request("PUT", schedule_path(name), encode(definition_of(definition)), JSON | guarded(if_version))
        return (yield from self._guarded(request, if_version))

    def update(self, name: str, if_version: int | None, changes: Mapping[str, Any]) -> Steps[Schedule]:
        request = Request("PATCH", schedule_path(name), encode(patch_of(changes)), JSON | guarded(if_version))
        return (yield from self._guarded(request, if_version))

    def delete(self, name: str, if_version: int | None) -> Steps[None]:
        yield from self._calls.ask(Request("DELETE", schedule_path(name), headers=guarded(if_version)))

    def turn(self, name: str, action: str) -> Steps[Schedule]:
        """Pause or resume; may be repeated."""
        return (yield from self._calls.read(Schedule, Request("POST", schedule_path(name, f"/{action}"))))

    def run(self, name: str) -> Steps[Task]:
        """Sent once: a repetition would make a second task."""
        request = Request("POST", schedule_path(name, "/run"))
        return view(Task, parsed((yield from self._calls.ask(request, is_repeatable=False))))

    def runs(self, name: str) -> Steps[list[ScheduleRun]]:
        return (yield from self._calls.everything(ScheduleRun, schedule_path(name, "/runs")))

    def preview(self, name: str, count: int) -> Steps[Preview]:
        return (
            yield from self._calls.read(Preview, Request("GET", f"{schedule_path(name, '/preview')}?count={count}"))
        )

    def preview_times(self, name: str | None, count: int, times: Mapping[str, Any]) -> Steps[Preview]:
        body = definition_of({"name": name, "count": count, **times})
        return (yield from self._calls.read(Preview, Request("POST", "/v1/schedules/preview", encode(body), JSON)))

    def backfill(self, name: str, asked: Mapping[str, Any]) -> Steps[Backfill]:
        """Sent once: a repetition would begin a second one."""
        request = Request("POST", schedule_path(name, "/backfill"), encode(definition_of(asked)), JSON)
        return view(Backfill, parsed((yield from self._calls.ask(request, is_repeatable=False))))

    def count(self, name: str, start_at: datetime | str, end_at: datetime | str | None) -> Steps[BackfillCount]:
        asked = definition_of({"start_at": start_at, "end_at": end_at, "dry_run": True})
        request = Request("POST", schedule_path(name, "/backfill"), encode(asked), JSON)
        return (yield from self._calls.read(BackfillCount, request))

    def backfills(self, name: str) -> Steps[list[Backfill]]:
        return (yield from self._calls.everything(Backfill, schedule_path(name, "/backfills")))

    def one_backfill(self, method: str, name: str, id_: str) -> Steps[Backfill]:
        path = schedule_path(name, f"/backfills/{quote(id_, safe='')}")
        return (yield from self._calls.read(Backfill, Request(method, path)))

    def _guarded(self, request: Request, if_version: int | None) -> Steps[Schedule]:
        """Of a change that was made, but whose answer was lost, a guarded repetition would say that another made it."""
        answer = yield from self._calls.ask(request, is_repeatable=if_version is None)
        return view(Schedule, parsed(answer))


def guarded(if_version: int | str | None) -> dict[str, str]:
    """The header that lets a request pass only while what it changes is of this version."""
    return {} if if_version is None else {"if-match": f'"{if_version}"'}
