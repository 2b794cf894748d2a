"""
The event stream: what happened to which task, in order; and waiting for a task to end without polling.

One reader for each process (on a cluster one a shard) serves all who wait. It runs only while somebody does.
An entry is one script call; in it, a letter (see `task.EVENTS`) with a run of ids says that these tasks moved.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio.cluster import RedisCluster

from service.errors import StoreUnavailable
from service.store import keys
from service.store.connection import FAILURES, Client, translated
from service.task import ENDED, EVENTS

log = logging.getLogger("taskpost.events")

BLOCK_MS = 5000
RUN_BYTES = 18
ENDINGS = frozenset(ENDED.values())
Transition = tuple[str, bytes]


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
        self.readers: list[asyncio.Task[None]] = []
        self.starting: asyncio.Lock = asyncio.Lock()

    async def ended(self, id_: bytes) -> asyncio.Future[None]:
        """
        A future that is done when the task ends, or when the answer must be looked up again (a reader that lost
        its connection may have missed it). Ask for it first, then read the task: nothing falls in between.

        Cancel it when it is no longer wanted.

        Raises:
            StoreUnavailable: the stream cannot be read.
        """
        async with self.starting:
            if not self.readers:
                await self.start()
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

    async def start(self) -> None:
        """Start reading behind what is in the streams now."""
        self.readers = [asyncio.create_task(self.read(places)) for places in await self.ends()]

    async def ends(self) -> list[dict[str, bytes]]:
        """Where each group's streams end now; all of them, or an error."""
        return [{keys.events(shard): await self.last(shard) for shard in shards} for shards in self.groups()]

    def groups(self) -> list[list[int]]:
        """Shards that one connection can read together."""
        if isinstance(self.client, RedisCluster):
            return [[shard] for shard in range(self.shards)]
        return [list(range(self.shards))]

    async def last(self, shard: int) -> bytes:
        """The id of the newest entry, `0-0` before the first."""
        try:
            newest = await self.client.execute_command("XREVRANGE", keys.events(shard), "+", "-", "COUNT", 1)
        except FAILURES as exc:
            raise translated(exc) from exc
        return newest[0][0] if newest else b"0-0"

    async def read(self, places: dict[str, bytes]) -> None:
        """Wake those whose tasks end, until nobody waits."""
        idle = False
        try:
            while self.waiting or not idle:
                try:
                    entries = await self.next_entries(places)
                except StoreUnavailable:
                    self.wake_all()
                    await asyncio.sleep(0.1 + 0.4 * random.random())
                    continue
                idle = not self.waiting
                for payload in entries:
                    for letter, id_ in transitions_of(payload):
                        if letter in ENDINGS and id_ in self.waiting:
                            self.wake(id_)
        finally:
            # Another group may still be needed; whoever starts again must start with all of them.
            me = asyncio.current_task()
            others = [reader for reader in self.readers if reader is not me]
            self.readers = []
            for reader in others:
                reader.cancel()
            self.wake_all()

    async def next_entries(self, places: dict[str, bytes], block_ms: int = BLOCK_MS) -> list[bytes]:
        """The entries behind *places*, which move on; empty when none came in *block_ms*."""
        command: list[Any] = ["XREAD", "COUNT", 500, "BLOCK", block_ms, "STREAMS", *places, *places.values()]
        try:
            # On a cluster the library finds the node by the key, which stands late in XREAD.
            target: dict[str, Any] = {}
            if isinstance(self.client, RedisCluster):
                target["target_nodes"] = self.client.get_node_from_key(next(iter(places)))
            reply = await self.client.execute_command(*command, **target)
        except FAILURES as exc:
            raise translated(exc) from exc
        payloads = []
        for stream, entries in pairs(reply):
            for entry_id, fields in entries:
                places[stream.decode()] = entry_id
                payloads.append(fields[1] if isinstance(fields, list) else fields[b"e"])
        return payloads

    def wake(self, id_: bytes) -> None:
        for future in list(self.waiting.get(id_, ())):
            if not future.done():
                future.set_result(None)

    def wake_all(self) -> None:
        for id_ in list(self.waiting):
            self.wake(id_)

    async def follow(self) -> AsyncIterator[list[Transition]]:
        """
        Everything that happens from now on, as lists of (state or "progress", id), one list a look.

        Raises:
            StoreUnavailable: the stream cannot be read; call again to go on from then.
        """
        queue: asyncio.Queue[list[bytes] | StoreUnavailable] = asyncio.Queue(1000)

        async def pump(places: dict[str, bytes]) -> None:
            try:
                while True:
                    if entries := await self.next_entries(places):
                        await queue.put(entries)
            except StoreUnavailable as exc:
                await queue.put(exc)

        pumps = [asyncio.create_task(pump(places)) for places in await self.ends()]
        try:
            while True:
                got = await queue.get()
                if isinstance(got, StoreUnavailable):
                    raise got
                yield [(EVENTS[letter], id_) for payload in got for letter, id_ in transitions_of(payload)]
        finally:
            for task in pumps:
                task.cancel()

    async def close(self) -> None:
        for reader in list(self.readers):
            reader.cancel()
        self.wake_all()
        await self.client.aclose()


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
