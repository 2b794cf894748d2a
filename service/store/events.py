"""
The event stream: what happened to which task, in order; and waiting for a task to end without polling.

One reader for each process (on a cluster one a shard) serves all who wait and all who listen. It runs only while
somebody does. An entry is one script call; in it, a letter (see `task.EVENTS`) with a run of ids says that these tasks
moved. The fact to know: who listens holds the reader back until it has room, so that what nobody could take yet waits
in Redis; when that has been trimmed meanwhile, those who listen are told.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from redis.asyncio.cluster import RedisCluster

from service.errors import TaskpostError
from service.store import keys
from service.store.connection import FAILURES, Client, translated
from service.task import ENDED, EVENTS

log = logging.getLogger("taskpost.events")

BLOCK_MS = 5000
RUN_BYTES = 18
MOST_ENTRIES = 500  # a read
KEPT_ENTRIES = 4096  # a stream keeps at least so many: see writes.lua
MOST_QUEUED = 1000  # reads, for a listener that asks when it suits him
START = b"0-0"
ENDINGS = frozenset(ENDED.values())
Transition = tuple[str, bytes]


@dataclass(slots=True)
class Entry:
    """One entry of a shard's stream."""

    shard: int
    id: bytes
    payload: bytes


class Listener(Protocol):
    """Somebody who hears everything that happens."""

    def hear(self, entries: list[Entry]) -> None:
        """Entries of one or more shards, in the order of each."""

    def missed(self, shard: int, reason: str) -> None:
        """Before the next entries of *shard* some are gone: `trimmed`, or `replaced` with the whole stream."""

    async def room(self) -> bool:
        """Return when more can be heard; whether that took a while."""


def transitions_of(payload: bytes) -> list[tuple[bytes, bytes]]:
    """The (letter, id) pairs of one entry: runs of a letter, a first id and how many follow it (1 byte)."""
    pairs_ = []
    for at in range(0, len(payload), RUN_BYTES):
        letter, first, more = payload[at : at + 1], payload[at + 1 : at + 17], payload[at + 17]
        pairs_.append((letter, first))
        if more:
            stem, tail = first[:14], int.from_bytes(first[14:], "big")
            pairs_ += [(letter, stem + (tail + n).to_bytes(2, "big")) for n in range(1, more + 1)]
    return pairs_


