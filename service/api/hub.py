"""
The fan-out of one API process: what happens to tasks, told to all who follow it.

Refuses to wait for anybody: who does not take what it is told is left behind (`Follower`).
The fact to know: whoever joins does so between two batches (`lock`), behind the places up to which the others were
told, so it misses nothing and is told nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Sequence

from service.api.follower import Follower
from service.api.narrator import Narrator, Watches
from service.errors import TaskpostError
from service.live import ALIVE, Event, Places, notice
from service.store import Store
from service.store.events import RUN_BYTES, Entry

log = logging.getLogger("taskpost.live")

MOST_PENDING = 1000  # entries: from then on the stream in Redis keeps what comes
BATCH_ENTRIES, BATCH_MOVES = 200, 1000


class Hub:
    """Follows the stream while somebody follows it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.narrator = Narrator(store)
        self.watches = Watches()
        self.following: set[Follower] = set()
        self.lock = asyncio.Lock()
        self.pending: list[Entry | tuple[int, str]] = []
        self.arrived, self.has_room = asyncio.Event(), asyncio.Event()
        self.places = Places([])
        self.telling: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ who follows

    async def follow(self, follower: Follower, cursor: str | None = None) -> AsyncIterator[list[Event]]:
        """
        What *follower* is to be sent, in lists; an empty one when nothing has happened for a while. With *cursor*
        what happened since comes first. Ends when the follower is to leave.

        Raises:
            StoreUnavailable: the streams cannot be read.
        """
        await self.enter(follower)
        try:
            place = Places.read(cursor) if cursor else None
            if place is not None and len(place.packed) != self.store.shards:
                place = None
                yield [notice("gap", "replaced")]
            if place is not None:
                async for events in self.catch_up(follower, place):
                    yield events
            else:
                async with self.lock:
                    self.join(follower)
            yield [Event(ALIVE, b"{}", follower.cursor)]
            while (taken := await follower.take()) is not None:
                yield taken or [Event(ALIVE, b"{}", self.places.cursor())]
        finally:
            self.leave(follower)

    async def enter(self, follower: Follower) -> None:
        """Have the stream followed for *follower*, who has not joined yet."""
        self.following.add(follower)
        try:
            async with self.lock:
                if self.telling is None:
                    self.pending.clear()
                    self.has_room.set()
                    self.places = Places.of(await self.store.events.listen(self))
                    self.telling = asyncio.create_task(self.tell())
        except BaseException:
            self.following.discard(follower)
            raise

    def join(self, follower: Follower) -> None:
        """From here on *follower* is told everything that it wants."""
        follower.cursor = self.places.cursor()
        self.watches.add(follower)

    def leave(self, follower: Follower) -> None:
        """Nobody follows as *follower* any more; the last one ends the work."""
        self.watches.remove(follower)
        if follower.watch.has_log and follower.watch not in self.watches.followers:
            for id_ in follower.watch.ids or ():
                self.narrator.forget_log(id_)
        follower.close()
        self.following.discard(follower)
        if not self.following and self.telling is not None:
            self.telling.cancel()
            self.telling = None
            self.store.events.leave(self)
            self.has_room.set()
            self.narrator.facts.clear()

    def stop(self) -> None:
        """Everybody leaves, since this process stops."""
        for follower in list(self.following):
            follower.leave("stopping")

    async def catch_up(self, follower: Follower, place: Places) -> AsyncIterator[list[Event]]:
        """What *follower* missed since *place*, until it stands where the others stand and has joined them."""
        lost = [await self.store.events.lost_since(shard, place.place(shard)) for shard in range(self.store.shards)]
        if reasons := [reason for reason in lost if reason]:
            place.skip = None
            yield [notice("gap", reasons[0])]
        watches = Watches()
        watches.add(follower)
        while True:
            async with self.lock:
                behind = [shard for shard, packed in enumerate(self.places.packed) if place.packed[shard] != packed]
                if not behind:
                    self.join(follower)
                    return
                until = {shard: self.places.place(shard) for shard in behind}
            # One that was told in part goes first: a cursor knows of one such entry.
            for shard in sorted(behind, key=lambda one: -place.skipped(one)):
                while entries := await self.store.events.between(
                    shard, place.place(shard), until[shard], BATCH_ENTRIES
                ):
                    told = await self.narrator.events_of(entries, place, watches)
                    if follower.watch in told:
                        yield told[follower.watch]
                if place.place(shard) != until[shard]:  # the last of them was trimmed meanwhile
                    place.move(shard, until[shard])

    # ------------------------------------------------------------ what the reader tells

    def hear(self, entries: list[Entry]) -> None:
        self.pending += entries
        if len(self.pending) >= MOST_PENDING:
            self.has_room.clear()
        self.arrived.set()

    def missed(self, shard: int, reason: str) -> None:
        self.pending.append((shard, reason))
        self.arrived.set()

    async def room(self) -> bool:
        if self.has_room.is_set():
            return False
        await self.has_room.wait()
        return True

    async def tell(self) -> None:
        """Tell what arrives, batch by batch."""
        while True:
            await self.arrived.wait()
            async with self.lock:
                many = batch_of(self.pending)
                batch, self.pending = self.pending[:many], self.pending[many:]
                if len(self.pending) < MOST_PENDING:
                    self.has_room.set()
                if not self.pending:
                    self.arrived.clear()
                await self.tell_batch(batch)
            await asyncio.sleep(0)  # those who were told write

    async def tell_batch(self, batch: Sequence[Entry | tuple[int, str]]) -> None:
        entries = [one for one in batch if isinstance(one, Entry)]
        for reason in dict.fromkeys(one[1] for one in batch if isinstance(one, tuple)):
            self.tell_all(notice("gap", reason))
        while True:
            places = self.places.copy()
            try:
                told = await self.narrator.events_of(entries, places, self.watches)
                break
            except TaskpostError:
                await asyncio.sleep(0.1 + 0.4 * random.random())
            except Exception:
                # A record of a newer version, say. Who follows must not wait for ever for what nobody tells any more.
                log.exception("events could not be read")
                told = {}
                for entry in entries:
                    places.move(entry.shard, entry.id)
                self.tell_all(notice("gap", "unreadable"))
                break
        for watch, events in told.items():
            for follower in self.watches.followers.get(watch, ()):
                follower.offer(events)
        self.places = places

    def tell_all(self, event: Event) -> None:
        for followers in self.watches.followers.values():
            for follower in followers:
                follower.offer([event])


def batch_of(pending: Sequence[Entry | tuple[int, str]]) -> int:
    """How many of *pending* make one batch: one that a client takes at once, if it takes anything."""
    size = 0
    for many, one in enumerate(pending, 1):
        if isinstance(one, Entry):
            size += sum(one.payload[RUN_BYTES - 1 :: RUN_BYTES]) + len(one.payload) // RUN_BYTES
        if size >= BATCH_MOVES:
            return many
    return len(pending)
