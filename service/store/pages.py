"""
Lists of tasks, a page at a time, in the natural order of what was asked for.

    queued                            position: queue, priority, lane, place in its list
    scheduled                         due time, earliest first
    running, cancelling               newest first
    succeeded, cancelled, expired     newest end first; failed likewise
    several of those that have ended  newest end first
    no state, or other mixtures       newest first, from the order of creation

A walk finds candidates by a *source* (an async iterator of ids, each with the place behind it) and looks at them.
A page looks at no more than 1,000 tasks; a cursor is such a place. Tasks that move during a walk may be seen
twice or not at all; a task that stays is seen once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from typing import Any

import orjson

from service.errors import InvalidQuery
from service.ids import created_ms, decode_id, encode_id
from service.search import AHEAD_MS, LATE_MS, Query
from service.store import keys
from service.store.queues import Queues
from service.store.tasks import Tasks
from service.store.walks import CHUNK, MOST_ID, Walk, expanded, merged, newest_first, scored_pairs
from service.task import ENDED, LETTERS, Snapshot, split_queue, stored_queue

MOST_EXAMINED = 1000
MOST_BYTES = 4 << 20
MOST_PLACES = 1 << 32  # in one list
LISTS = [letter.decode() for letter in LETTERS.values()]
LEASED = frozenset(("running", "cancelling"))
HAVE_ENDED, FAILED = frozenset(ENDED), frozenset(("failed",))

Place = list[Any]
OneList = tuple[str, int, int, str, str]  # queue, priority, shard, letter of the lane, name of the line or nothing
Candidates = AsyncIterator[tuple[bytes, Place]]


def pack_cursor(query: Query, place: Place) -> str:
    """An opaque cursor; it says for which state it was made."""
    return base64.urlsafe_b64encode(orjson.dumps([query.state, *written(place)])).decode().rstrip("=")


def written(place: Place) -> Place:
    """*place* as JSON can hold it. Sources give ids as bytes: of a thousand places one is kept."""
    return [encode_id(part) if isinstance(part, bytes) else part for part in place]


def unpack_cursor(query: Query, cursor: str) -> Place:
    """Raises InvalidQuery for a cursor that was not made by `pack_cursor` for such a query."""
    try:
        place: Place
        state, *place = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if state != query.state or not place:
            raise ValueError(cursor)
    except (binascii.Error, ValueError, TypeError) as exc:
        raise InvalidQuery(
            "The cursor does not belong to this list.",
            errors=[
                {
                    "parameter": "cursor",
                    "detail": "use next_cursor of a page that was asked for in the same way",
                }
            ],
        ) from exc
    return place


def is_left_behind(query: Query, place: Place, task: Snapshot) -> bool:
    """Whether an entry of a list is one that its task has left behind when it was amended."""
    return query.states == {"queued"} and ord(place[5][1]) != task.record.generation


def order_of(one: OneList) -> tuple[str, int, int, int, str]:
    """By queue, the higher priority first, then by shard, lane and line."""
    stored, priority, shard, letter, name = one
    return stored, -priority, shard, LISTS.index(letter), name


class Pages:
    """Reads lists of tasks over all shards."""

    def __init__(self, tasks: Tasks, queues: Queues) -> None:
        self.tasks, self.queues, self.walk = tasks, queues, Walk(tasks.scripts)

    async def page(self, query: Query, limit: int, cursor: str | None) -> tuple[list[Snapshot], str | None]:
        """
        Up to *limit* tasks, and the cursor of the next page (None at the end).

        Raises:
            InvalidQuery: *cursor* is not of this list.
        """
        place = unpack_cursor(query, cursor) if cursor else None
        try:
            source = self.source(query, place)
            return await self.collect(query, source, limit)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as exc:
            if cursor is None:
                raise
            raise InvalidQuery(
                "The cursor is damaged.", errors=[{"parameter": "cursor", "detail": "use it as given"}]
            ) from exc

    def source(self, query: Query, place: Place | None) -> Candidates:
        """What may belong to the answer, behind *place*."""
        if query.states == {"queued"}:
            return self.queued(query, place)
        if query.states == {"scheduled"}:
            return self.scheduled(query, place)
        if query.states <= LEASED:
            return self.running(place)
        if query.states <= HAVE_ENDED:
            return self.ended(query, place)
        return self.created(query, place)

    async def collect(self, query: Query, source: Candidates, limit: int) -> tuple[list[Snapshot], str | None]:
        """Look at candidates until the page is full, or enough was looked at."""
        found: list[Snapshot] = []
        examined, size, more = 0, 0, bool(query.states)
        while more:
            chunk: list[tuple[bytes, Place]] = []
            # Rarely more than needed: a page of 50 without filters reads 50 tasks.
            while len(chunk) < min(CHUNK, max(limit - len(found), 1)) and more:
                candidate = await anext(source, None)
                more = candidate is not None
                if candidate is not None:
                    chunk.append(candidate)
            for (_, place), task in zip(chunk, await self.tasks.read([id_ for id_, _ in chunk]), strict=True):
                examined += 1
                if task is not None and query.takes(task) and not is_left_behind(query, place, task):
                    found.append(task)
                    size += task.size
                if len(found) >= limit or size >= MOST_BYTES or examined >= MOST_EXAMINED:
                    return found, pack_cursor(query, place)
        return found, None

    # ------------------------------------------------------------ sources

    async def created(self, query: Query, place: Place | None) -> Candidates:
        """All tasks that are old and young enough, newest first: the order of creation, merged over the shards."""
        bound, oldest_ms = decode_id(place[0]) if place else MOST_ID, query.oldest_ms
        if query.created_before is not None:
            bound = min(bound, query.created_before.to_bytes(6, "big") + bytes(10))
        streams = [self.created_in(shard, bound) for shard in range(self.tasks.shards)]
        async for id_ in merged(streams, newest_first):
            if created_ms(id_) < oldest_ms:
                return
            yield id_, [id_]

    async def created_in(self, shard: int, bound: bytes) -> AsyncIterator[bytes]:
        """
        Ids of *shard* below *bound*, newest first.

        Buckets follow each other in time, but what is in them overlaps: an id has the time of its submitter's clock
        and may have been sent again for seconds. So an id is given out only when all buckets have been seen that
        were open when it, or a newer one, can have come in.
        """
        pool: list[bytes] = []
        below: Any = "+inf" if bound == MOST_ID else created_ms(bound) + LATE_MS
        seen: list[tuple[int, bytes]] = []
        while True:
            reply = await self.tasks.scripts.command(
                "ZREVRANGEBYSCORE", keys.made(shard), below, "-inf", "WITHSCORES", "LIMIT", 0, 4 + len(seen)
            )
            buckets = [pair for pair in scored_pairs(reply) if pair not in seen]
            if not buckets:
                break
            for opened_ms, bucket in buckets:
                runs = await self.tasks.scripts.command("LRANGE", keys.made_bucket(shard, bucket), 0, -1)
                pool += [run for run in runs if run[:16] < bound]
                newer = sorted((run for run in pool if created_ms(run) > opened_ms + AHEAD_MS), reverse=True)
                for id_ in expanded(newer, bound):
                    yield id_
                pool = [run for run in pool if created_ms(run) <= opened_ms + AHEAD_MS]
            below = buckets[-1][0]
            seen = [pair for pair in seen + buckets if pair[0] == below]
        for id_ in expanded(sorted(pool, reverse=True), bound):
            yield id_

    async def running(self, place: Place | None) -> Candidates:
        """All leased tasks, newest first. As many as there are slots, so that all ids are read at once."""
        bound = decode_id(place[0]) if place else MOST_ID
        held: list[bytes] = []
        for shard in range(self.tasks.shards):
            held += await self.tasks.scripts.command("ZRANGE", keys.lease(shard), 0, -1)
        for id_ in sorted((id_ for id_ in held if id_ < bound), reverse=True):
            yield id_, [id_]

    async def ended(self, query: Query, place: Place | None) -> Candidates:
        """Ended tasks, newest end first."""
        bound = (int(place[0]), decode_id(place[1])) if place else None
        if bound is None and query.finished_before is not None:
            bound = query.finished_before, b""
        kinds = [failed for failed in (True, False) if query.states & (FAILED if failed else HAVE_ENDED - FAILED)]
        streams = [
            self.walk.scored(keys.ended(shard, failed), bound, True)
            for failed in kinds
            for shard in range(self.tasks.shards)
        ]
        async for score, id_ in merged(streams, lambda pair: (-pair[0], newest_first(pair[1]))):
            if score < query.first_end_ms:
                return
            yield id_, [score, id_]

    async def scheduled(self, query: Query, place: Place | None) -> Candidates:
        """Delayed and retrying tasks by due time."""
        bound = (int(place[0]), place[1].encode("latin-1")) if place else None
        streams = [
            self.walk.scored(keys.due(shard, stored), bound, False)
            for stored in await self.stored_queues(query, "scheduled")
            for shard in range(self.tasks.shards)
        ]
        async for score, entry in merged(streams, lambda pair: pair):
            yield entry[2:18], [score, entry.decode("latin-1")]

    async def queued(self, query: Query, place: Place | None) -> Candidates:
        """Ready tasks as workers will take them: list after list; those with ties line after line."""
        lists = await self.lists(await self.stored_queues(query, "queued"))
        seen, index = b"", 0
        if place:
            index = min(max(0, int(place[6])), MOST_PLACES)
            at = (place[0], int(place[1]), int(place[2]), place[3], place[4])
            seen = place[5].encode("latin-1")
            lists = [one for one in lists if order_of(one) >= order_of(at)]
        for one in lists:
            stored, priority, shard, letter, name = one
            is_begun = place is not None and one == at
            plain = keys.ready(shard, stored, letter, priority)
            key = keys.line(shard, stored, name.encode("latin-1")) if name else plain
            async for entry, index_of_entry in self.walk.listed(key, *((seen, index) if is_begun else (b"", 0))):
                yield entry[2:], [*one, entry.decode("latin-1"), index_of_entry]

    async def lists(self, queues: list[str]) -> list[OneList]:
        """The lists and lines of *queues*, in the order in which they are walked."""
        places = [(stored, shard) for stored in queues for shard in range(self.tasks.shards)]
        found = await asyncio.gather(
            *(self.tasks.scripts.command("ZRANGE", keys.lined(shard, stored), 0, -1) for stored, shard in places)
        )
        lists: list[OneList] = [
            (stored, priority, shard, letter, "")
            for stored, shard in places
            for priority in range(10)
            for letter in LISTS
        ]
        for (stored, shard), names in zip(places, found, strict=True):
            texts = [name.decode("latin-1") for name in names]
            lists += [(stored, int(text[1]), shard, text[0], text) for text in texts]
        return sorted(lists, key=order_of)

    # ------------------------------------------------------------ reading Redis

    async def stored_queues(self, query: Query, state: str) -> list[str]:
        """The queues to look into; without one named, those of the namespace that hold tasks in *state*."""
        if query.queue is not None:
            return [stored_queue(query.namespace, query.queue)]
        counts = await self.queues.counts()
        return sorted(
            name for name, counted in counts.items() if counted[state] and split_queue(name)[0] == query.namespace
        )

