"""
What holds back the tasks of queues: a gate for each queue and shard, which scripts obey before they lease anything.

The settings of a queue are the truth; gates are made of them. With one shard a gate has the whole limit, and is exact.
With several, a limit is dealt to them in portions that follow demand, and taken back before it is given elsewhere, so
that together they are never more. Whoever changes gates has a number; once a higher one came, a lower is refused.
"""

from __future__ import annotations

import asyncio
import math
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.store import keys
from service.store.replies import pairs_of
from service.store.tasks import Tasks

PAUSED, CONCURRENCY, RATE, DEALT, LENGTH, DROPS, CLOSED = 1, 2, 4, 8, 16, 32, 64
FORM = struct.Struct(">BIdIdIdI")
DEAL_SECONDS = 0.5
STEPS = 8  # numbers that one dealing may use
BURST_SECONDS = 0.1  # without a burst of its own a rate lets start at once what comes in so long
HOLDING = ("paused", "concurrency", "rate", "max_length", "draining")


@dataclass(frozen=True, slots=True)
class Gate:
    """
    What holds back the tasks of a queue in one shard. *every_ms* lies between two starts, *burst* may start at once,
    *at_ms* is until when starts are paid for; *dealt* may start until *till_ms*; None: no such limit.
    """

    is_paused: bool = False
    concurrency: int | None = None
    every_ms: float | None = None
    burst: int = 1
    at_ms: float = 0
    dealt: int | None = None
    till_ms: float = 0
    length: int | None = None
    drops: bool = False
    is_closed: bool = False

    def packed(self) -> bytes:
        """As shared.lua reads it."""
        flags = (
            PAUSED * self.is_paused
            | CONCURRENCY * (self.concurrency is not None)
            | RATE * (self.every_ms is not None)
            | DEALT * (self.dealt is not None)
            | LENGTH * (self.length is not None)
            | DROPS * self.drops
            | CLOSED * self.is_closed
        )
        return FORM.pack(
            flags, self.concurrency or 0, self.every_ms or 0, self.burst, self.at_ms, self.dealt or 0, self.till_ms,
            self.length or 0,
        )  # fmt: skip


OPEN = Gate()


def parse_gate(text: bytes) -> Gate:
    """What `packed` made, with or without a number behind it."""
    flags, concurrency, every_ms, burst, at_ms, dealt, till_ms, length = FORM.unpack(text[: FORM.size])
    return Gate(
        bool(flags & PAUSED),
        concurrency if flags & CONCURRENCY else None,
        every_ms if flags & RATE else None,
        burst,
        at_ms,
        dealt if flags & DEALT else None,
        till_ms,
        length if flags & LENGTH else None,
        bool(flags & DROPS),
        bool(flags & CLOSED),
    )


def gate_of(settings: dict[str, Any]) -> Gate:
    """What the *settings* of a queue say, all of it."""
    every_ms, burst = None, 1
    if (rate := settings.get("rate")) is not None:
        every_ms = settings.get("period_seconds", 1) * 1000 / rate
        burst = settings.get("burst") or max(1, int(BURST_SECONDS * 1000 / every_ms))
    return Gate(
        is_paused="paused" in settings,
        concurrency=settings.get("concurrency"),
        every_ms=every_ms,
        burst=burst,
        length=settings.get("max_length"),
        drops=settings.get("when_full") == "drop_oldest",
        is_closed="draining" in settings,
    )


@dataclass(slots=True)
class Heard:
    """What limit.lua answers of a queue in a shard. *portion* is its concurrency there, -1 for none."""

    is_done: bool
    portion: int
    running: int
    waiting: int
    at_ms: float

    @property
    def demand(self) -> int:
        return self.running + self.waiting


