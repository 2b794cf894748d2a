"""
Which tasks are meant: what may be asked of a list of tasks, and of work on many at once.

Pure. The fact to know: all filters that are given must hold, and a filter says by itself in which states tasks can
have what it asks for; that decides which lists are walked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.due import due_of
from service.ids import created_ms, decode_id
from service.task import ENDED, Snapshot

LATE_MS = 8000  # how much later than its id says a task may come in: its submission is sent again for seconds
AHEAD_MS = 1000  # how much earlier: by how much a submitter's clock may be ahead of Redis'
TIMES = ("created_after", "created_before", "finished_after", "finished_before")
STATES = ("scheduled", "queued", "running", "cancelling", *ENDED)


@dataclass(slots=True)
class Query:
    """
    What is asked for; None asks for all. States stand by comma, times are in ms; in *name* and *error_type* a `*` is
    any text.
    """

    namespace: str
    state: str | None = None
    queue: str | None = None
    name: str | None = None
    tag: str | None = None
    group: str | None = None
    flow: str | None = None  # a flow key
    parent: str | None = None  # an id as users know it
    schedule: str | None = None
    error_type: str | None = None
    http_status: str | None = None  # 503, or 5xx
    attempts: str | None = None  # 3, >2 or <2
    created_after: int | None = None
    created_before: int | None = None
    finished_after: int | None = None
    finished_before: int | None = None
    states: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.states = frozenset(self.state.split(",") if self.state else STATES)
        if self.finished_after is not None or self.finished_before is not None:
            self.states &= frozenset(ENDED)
        if self.error_type is not None or self.http_status is not None:
            self.states &= frozenset(("failed",))

    @classmethod
    def of(cls, namespace: str, given: Mapping[str, Any]) -> Query:
        """The query of filters by their names in the contract, which takes them."""
        read: dict[str, Any] = {name: due_of(value)[0] if name in TIMES else value for name, value in given.items()}
        return cls(namespace, **read)

    def takes(self, task: Snapshot) -> bool:
        """Whether a task belongs to the answer, as it is now."""
        record = task.record
        submission = record.submission
        return (
            record.namespace == self.namespace
            and task.state in self.states
            and (self.queue is None or record.queue == self.queue)
            and (self.name is None or fits(self.name, submission.get("name")))
            and (self.group is None or record.ties.group == self.group)
            and (self.flow is None or submission.get("flow", {}).get("key") == self.flow)
            and (self.tag is None or self.tag in submission.get("tags", ()))
            and (self.parent is None or submission.get("parent") == self.parent)
            and (self.schedule is None or submission.get("schedule", {}).get("name") == self.schedule)
            and (self.error_type is None or fits(self.error_type, error_of(task).get("type")))
            and (self.http_status is None or has_status(task, self.http_status))
            and (self.attempts is None or is_count(self.attempts, attempts_of(task)))
            and is_between(created_ms(task.id), self.created_after, self.created_before)
            and (not record.has_ended or is_between(record.time_ms, self.finished_after, self.finished_before))
        )

    @property
    def oldest_ms(self) -> int:
        """No task that is older belongs to the answer: a part is younger than its whole, as far as clocks agree."""
        of_parent = created_ms(decode_id(self.parent)) - LATE_MS if self.parent else 0
        return max(of_parent, self.created_after or 0)

    @property
    def first_end_ms(self) -> int:
        """No task that ended earlier belongs to the answer."""
        return max(self.finished_after or 0, self.oldest_ms - AHEAD_MS)


def attempts_of(task: Snapshot) -> int:
    """The attempt that runs or ran last; 0 before the first."""
    return int((task.record.outcome or {}).get("attempt", task.run.attempt if task.run else 0))


def is_count(wanted: str, found: int) -> bool:
    """Whether *found* is the number *wanted*, or over or under it."""
    bound = int(wanted.lstrip("<>"))
    return found > bound if wanted[0] == ">" else found < bound if wanted[0] == "<" else found == bound


def is_between(ms: int, after: int | None, before: int | None) -> bool:
    """From *after* on, and before *before*."""
    return (after is None or ms >= after) and (before is None or ms < before)


def fits(wanted: str, found: Any) -> bool:
    """Whether *found* is the text *wanted*, in which `*` stands for any text. Never slow, whatever the two are."""
    if "*" not in wanted:
        return bool(found == wanted)
    if not isinstance(found, str):
        return False
    first, *middle, last = wanted.split("*")
    at, end = len(first), len(found) - len(last)
    if at > end or not (found.startswith(first) and found.endswith(last)):
        return False
    for part in middle:
        at = found.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def error_of(task: Snapshot) -> dict[str, Any]:
    return (task.record.outcome or {}).get("error") or {}


def has_status(task: Snapshot, wanted: str) -> bool:
    """Whether the call that failed a task was answered with the status *wanted*: `503`, or any `5xx`."""
    status = str(((task.record.outcome or {}).get("http") or {}).get("status", ""))
    return status == wanted or (wanted.endswith("xx") and status[:1] == wanted[:1])
