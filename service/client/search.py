"""
Which tasks are meant: the filters of lists, and of work on many tasks at once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from service.client.submission import in_utc
from service.client.types import Task


class Filters(TypedDict, total=False):
    """
    What tasks must have, all of it; None is the same as left out.

    *state* may be several. In *name* and *error_type* a `*` stands for any text. *http_status* is that of the answer on
    which a URL task failed: `"503"`, or `"5xx"`; *attempts* how many it has had: `3`, `">2"` or
    `"<2"`. Times need a zone.
    """

    state: str | Iterable[str] | None
    queue: str | None
    name: str | None
    tag: str | None
    group: str | None
    flow: str | None
    parent: str | Task | None
    schedule: str | None
    error_type: str | None
    http_status: str | int | None
    attempts: str | int | None
    created_after: datetime | str | None
    created_before: datetime | str | None
    finished_after: datetime | str | None
    finished_before: datetime | str | None


def filters_of(given: Mapping[str, Any]) -> dict[str, str]:
    """The filters as the contract has them. Raises ValueError for a time without a zone."""
    return {name: filter_of(name, value) for name, value in given.items() if value is not None}


def filter_of(name: str, value: Any) -> str:
    match value:
        case datetime():
            return in_utc(name, value)
        case Task():
            return value.id
        case str() | int():
            return str(value)
    return ",".join(value)
