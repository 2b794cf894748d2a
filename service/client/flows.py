"""
Flow keys and groups as the client hands them out: limits that tasks share, and who takes turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict
from urllib.parse import quote

from service.client.calls import JSON, Calls, Request, Steps
from service.client.submission import encode
from service.client.types import View

PATH = "/v1/flows"


class FlowChange(TypedDict, total=False):
    """What to change of a flow key; None takes a limit away."""

    concurrency: int | None
    rate: int | None
    period_seconds: float | None
    burst: int | None
    paused: bool
    pinned: bool


class Flow(View, frozen=True, kw_only=True):
    """A flow key, its limits (None: none) and how it stands. *next_at* is None when a task may start now."""

    key: str
    concurrency: int | None = None
    rate: int | None = None
    period_seconds: float | None = None
    burst: int | None = None
    paused: bool = False
    pinned: bool = False
    running: int = 0
    waiting: int = 0
    next_at: datetime | None = None


class Group(View, frozen=True, kw_only=True):
    """A group of a queue: its weight beside the others, and its tasks that have not ended."""

    name: str
    weight: float = 1
    tasks: int = 0


class FlowCalls:
    """The operations on flow keys and groups."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def flows(self) -> Steps[list[Flow]]:
        return (yield from self._calls.everything(Flow, PATH))

    def flow(self, key: str) -> Steps[Flow]:
        return (yield from self._calls.read(Flow, Request("GET", path_of(key))))

    def change(self, key: str, change: Mapping[str, Any]) -> Steps[Flow]:
        """May be repeated: it says how the key is to be."""
        return (yield from self._calls.read(Flow, Request("PATCH", path_of(key), encode(dict(change)), JSON)))

    def reset(self, key: str) -> Steps[Flow]:
        return (yield from self._calls.read(Flow, Request("POST", f"{path_of(key)}/reset")))

    def groups(self, queue: str) -> Steps[list[Group]]:
        return (yield from self._calls.everything(Group, f"/v1/queues/{quote(queue, safe='')}/groups"))

    def weigh(self, queue: str, group: str, weight: float | None) -> Steps[Group]:
        path = f"/v1/queues/{quote(queue, safe='')}/groups/{quote(group, safe='')}"
        return (yield from self._calls.read(Group, Request("PATCH", path, encode({"weight": weight}), JSON)))


def path_of(key: str) -> str:
    return f"{PATH}/{quote(key, safe='')}"
