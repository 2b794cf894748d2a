"""
Work on many tasks at once, in Redis: how far it has come, and the calls by which a slice of it is done.

How far it has come is one document, changed only by whoever holds it; who holds it must say so every few seconds. The
fact to know: a slice may be done twice, by one that was killed and its successor, and yet nothing happens twice:
cancelling and deleting are over when they are done, changes say what is to be, and slices of replays have a number
(spawn.lua).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from service.bulk import Bulk, pack, parse
from service.ids import shard_of
from service.search import Query
from service.store import keys
from service.store.amendments import CHANGED, Amendment, amend
from service.store.fields import Document, Fields
from service.store.outside import cancelling
from service.store.pages import FAILED, HAVE_ENDED, LEASED, Pages
from service.store.tasks import MOST_BYTES_A_CALL, Tasks, idempotency_of
from service.store.workers import HandlerBook
from service.task import Snapshot, split_queue

MOST_RUNNING, MOST_KEPT = 10, 100
MOST_A_CALL = 32  # a quarter of what a call may have: nobody waits long behind one
MARKER_MS = 7 * 86_400_000
T = TypeVar("T")


def is_of(stored: str, query: Query) -> bool:
    """Whether the queue of that stored name is one of those asked for."""
    namespace, name = split_queue(stored)
    return namespace == query.namespace and query.queue in (None, name)


class HeldByAnother(Exception):
    """Somebody else carries it out, or it is no longer to be carried out."""


class Bulks:
    """All about work on many tasks. One for each `Store`."""

    def __init__(self, tasks: Tasks, book: HandlerBook, pages: Pages) -> None:
        self.tasks, self.book, self.pages = tasks, book, pages
        self.fields = Fields(tasks.scripts, "B", tasks.keyring)

    # ------------------------------------------------------------ how far it has come

    async def begin(self, bulk: Bulk) -> bool:
        """
        Whether it is begun: False when too much is under way. The oldest of over 100 that are over are forgotten.

        Raises:
            StoreUnavailable: no answer; it may have begun.
        """
        known = await self.known()
        if sum(one.is_running for one in known) >= MOST_RUNNING:
            return False
        for old in [one for one in known if not one.is_running][MOST_KEPT - MOST_RUNNING :]:
            await self.fields.change(old.id, lambda _: None)
        await self.fields.change(bulk.id, lambda _: pack(bulk))
        return True

    async def read(self, id_: str) -> Bulk | None:
        """The one of that id."""
        document = await self.fields.read(id_)
        return parse(document) if document else None

    async def known(self) -> list[Bulk]:
        """All that is known, the newest first."""
        found = [parse(document) for document in (await self.fields.read_all()).values()]
        return sorted(found, key=lambda one: (one.created_ms, one.id), reverse=True)

    async def end(self, id_: str, state: str, reason: str | None, now_ms: int) -> Bulk | None:
        """End it in *state*, if it is under way: as it stands then; None when there is none of that id."""

        def change(document: Document | None) -> Document | None:
            if document is None or not parse(document).is_running:
                return document
            return {**document, "state": state, "reason": reason, "ended_ms": now_ms, "plan": None, "holder": ""}

        document = await self.fields.change(id_, change)
        return parse(document) if document else None

    async def take(self, id_: str, holder: str, now_ms: int, hold_ms: int) -> Bulk | None:
        """Hold it, if nobody does: as it stands. None when somebody holds it, or it is over."""

        def change(document: Document | None) -> Document | None:
            if document is None or not parse(document).is_running:
                return document
            if document["holder"] != holder and document["held_until_ms"] > now_ms:
                return document
            return {**document, "holder": holder, "held_until_ms": now_ms + hold_ms}

        document = await self.fields.change(id_, change)
        return parse(document) if document and document["holder"] == holder else None

    async def let_go(self, id_: str, holder: str) -> None:
        """Hold it no longer."""

        def change(document: Document | None) -> Document | None:
            is_held = document is not None and document["holder"] == holder
            return {**document, "holder": "", "held_until_ms": 0} if document and is_held else document

        await self.fields.change(id_, change)

    async def keep(self, bulk: Bulk, now_ms: int, hold_ms: int) -> None:
        """
        Write how far it has come, and hold it on.

        Raises:
            HeldByAnother: it was aborted, or another has taken it over; nothing was written.
        """
        bulk.held_until_ms = now_ms + hold_ms
        mine = pack(bulk)

        def change(document: Document | None) -> Document | None:
            return mine if document is not None and document["holder"] == bulk.holder else document

        document = await self.fields.change(bulk.id, change)
        if document is None or document["holder"] != bulk.holder:
            raise HeldByAnother(bulk.id)

    # ------------------------------------------------------------ how much there is

    async def weigh(self, query: Query) -> int:
        """How many tasks a walk looks at, or somewhat less than this: read from counters, never by a scan."""
        counts = await self.pages.queues.counts()
        mine = [counted for name, counted in counts.items() if is_of(name, query)]
        for state in ("queued", "scheduled"):
            if query.states == {state}:
                return sum(counted[state] for counted in mine)
        if query.states <= LEASED:
            return sum(counted["running"] for counted in counts.values())
        waiting = 0 if query.states <= HAVE_ENDED else sum(sum(counted.values()) for counted in counts.values())
        kinds = {FAILED: True, HAVE_ENDED - FAILED: False}
        until = "+inf" if query.finished_before is None else f"({query.finished_before}"
        ended = await asyncio.gather(
            *(
                self.tasks.scripts.command("ZCOUNT", keys.ended(shard, failed), query.first_end_ms, until)
                for states, failed in kinds.items()
                if waiting or query.states & states
                for shard in range(self.tasks.shards)
            )
        )
        return sum(map(int, ended)) + waiting

    # ------------------------------------------------------------ a slice of it

    async def cancel(self, found: Sequence[Snapshot]) -> int:
        """Cancel tasks; how many that was done to."""
        settings = self.tasks.settings

        def report(task: Snapshot) -> list[bytes]:
            return cancelling(self.tasks, self.book, settings, task.id, task.raw, task.record, task.run)

        async def call(shard: int, reports: list[list[bytes]]) -> int:
            statuses = await self.tasks.end(shard, reports)
            return statuses.count(b"1") + statuses.count(b"2")

        waiting = [task for task in found if not task.record.has_ended and task.state != "cancelling"]
        return await self.in_calls(waiting, report, lambda made: sum(map(len, made)), call)

    async def delete(self, found: Sequence[Snapshot]) -> int:
        """Remove tasks that have ended; how many."""

        def name(task: Snapshot) -> bytes:
            key = task.record.submission.get("idempotency_key")
            return task.id + (idempotency_of(task.record.namespace, key, b"")[:16] if key else b"")

        async def call(shard: int, names: list[bytes]) -> int:
            statuses: bytes = await self.tasks.scripts.call(shard, "discard", *names)
            return statuses.count(b"1")

        return await self.in_calls(found, name, len, call)

    async def change(self, found: Sequence[Snapshot], due_ms: int | None, priority: int | None) -> int:
        """Change when waiting tasks are due (0: now), or their priorities; how many. Those that are so already do."""
        now_ms = self.tasks.clock.now_ms()

        def is_so(task: Snapshot) -> bool:
            is_due = due_ms is None or task.record.time_ms == due_ms or max(task.record.time_ms, due_ms) <= now_ms
            return is_due and priority in (None, task.record.priority)

        async def call(shard: int, changes: list[Amendment]) -> int:
            return (await amend(self.tasks, shard, changes)).count(CHANGED)

        other = [task for task in found if not is_so(task)]
        done = await self.in_calls(other, lambda task: Amendment(task.id, due_ms, priority), lambda _: 0, call)
        return done + len(found) - len(other)

    async def in_calls(
        self,
        tasks: Iterable[Snapshot],
        part_of: Callable[[Snapshot], T],
        size_of: Callable[[T], int],
        call: Callable[[int, list[T]], Any],
    ) -> int:
        """*call* for the parts of all tasks, by shard, up to 32 and 1 MiB at once; the sum of what it answers."""
        open_: dict[int, tuple[list[T], int]] = {}
        calls: list[Any] = []
        for task in tasks:
            part, shard = part_of(task), shard_of(task.id)
            size = size_of(part)
            parts, bytes_ = open_.get(shard, ([], 0))
            if parts and (len(parts) >= MOST_A_CALL or bytes_ + size > MOST_BYTES_A_CALL):
                calls.append(asyncio.ensure_future(call(shard, parts)))
                await asyncio.sleep(0)  # so that Redis works on it while the next is made
                parts, bytes_ = [], 0
            parts.append(part)
            open_[shard] = parts, bytes_ + size
        calls += [asyncio.ensure_future(call(shard, parts)) for shard, (parts, _) in open_.items()]
        return sum(await asyncio.gather(*calls))

    async def spawn(
        self, bulk: Bulk, shard: int, number: int, part: int, records: Sequence[tuple[int, bytes]]
    ) -> tuple[bytes, int]:
        """
        Make the tasks of a part of slice *number* in *shard*, (which of the slice, record) each: what their ids begin
        with (14 bytes), and how many were made, now or by an earlier call.

        Raises:
            StoreUnavailable: no answer; the same again is safe.
            StoreFull: nothing was made.
        """
        self.tasks.memory.check()
        now = self.tasks.clock.now_ms().to_bytes(6, "big")
        args: list[Any] = []
        for place, record in records:
            id_ = stem_of(bulk.id, number, shard, now) + place.to_bytes(2, "big")
            args += (id_, self.tasks.sealed(id_, record))
        name = f"{bulk.id}.{part}"
        reply = await self.tasks.scripts.call(shard, "spawn", name, number.to_bytes(4, "big"), now, MARKER_MS, *args)
        self.tasks.clock.hear(reply[0])
        return stem_of(bulk.id, number, shard, reply[1]), int(reply[2])


def stem_of(bulk_id: str, number: int, shard: int, time: bytes) -> bytes:
    """What the ids of a slice in one shard begin with: no other slice has the same."""
    digest = hashlib.blake2b(f"{bulk_id}\0{number}".encode(), digest_size=7).digest()
    return time + bytes((shard,)) + digest