class Limits:
    """All gates. One for each `Store`."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.turn = 0

    async def apply(self, stored: str, settings: dict[str, Any]) -> None:
        """
        Let the gates of the queue *stored* be what its *settings* say; with several shards, deal its limits.

        Raises:
            StoreUnavailable: no answer; some may be, and the next reconciliation does the rest.
        """
        number, gate = self.number(), gate_of(settings)
        if self.tasks.shards > 1 and (gate.concurrency is not None or gate.every_ms is not None):
            await self.deal(stored, gate, number)
            return
        gate = replace(gate, length=portion_of_length(gate.length, self.tasks.shards))
        packed = b"" if gate == OPEN else gate.packed()
        await asyncio.gather(*(self.set(shard, stored, number, packed) for shard in range(self.tasks.shards)))

    def number(self) -> int:
        """A number for a change that begins now; no two are likely to be the same."""
        return self.tasks.clock.now_ms() * 1_000_000 + random.randrange(1_000_000 - STEPS)

    async def set(
        self, shard: int, stored: str, number: int, packed: bytes | None = None, *, keeps: bool = False
    ) -> Heard:
        """One call of limit.lua: *packed* in place of the gate, None to hear of it only; *keeps* what runs its room."""
        args: list[Any] = [] if packed is None else [packed, int(keeps)]
        reply = await self.tasks.scripts.call(shard, "limit", stored, f"{number:019d}", *args)
        return Heard(reply[0] == 1, *reply[1:])

    async def read(self, shard: int) -> dict[str, Gate]:
        """The gates of *shard*, by stored name."""
        pairs = pairs_of(await self.tasks.scripts.command("HGETALL", keys.limits(shard)))
        return {queue.decode(): parse_gate(text) for queue, text in pairs}

    async def one(self, shard: int, stored: str) -> Gate:
        """The gate of one queue in *shard*."""
        text = await self.tasks.scripts.command("HGET", keys.limits(shard), stored)
        return parse_gate(text) if text else OPEN

    async def next_start_ms(self, stored: str) -> int | None:
        """When the rate of a queue lets its next task start; None when it may now, or has none."""
        gate = await self.one(0, stored if self.tasks.shards == 1 else f"#{stored}")
        if gate.every_ms is None:
            return None
        next_ms = math.ceil(gate.at_ms + (1 - gate.burst) * gate.every_ms)
        return next_ms if next_ms > self.tasks.clock.now_ms() else None

    async def reconcile(self, settings: dict[str, dict[str, Any]]) -> None:
        """
        Let all gates be what the *settings* of queues, by stored name, say: those that a process left behind when it
        died, and the portions of several shards.
        """
        found = await asyncio.gather(*(self.read(shard) for shard in range(self.tasks.shards)))
        for stored in sorted({name.removeprefix("#") for gates in found for name in gates} | settings.keys()):
            wanted, gates = gate_of(settings.get(stored, {})), [one.get(stored, OPEN) for one in found]
            if is_stale(wanted, gates) or await self.has_waiting(stored, wanted):
                await self.apply(stored, settings.get(stored, {}))
            if wanted.every_ms is None and f"#{stored}" in found[0]:
                await self.set(0, f"#{stored}", self.number(), b"")

    async def has_waiting(self, stored: str, wanted: Gate) -> bool:
        """Whether tasks wait for what is dealt to several shards."""
        if self.tasks.shards == 1 or (wanted.concurrency is None and wanted.every_ms is None):
            return False
        shards = range(self.tasks.shards)
        counts = await asyncio.gather(
            *(self.tasks.scripts.command("HGET", keys.count(shard), f"q:{stored}") for shard in shards)
        )
        return any(int(count or 0) for count in counts)

    # ------------------------------------------------------------ several shards

    async def deal(self, stored: str, gate: Gate, number: int) -> None:
        """Deal the limits of *gate* to the shards by what waits there. One that comes too late leaves it to others."""
        shards, length = range(self.tasks.shards), portion_of_length(gate.length, self.tasks.shards)
        heard = await asyncio.gather(*(self.set(shard, stored, number) for shard in shards))
        if not all(one.is_done for one in heard):
            return
        self.turn += 1
        gates = [replace(gate, every_ms=None, burst=1, length=length)] * len(shards)
        if gate.every_ms is not None:
            dealt = await self.draw(stored, gate, number, [one.waiting for one in heard])
            till_ms = self.tasks.clock.now_ms() + DEAL_SECONDS * 4000
            gates = [replace(one, dealt=many, till_ms=till_ms) for one, many in zip(gates, dealt, strict=True)]
        if gate.concurrency is None:
            await asyncio.gather(*(self.set(n, stored, number + 1, one.packed()) for n, one in enumerate(gates)))
            return
        wanted = portions(gate.concurrency, [one.demand for one in heard], self.turn)
        # Take back before giving: what runs keeps its room until it has ended.
        held = [min(want, max(one.portion, 0)) for want, one in zip(wanted, heard, strict=True)]
        taken = await asyncio.gather(
            *(
                self.set(n, stored, number + 1, replace(gates[n], concurrency=held[n]).packed(), keeps=True)
                for n in shards
            )
        )
        if not all(one.is_done for one in taken):
            return
        spare = gate.concurrency - sum(one.portion for one in taken)
        for shard, one in enumerate(taken):
            if (more := min(wanted[shard] - one.portion, spare)) > 0:
                spare -= more
                packed = replace(gates[shard], concurrency=one.portion + more).packed()
                await self.set(shard, stored, number + 2, packed, keeps=True)

    async def draw(self, stored: str, gate: Gate, number: int, waiting: Sequence[int]) -> list[int]:
        """How many tasks each shard may start until the next dealing, drawn from the rate of the whole queue."""
        every_ms, name = gate.every_ms or 1, f"#{stored}"
        burst = max(gate.burst, math.ceil(2 * DEAL_SECONDS * 1000 / every_ms))
        before, now_ms = await self.set(0, name, number), self.tasks.clock.now_ms()
        at_ms = max(before.at_ms, now_ms)
        free = max(0, int((now_ms - at_ms) / every_ms + burst + 1e-6))
        dealt = portions(min(free, sum(waiting)), waiting, self.turn)
        paid = Gate(every_ms=every_ms, burst=burst, at_ms=at_ms + sum(dealt) * every_ms)
        drawn = await self.set(0, name, number + 1, paid.packed())
        return dealt if before.is_done and drawn.is_done else [0] * len(waiting)


def is_stale(wanted: Gate, found: Sequence[Gate]) -> bool:
    """Whether the gates *found* in all shards do not say together what is *wanted*, whatever was used of it since."""
    length = portion_of_length(wanted.length, len(found))
    if len(found) == 1 or (wanted.concurrency is None and wanted.every_ms is None):
        return any(replace(one, at_ms=0) != replace(wanted, length=length) for one in found)
    each = replace(wanted, length=length, every_ms=None, burst=1, dealt=None if wanted.every_ms is None else 0)
    if any(without_portion(one) != without_portion(each) for one in found):
        return True
    given = [one.concurrency for one in found if one.concurrency is not None]
    return (sum(given) if given else None) != wanted.concurrency


def without_portion(gate: Gate) -> Gate:
    """What is the same of *gate* in every shard."""
    return replace(gate, concurrency=None, dealt=None if gate.dealt is None else 0, till_ms=0, at_ms=0)


def portion_of_length(length: int | None, shards: int) -> int | None:
    """How many tasks may wait in each of *shards*, rounded up."""
    return None if length is None else -(-length // shards)


def portions(limit: int, demands: Sequence[int], turn: int) -> list[int]:
    """
    *limit* in portions by *demands*: one for each that has any, in *turn* where there are too few; the rest by how much
    is left of each; what nobody asks for evenly. Their sum is *limit*.
    """
    given = [0] * len(demands)
    order = [(n + turn) % len(demands) for n in range(len(demands))]
    for n in order:
        if demands[n] and limit:
            given[n], limit = 1, limit - 1
    left = [max(demand - one, 0) for demand, one in zip(demands, given, strict=True)]
    if limit and (total := sum(left)):
        shares = [min(one, limit * one // total) for one in left]
        given = [one + share for one, share in zip(given, shares, strict=True)]
        limit -= sum(shares)
    for n in order:
        more = min(limit, max(demands[n] - given[n], 0))
        given[n], limit = given[n] + more, limit - more
    each, rest = divmod(limit, len(demands))
    for place, n in enumerate(order):
        given[n] += each + (place < rest)
    return given
