"""
Work on many tasks at once, as it is kept: what was asked for, and how far it has come.

Pure. The fact to know: only tasks that were there when it was begun are meant, so that it has an end, and what it makes
itself is never met again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from service.search import Query
from service.task import ENDED, rfc3339

WAITING = ("scheduled", "queued")
# What each can be done to; without a state in the filter, all of these but for replays.
STATES = {
    "cancel": (*WAITING, "running", "cancelling"),
    "replay": tuple(ENDED),
    "reschedule": WAITING,
    "priority": WAITING,
    "delete": tuple(ENDED),
}
DEFAULT_STATES = {**STATES, "cancel": (*WAITING, "running"), "replay": ("failed",)}
RUNNING, DONE, ABORTED = "running", "done", "aborted"
ONLY_ENDED = ("replay", "delete")


@dataclass(slots=True)
class Bulk:
    """
    One such work. *asked* are the options of its action, *filter* has the names of the contract.

    *place* is behind what has been looked at, as `Pages` knows places. *plan* is a slice of replays that is under way,
    `[number, parts: [[shard, part, [place in the slice, id]]], place behind it]`; *holder* is who carries it out, until
    *held_until_ms*.
    """

    id: str
    action: str
    namespace: str
    filter: dict[str, str]
    asked: dict[str, Any]
    created_ms: int
    to_examine: int = 0
    state: str = RUNNING
    reason: str | None = None
    ended_ms: int = 0
    examined: int = 0
    done: int = 0
    skipped: int = 0
    place: list[Any] | None = None
    number: int = 0
    plan: list[Any] | None = None
    canary_ids: list[str] = field(default_factory=list)
    canary_failed: int = 0
    is_past_canary: bool = False
    holder: str = ""
    held_until_ms: int = 0

    @property
    def query(self) -> Query:
        """The tasks that are meant."""
        query, end_ms = query_of(self.action, self.namespace, self.filter), self.created_ms + 1
        if self.action in ONLY_ENDED:
            query.finished_before = min(query.finished_before or end_ms, end_ms)
        else:
            query.created_before = min(query.created_before or end_ms, end_ms)
        return query

    @property
    def is_running(self) -> bool:
        return self.state == RUNNING

    @property
    def rate_per_second(self) -> float | None:
        return self.asked.get("rate_per_second")

    @property
    def canary(self) -> dict[str, Any] | None:
        """The canary whose outcomes are still to be seen."""
        return None if self.is_past_canary else self.asked.get("canary")


def query_of(action: str, namespace: str, filters: Mapping[str, Any]) -> Query:
    """The query of *filters*, in the states to which *action* is done when they name none."""
    return Query.of(namespace, {"state": ",".join(DEFAULT_STATES[action]), **filters})


def pack(bulk: Bulk) -> dict[str, Any]:
    """The document that is kept."""
    return {one.name: getattr(bulk, one.name) for one in fields(bulk)}


def parse(document: Mapping[str, Any]) -> Bulk:
    """What `pack` packed."""
    return Bulk(**document)


def shown(bulk: Bulk) -> dict[str, Any]:
    """The contract's `Bulk`."""
    canary = bulk.asked.get("canary")
    document: dict[str, Any] = {
        "id": bulk.id,
        "action": bulk.action,
        "state": bulk.state,
        "filter": bulk.filter,
        "options": {name: value for name, value in bulk.asked.items() if name != "canary"},
        "examined": bulk.examined,
        "to_examine": max(bulk.to_examine, bulk.examined),
        "done": bulk.done,
        "skipped": bulk.skipped,
        "reason": bulk.reason,
        "created_at": rfc3339(bulk.created_ms),
        "ended_at": rfc3339(bulk.ended_ms) if bulk.ended_ms else None,
    }
    if canary is not None:
        told = {"is_passed": bulk.is_past_canary, "failed": bulk.canary_failed}
        document["canary"] = {**canary, **told}
    return document
