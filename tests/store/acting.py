"""
The parts that tests of the store play: somebody who submits, a worker that leases and reports, and Redis' clock.

A worker here is one session; it serves all shards, one step a shard. Nothing waits or retries by itself.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson

from service.flow import Flow
from service.ids import shard_of
from service.settings import Settings
from service.store import Store
from service.store.endings import Ending, Origin, again, report
from service.store.outside import cancel
from service.store.tasks import New, Stepped, Taken, idempotency_of
from service.task import (
    DEFAULT_NAMESPACE,
    LETTERS,
    RELATIVE,
    WAITING,
    Leased,
    Snapshot,
    options_of,
    pack_header,
    pack_submission,
    stored_queue,
)
from service.ties import NO_TIES, Ties

LEASE_MS = 15_000
ADD = {"name": "demo.add", "args": {"a": 2, "b": 3}}


def new(
    submission: dict[str, Any] | None = None,
    *,
    queue: str = "default",
    namespace: str = DEFAULT_NAMESPACE,
    lane: str = "async",
    priority: int = 5,
    delay_ms: int = 0,
    due_ms: int = 0,
    max_crashes: int = 3,
    key: str = "",
    ties: Ties = NO_TIES,
    flow: str = "",
    group: str = "",
    **limits: float,
) -> New:
    """A task to submit. *delay_ms* counts from Redis' now, *due_ms* is a time; *limits* are those of its *flow* key."""
    key_of_flow = Flow(namespace, flow, limits or None) if flow else None
    if flow or group:
        ties = Ties(flow=key_of_flow.hash if key_of_flow else b"", group=group)
    given = ADD if submission is None else submission
    if key:
        given = {**given, "idempotency_key": key}
    text = orjson.dumps(given)
    header = pack_header(
        state=RELATIVE if delay_ms else WAITING,
        priority=priority,
        lane=lane,
        time_ms=delay_ms or due_ms,
        max_crashes=max_crashes,
        queue=stored_queue(namespace, queue),
        ties=ties,
    )
    return New(header + pack_submission(given), idempotency_of(namespace, key, text) if key else b"", key_of_flow)


async def submit(store: Store, *tasks: New) -> list[bytes]:
    """The ids of *tasks*, once they are in."""
    return [taken.id for taken in await store.tasks.submit(tasks)]


async def submit_everywhere(store: Store, each: int = 3, **given: Any) -> list[bytes]:
    """*each* tasks in every shard."""
    taken: list[Taken] = []
    for shard in range(store.shards):
        taken += await store.tasks.submit_call(shard, [new(**given) for _ in range(each)])
    return [one.id for one in taken]


async def state(store: Store, id_: bytes) -> str | None:
    """How a task reads; None when there is none."""
    [snapshot] = await store.tasks.read([id_])
    return snapshot.state if snapshot else None


async def snapshot(store: Store, id_: bytes) -> Snapshot:
    [found] = await store.tasks.read([id_])
    assert found is not None
    return found


async def rows(store: Store, id_: bytes) -> list[dict[str, Any]]:
    """The attempts noted for a task, oldest first: all but a first one that succeeded and logged nothing."""
    history = await store.attempts.history(id_)
    return history.rows if history else []


async def ask_cancel(store: Store, id_: bytes) -> str | None:
    return await cancel(store.tasks, store.handlers, store.settings, id_)


class Worker:
    """A worker's session."""

    def __init__(self, store: Store, name: str = "w1") -> None:
        self.store, self.name = store, name
        self.session, self.number = os.urandom(8), 0
        self.is_work_left = False
        self.next_due_ms: int | None = None

    def token(self) -> bytes:
        """The token of a next call."""
        self.number += 1
        return self.session + self.number.to_bytes(4, "big")

    async def step(
        self,
        shard: int = 0,
        finished: Sequence[Sequence[bytes]] = (),
        wants: Iterable[tuple[str, str, int]] = (),
        token: bytes | None = None,
        lease_ms: int = LEASE_MS,
    ) -> Stepped:
        """One call of `step`; *wants* name a lane by its word."""
        letters = [(queue, LETTERS[lane].decode(), room) for queue, lane, room in wants]
        return await self.store.tasks.step(
            shard, token or self.token(), self.name, lease_ms=lease_ms, finished=finished, wants=letters
        )

    async def lease(
        self, room: int = 100, queue: str = "default", lane: str = "async", lease_ms: int = LEASE_MS
    ) -> list[Leased]:
        """Up to *room* tasks of each shard."""
        leased: list[Leased] = []
        self.is_work_left, self.next_due_ms = False, None
        for shard in range(self.store.shards):
            stepped = await self.step(shard, wants=[(queue, lane, room)], lease_ms=lease_ms)
            leased += stepped.leased
            self.is_work_left |= stepped.is_work_left
            if stepped.next_due_ms is not None:
                self.next_due_ms = min(self.next_due_ms or stepped.next_due_ms, stepped.next_due_ms)
        return leased

    async def lease_any(self) -> list[Leased]:
        """As `lease`, and suspects too, which come one a call."""
        leased = await self.lease()
        while some := await self.lease(lane="async alone"):
            leased += some
        return leased

    async def lease_all(self, **given: Any) -> list[Leased]:
        """Lease until nothing is left; at most a hundred calls."""
        leased = await self.lease(**given)
        for _ in range(100):
            if not self.is_work_left:
                return leased
            leased += await self.lease(**given)
        raise AssertionError("work was left after a hundred calls")

    def ending(self, task: Leased, ending: Ending, settings: Settings | None = None) -> list[bytes]:
        """The report that ends *task*; *ending* is used up."""
        settings = settings or self.store.settings
        return report(
            Origin.of_leased(task, self.name),
            replace(ending),
            options_of(task.submission, None, settings),
            now_ms=self.store.tasks.clock.now_ms(),
            settings=settings,
        )

    async def report(self, tasks: Sequence[Leased], reports: Sequence[Sequence[bytes]]) -> bytes:
        """Send one report a task; a status each, in their order."""
        statuses: dict[int, int] = {}
        by_shard: dict[int, list[int]] = defaultdict(list)
        for place, task in enumerate(tasks):
            by_shard[shard_of(task.id)].append(place)
        for shard, places in by_shard.items():
            stepped = await self.step(shard, [reports[place] for place in places])
            statuses.update(zip(places, stepped.statuses, strict=True))
        return bytes(statuses[place] for place in range(len(tasks)))

    async def succeed(self, *tasks: Leased, result: bytes = b"5") -> bytes:
        return await self.report(tasks, [self.ending(task, Ending("succeeded", result)) for task in tasks])

    async def fail(self, *tasks: Leased) -> bytes:
        error = {"type": "ValueError", "message": "no", "traceback": "…"}
        row = b'{"attempt":1,"outcome":"failed"}'
        return await self.report(tasks, [self.ending(task, Ending("failed", error=error, row=row)) for task in tasks])

    async def end_cancelled(self, *tasks: Leased) -> bytes:
        row = b'{"attempt":1,"outcome":"cancelled"}'
        return await self.report(tasks, [self.ending(task, Ending("cancelled", row=row)) for task in tasks])

    async def again(self, kind: bytes, *tasks: Leased, delay_ms: int = 0, row: bytes | None = None) -> bytes:
        """Retry (R), defer (D) or hand back (B)."""
        return await self.report(tasks, [again(task, kind, delay_ms, row) for task in tasks])
