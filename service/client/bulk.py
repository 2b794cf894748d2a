"""
Work on many tasks, as the client says it and reads it; what is said, without a network.

The fact to know: what begins work is sent once, since a repetition would begin it twice. All else may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict
from urllib.parse import quote

import msgspec

from service.client.calls import JSON, Calls, Request, Steps, parsed
from service.client.search import Filters, filters_of
from service.client.submission import document, encode
from service.client.types import Task, View, view

PATH = "/v1/bulk"


class Edits(TypedDict, total=False):
    """
    What of a replay is to be other than it was. Members of *args* and *headers* take the place of those of the same
    name; all else is replaced as a whole.
    """

    args: Mapping[str, Any] | None
    url: str | None
    headers: Mapping[str, str] | None
    body: Any
    queue: str | None
    priority: int | None


class BulkCount(View, frozen=True, kw_only=True):
    """The tasks that are meant, and some of them. When it *is_exact* is false, there may be more than *matched*."""

    action: str
    matched: int
    is_exact: bool
    examined: int
    to_examine: int
    sample: list[Task] = msgspec.field(default_factory=list)


class Bulk(View, frozen=True, kw_only=True):
    """
    Work on many tasks as it stands. *state*: running, done, aborted, and then *reason* says why.

    *done* is to how many it was done, *skipped* how many were left as they were, *to_examine* about how many there are
    to look at.
    """

    id: str
    action: str
    state: str
    filter: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    canary: dict[str, Any] | None = None
    examined: int = 0
    to_examine: int = 0
    done: int = 0
    skipped: int = 0
    reason: str | None = None
    created_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.state != "running"

    def __repr__(self) -> str:
        return f"<Bulk {self.id} {self.action} {self.state}: {self.done} done>"


class BulkCalls:
    """The operations on many tasks of one API."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def count(self, action: str, filters: Filters, given: Mapping[str, Any]) -> Steps[BulkCount]:
        request = asking(action, filters, {**given, "dry_run": True})
        return (yield from self._calls.read(BulkCount, request))

    def begin(self, action: str, filters: Filters, given: Mapping[str, Any]) -> Steps[Bulk]:
        answer = yield from self._calls.ask(asking(action, filters, given), is_repeatable=False)
        return view(Bulk, parsed(answer))

    def get(self, id_: str) -> Steps[Bulk]:
        return (yield from self._calls.read(Bulk, Request("GET", bulk_path(id_))))

    def abort(self, id_: str) -> Steps[Bulk]:
        return (yield from self._calls.read(Bulk, Request("DELETE", bulk_path(id_))))

    def everything(self) -> Steps[list[Bulk]]:
        return (yield from self._calls.everything(Bulk, PATH))


def asking(action: str, filters: Filters, given: Mapping[str, Any]) -> Request:
    """The request that counts or begins work."""
    body = {"filter": filters_of(filters), **document(given)}
    if "edits" in body:
        body["edits"] = {name: value for name, value in body["edits"].items() if value is not None}
    return Request("POST", f"{PATH}/{action}", encode(body), JSON)


def bulk_path(id_: str) -> str:
    if not id_:
        raise ValueError("the id of the work is needed, not an empty text")
    return f"{PATH}/{quote(id_, safe='')}"
