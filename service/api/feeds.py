"""
What one client is sent, over either kind of connection: the events of all tasks, or of one up to its end.

The fact to know: the events of one task are marked `<attempt>.<lines of its log that were told>`, and the last one
`end`, so that who comes again is told how the task stands, and of its log only what is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from service.api.follower import Follower
from service.api.hub import Hub
from service.api.narrator import all_lines
from service.api.runtime import Runtime
from service.errors import InvalidQuery, TaskNotFound
from service.ids import created_ms
from service.live import PROGRESS, Event, Places, Watch, facts_of, has_ended, log_event, task_event
from service.task import Snapshot

END = "end"
FILTERS = ("state", "queue", "name", "tag", "parent", "schedule", "id", "progress")


@dataclass(slots=True)
class Feed:
    """*events* for *follower*; *first* is what they began with."""

    follower: Follower
    first: list[Event]
    events: AsyncIterator[list[Event]]


async def feed_of_all(runtime: Runtime, query: dict[str, Any], last_id: str | None) -> Feed:
    """
    The events that *query* asks for, behind the one of *last_id*.

    Raises:
        InvalidQuery: that is none of ours.
        StoreUnavailable: they cannot be read.
    """
    if last_id and Places.read(last_id) is None:
        where = {"parameter": "cursor"} if query.get("cursor") == last_id else {"header": "Last-Event-ID"}
        detail = "is no id of an event of this stream; leave it out to begin with what happens now"
        raise InvalidQuery(f"{next(iter(where.values()))} {detail}", errors=[{**where, "detail": detail}])
    watch = Watch.of(runtime.namespace, {name: query[name] for name in FILTERS if name in query})
    follower = Follower(watch, query.get("rate"))
    return await begun(runtime, follower, runtime.hub.follow(follower, last_id))


async def feed_of_one(runtime: Runtime, id_: bytes, last_id: str | None, expires_ms: int | None) -> Feed | None:
    """
    How a task stands, and what happens to it until it has ended; None when that was told already.

    Raises:
        TaskNotFound, StoreUnavailable
    """
    task = await runtime.read(id_)
    if task is None:
        raise TaskNotFound("there is no such task; ended tasks are kept for their result_ttl_seconds")
    if last_id == END and task.record.has_ended:
        return None
    follower = Follower(Watch(runtime.namespace, ids=frozenset((id_,)), has_log=True))
    if expires_ms is not None:
        left_ms = expires_ms - runtime.require_store().tasks.clock.now_ms()
        follower.leave_in(left_ms / 1000, "expired")
    return await begun(runtime, follower, one_task(runtime.hub, follower, id_, told_lines(last_id)))


async def begun(runtime: Runtime, follower: Follower, events: AsyncIterator[list[Event]]) -> Feed:
    return Feed(follower, await runtime.within(anext(events)), events)


def told_lines(last_id: str | None) -> tuple[int, int]:
    """The attempt and the number of the first line of its log that was not told yet, by the id of the last event."""
    attempt, _, number = (last_id or "").partition(".")
    if not (attempt.isdecimal() and number.isdecimal() and len(attempt) < 10 and len(number) < 10):
        return (0, 0)
    return int(attempt), int(number)


async def one_task(hub: Hub, follower: Follower, id_: bytes, told: tuple[int, int]) -> AsyncIterator[list[Event]]:
    """See `feed_of_one`."""
    telling = OneTask(told)
    events = hub.follow(follower)
    try:
        await anext(events)  # it has joined: from here on nothing is missed
        [[task], history] = await asyncio.gather(hub.store.tasks.read([id_]), hub.store.attempts.history(id_))
        if task is None or history is None:
            return
        lines = [log_event(id_, attempt, number, line) for attempt, number, line in all_lines(history)]
        yield telling.begin(task, lines)
        if task.record.has_ended:
            return
        async for some in events:
            yield telling.go_on(some)
            if telling.is_over:
                return
    finally:
        await events.aclose()  # type: ignore[attr-defined]  # it is a generator


class OneTask:
    """Which events of one task are told, and how they are marked."""

    def __init__(self, told: tuple[int, int]) -> None:
        self.attempt, self.lines = told
        self.began_ms = 0
        self.state = ""
        self.is_over = False

    def begin(self, task: Snapshot, lines: list[Event]) -> list[Event]:
        """How the task stands; *lines* are all of its log."""
        facts = facts_of(task)
        self.began_ms, self.state = task.now_ms, task.state
        events = [task_event(task.id, task.state, since_ms(task), facts)]
        if facts.progress is not None and not task.record.has_ended:
            events.append(task_event(task.id, PROGRESS, task.now_ms, facts))
        told = self.go_on(lines)
        state = [self.marked(event) for event in events]
        return told + state if task.record.has_ended else state + told

    def go_on(self, events: list[Event]) -> list[Event]:
        """What of *events* is told."""
        return [self.marked(event) for event in events if self.is_new(event)]

    def is_new(self, event: Event) -> bool:
        """Whether it has not been told yet, as an event or by how the task stood in the beginning."""
        if event.line is not None:
            return event.line >= (self.attempt, self.lines)
        if event.at_ms and event.at_ms <= self.began_ms:
            # In the very millisecond in which the task was read: before it, or after.
            return event.at_ms == self.began_ms and event.what not in (self.state, PROGRESS)
        return True

    def marked(self, event: Event) -> Event:
        """*event* with the mark of where it stands."""
        if event.line is not None:
            self.attempt, self.lines = event.line[0], event.line[1] + 1
        elif event.kind == "task" and has_ended(event):
            self.is_over = True
        return replace(event, cursor=END if self.is_over else f"{self.attempt}.{self.lines}", sent=None)


def since_ms(task: Snapshot) -> int:
    """When the task came into its state, as far as that is known."""
    if task.record.has_ended:
        return task.record.time_ms
    if task.run is not None:
        return task.run.started_ms if task.run.is_held else task.now_ms
    return created_ms(task.id)
