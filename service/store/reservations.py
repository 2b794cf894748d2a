"""
Idempotency keys that live in another shard than their tasks.

A key is reserved first, with the id that its task is to have, then the task is submitted by that id, then the
reservation is confirmed. Whoever comes with the same key after a crash in between goes on where that stopped: the id
is the same, so that nothing is made twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.ids import new_ids
from service.store.new import DUPLICATE, IN_FLIGHT, MISMATCH, REPLAYED, TAKEN_IN, New, Taken
from service.store.tasks import IDEMPOTENCY_MS, MOST_A_CALL, Tasks

IN_FLIGHT_MS = 5000  # who reserved a key is given so long to submit its task, before another does
STATUS_OF = {ord("K"): REPLAYED, ord("M"): MISMATCH, ord("F"): IN_FLIGHT}


@dataclass(slots=True)
class Reserved:
    """A key that this call holds: its task goes in by *id*, which somebody else chose before if it *is_resumed*."""

    hash: bytes
    id: bytes
    is_resumed: bool


class Reservations:
    """Reserves keys, and says what came of it. One for each `Store`."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks

    def is_apart(self, task: New) -> bool:
        """Whether its idempotency key lives in another shard than the task."""
        key, tasks = task.idempotency, self.tasks
        return bool(key) and tasks.shards > 1 and tasks.shard_of_hash(key) != tasks.shard_of_hash(task.home)

    async def reserve(self, going: list[New], taken: dict[int, Taken]) -> dict[int, Reserved]:
        """
        Reserve the keys that lie apart: *going* then has their tasks with their ids; *taken* has what is decided by the
        key alone, and what the same key has been given before among these.

        Raises:
            StoreUnavailable, StoreFull: nothing was submitted.
        """
        now_ms, chosen = self.tasks.clock.now_ms(), dict[int, bytes]()
        words: dict[int, bytes] = {}
        for place, task in enumerate(going):
            if self.is_apart(task):
                (chosen[place],) = new_ids(self.tasks.shard_of_hash(task.home), 1, now_ms)
                words[place] = task.idempotency[:16] + chosen[place] + task.idempotency[16:24]
        answers = await self.call("reserve", words, IN_FLIGHT_MS)
        reserved: dict[int, Reserved] = {}
        for place, id_ in chosen.items():
            status, found = answers[place]
            if status == ord("N"):
                reserved[place] = Reserved(going[place].idempotency[:16], found, found != id_)
                going[place] = replace(going[place], idempotency=b"", id=found)
            else:
                taken[place] = Taken(found, now_ms, STATUS_OF[status])
        return reserved

    async def settle(self, reserved: Mapping[int, Reserved], taken: dict[int, Taken]) -> None:
        """Confirm the keys of tasks that are there, let go of the others; a key that came twice has one answer."""
        words: dict[int, bytes] = {}
        answered: dict[bytes, Taken] = {}
        for place, one in reserved.items():
            answer = taken[place]
            if one.is_resumed and answer.status == TAKEN_IN:
                answer.status = REPLAYED
            stands = answer.status in (TAKEN_IN, REPLAYED, DUPLICATE)
            words[place] = one.hash + one.id + (answer.id if stands else b"")
            answered[one.id] = answer
        await self.call("confirm", words)
        for place, answer in taken.items():
            first = answered.get(answer.id)
            if answer.status == IN_FLIGHT and first is not None:
                taken[place] = Taken(first.id, first.now_ms, REPLAYED if first.status == TAKEN_IN else first.status)

    async def call(self, script: str, words: Mapping[int, bytes], *given: Any) -> dict[int, tuple[int, bytes]]:
        """*script* for *words*, which begin with the hash of a key, each in that key's shard: (status, id) of each."""
        by_shard: dict[int, list[int]] = {}
        for place, word in words.items():
            by_shard.setdefault(self.tasks.shard_of_hash(word), []).append(place)
        answers: dict[int, tuple[int, bytes]] = {}

        async def one_call(shard: int, places: Sequence[int]) -> None:
            args = (IDEMPOTENCY_MS, *given, *(words[place] for place in places))
            reply = await self.tasks.scripts.call(shard, script, *args)
            if isinstance(reply, list):
                ids = [reply[2][n : n + 16] for n in range(0, len(reply[2]), 16)]
                answers.update(zip(places, zip(reply[1], ids, strict=True), strict=True))

        parts = [
            (shard, places[start : start + MOST_A_CALL])
            for shard, places in by_shard.items()
            for start in range(0, len(places), MOST_A_CALL)
        ]
        await asyncio.gather(*(one_call(*part) for part in parts))
        return answers