class Events:
    """Reads the streams of all shards; *client* is one of its own, made for blocking reads of `BLOCK_MS`."""

    def __init__(self, client: Client, shards: int) -> None:
        self.client, self.shards = client, shards
        self.waiting: dict[bytes, set[asyncio.Future[None]]] = defaultdict(set)
        self.listeners: list[Listener] = []
        self.places: dict[int, bytes] = {}  # up to where each stream has been read
        self.readers: list[asyncio.Task[None]] = []
        self.starting: asyncio.Lock = asyncio.Lock()

    # ------------------------------------------------------------ waiting and listening

    async def ended(self, id_: bytes) -> asyncio.Future[None]:
        """
        A future that is done when the task ends, or when the answer must be looked up again (a reader that lost
        its connection may have missed it). Ask for it first, then read the task: nothing falls in between.

        Cancel it when it is no longer wanted.

        Raises:
            StoreUnavailable: the stream cannot be read.
        """
        await self.run()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting[id_].add(future)
        future.add_done_callback(lambda done: self.drop(id_, done))
        return future

    def drop(self, id_: bytes, future: asyncio.Future[None]) -> None:
        futures = self.waiting.get(id_)
        if futures is not None:
            futures.discard(future)
            if not futures:
                del self.waiting[id_]

    async def listen(self, listener: Listener) -> dict[int, bytes]:
        """
        Let *listener* hear everything behind the places answered, by shard, until `leave`.

        Raises:
            StoreUnavailable: the stream cannot be read.
        """
        await self.run()
        self.listeners.append(listener)
        return dict(self.places)

    def leave(self, listener: Listener) -> None:
        if listener in self.listeners:
            self.listeners.remove(listener)

    async def follow(self) -> AsyncIterator[list[Transition]]:
        """
        Everything that happens from now on, as lists of (state, "progress" or "log", id), one list a look.

        Raises:
            StoreUnavailable: the stream cannot be read.
        """
        listener = Queued()
        await self.listen(listener)
        try:
            while True:
                got = await listener.queue.get()
                pairs_ = [pair for entry in got for pair in transitions_of(entry.payload)]
                yield [(EVENTS[letter], id_) for letter, id_ in pairs_ if letter in EVENTS]
        finally:
            self.leave(listener)

    # ------------------------------------------------------------ reading

    async def run(self) -> None:
        """Have the streams read. Raises StoreUnavailable."""
        async with self.starting:
            if not self.readers:
                await self.start()

    async def start(self) -> None:
        """Start reading behind what is in the streams now."""
        self.places = {shard: await self.last(shard) for shard in range(self.shards)}
        self.readers = [asyncio.create_task(self.read(shards)) for shards in self.groups()]

    def groups(self) -> list[list[int]]:
        """Shards that one connection can read together."""
        if isinstance(self.client, RedisCluster):
            return [[shard] for shard in range(self.shards)]
        return [list(range(self.shards))]

    async def read(self, shards: list[int]) -> None:
        """Wake those whose tasks end, and tell those who listen, until there are none."""
        is_idle, is_doubtful = False, False
        try:
            while self.waiting or self.listeners or not is_idle:
                try:
                    for listener in list(self.listeners):
                        is_doubtful |= await listener.room()
                    if is_doubtful:
                        await self.look_back(shards)
                    entries = await self.next_entries(shards)
                except TaskpostError:
                    is_doubtful = True
                    self.wake_all()
                    await asyncio.sleep(0.1 + 0.4 * random.random())
                    continue
                is_idle = not self.waiting and not self.listeners
                is_doubtful = len(entries) >= MOST_ENTRIES  # far behind: what comes next may be gone
                self.tell(entries)
        finally:
            # Another group may still be needed; whoever starts again must start with all of them.
            me = asyncio.current_task()
            others = [reader for reader in self.readers if reader is not me]
            self.readers = []
            for reader in others:
                reader.cancel()
            self.wake_all()

    def tell(self, entries: list[Entry]) -> None:
        if self.waiting:
            for entry in entries:
                for letter, id_ in transitions_of(entry.payload):
                    if letter in ENDINGS and id_ in self.waiting:
                        self.wake(id_)
        if entries:
            for listener in list(self.listeners):
                listener.hear(entries)

    async def next_entries(self, shards: list[int], block_ms: int = BLOCK_MS) -> list[Entry]:
        """The entries behind the places of *shards*, which move on; empty when none came in *block_ms*."""
        streams = {keys.events(shard).encode(): shard for shard in shards}
        places = [self.places[shard] for shard in shards]
        command: list[Any] = ["XREAD", "COUNT", MOST_ENTRIES, "BLOCK", block_ms, "STREAMS", *streams, *places]
        # On a cluster the library finds the node by the key, which stands late in XREAD.
        target: dict[str, Any] = {}
        try:
            if isinstance(self.client, RedisCluster):
                target["target_nodes"] = self.client.get_node_from_key(keys.events(shards[0]))
            reply = await self.client.execute_command(*command, **target)
        except FAILURES as exc:
            raise translated(exc) from exc
        found = []
        for stream, raw in pairs(reply):
            shard = streams[stream]
            found += entries_of(shard, raw)
            if raw:
                self.places[shard] = raw[-1][0]
        return found

    # ------------------------------------------------------------ looking back

    async def between(self, shard: int, after: bytes, until: bytes, most: int) -> list[Entry]:
        """The first *most* entries behind *after*, up to and with *until*. Raises StoreUnavailable."""
        return entries_of(shard, await self.command("XRANGE", keys.events(shard), b"(" + after, until, "COUNT", most))

    async def look_back(self, shards: list[int]) -> None:
        """Tell those who listen where entries behind the reader's places are gone."""
        for shard in shards:
            if self.listeners and (reason := await self.lost_since(shard, self.places[shard])):
                for listener in list(self.listeners):
                    listener.missed(shard, reason)

    async def lost_since(self, shard: int, place: bytes) -> str | None:
        """
        Why entries behind *place* may be gone: `trimmed`, or `replaced` with the stream; None when they are all there.

        Raises:
            StoreUnavailable: it cannot be known.
        """
        key = keys.events(shard)
        if place == START:
            return "trimmed" if await self.command("XLEN", key) >= KEPT_ENTRIES else None
        if await self.command("XRANGE", key, place, place, "COUNT", 1):
            return None
        first = await self.command("XRANGE", key, "-", "+", "COUNT", 1)
        return "trimmed" if first and numbers_of(place) < numbers_of(first[0][0]) else "replaced"

    async def last(self, shard: int) -> bytes:
        """The id of the newest entry, `0-0` before the first."""
        newest = await self.command("XREVRANGE", keys.events(shard), "+", "-", "COUNT", 1)
        return newest[0][0] if newest else START

    async def command(self, *words: Any) -> Any:
        try:
            return await self.client.execute_command(*words)
        except FAILURES as exc:
            raise translated(exc) from exc

    # ------------------------------------------------------------ waking

    def wake(self, id_: bytes) -> None:
        for future in list(self.waiting.get(id_, ())):
            if not future.done():
                future.set_result(None)

    def wake_all(self) -> None:
        for id_ in list(self.waiting):
            self.wake(id_)

    async def close(self) -> None:
        for reader in list(self.readers):
            reader.cancel()
        self.wake_all()
        await self.client.aclose()


class Queued:
    """Listens for somebody who asks when it suits him."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[list[Entry]] = asyncio.Queue()

    def hear(self, entries: list[Entry]) -> None:
        self.queue.put_nowait(entries)

    def missed(self, shard: int, reason: str) -> None:
        log.warning("events of shard %d were missed: %s", shard, reason)

    async def room(self) -> bool:
        has_waited = False
        while self.queue.qsize() >= MOST_QUEUED:
            has_waited = True
            await asyncio.sleep(0.01)
        return has_waited


def entries_of(shard: int, raw: Any) -> list[Entry]:
    """Entries in the shape in which the library gives them."""
    return [Entry(shard, id_, fields[1] if isinstance(fields, list) else fields[b"e"]) for id_, fields in raw]


def numbers_of(id_: bytes) -> tuple[int, int]:
    at_ms, _, number = id_.partition(b"-")
    return int(at_ms), int(number)


def pairs(reply: Any) -> list[tuple[bytes, Any]]:
    """XREAD's reply as (stream, entries) pairs, whatever shape the library gives it."""
    if not reply:
        return []
    if isinstance(reply, dict):
        return [
            (name, entries[0] if entries and isinstance(entries[0], list) else entries)
            for name, entries in reply.items()
        ]
    return [(name, entries) for name, entries in reply]
