"""
Which queue goes first when a worker process asks for work: in turn, by weights, or in strict order; and which shard.

Each lane's free slots are shared out by themselves, and each lease loop does so for its shard. The fact to know: what
one queue cannot fill goes to the others in the same call, so an empty queue costs nothing.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heapreplace
from math import lcm
from typing import Protocol

from service.served import Served
from service.task import Leased, stored_queue

HANDFUL = 4
Want = tuple[str, str, int]  # queue, lane, how many


class Turns(Protocol):
    """What a lease loop asks, one call at a time."""

    def wants(self, queues: list[str], rooms: Mapping[str, int], call: int) -> list[Want]:
        """What the call of this number asks for, in order. *rooms* by lane."""

    def hear(self, leased: Sequence[Leased], *, is_cut_short: bool) -> None:
        """What that call brought, and whether it was full before every want had been looked at."""


def turns_of(served: Served) -> Turns:
    """The way that the settings ask for."""
    if served.is_strict:
        return InOrder()
    return ByWeight(served.weights) if served.weights else InTurn()


class InTurn:
    """Each call another queue and lane come first, so that none starves: a call brings 128 tasks altogether."""

    def wants(self, queues: list[str], rooms: Mapping[str, int], call: int) -> list[Want]:
        queues = turned(queues, call)
        lanes = turned(rooms, call // max(len(queues), 1))
        return [(queue, lane, rooms[lane]) for queue in queues for lane in lanes]

    def hear(self, leased: Sequence[Leased], *, is_cut_short: bool) -> None:
        pass


class InOrder(InTurn):
    """The first queue always first; the next gets the slots that it leaves free."""

    def wants(self, queues: list[str], rooms: Mapping[str, int], call: int) -> list[Want]:
        lanes = turned(rooms, call)
        return [(queue, lane, rooms[lane]) for queue in queues for lane in lanes]


class ByWeight:
    """Of the tasks that are taken while several queues have work, each queue's part is its weight's."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        self.weights = weights
        self.lanes: dict[str, Shares] = {}
        self.asked: dict[str, tuple[int, dict[str, int]]] = {}  # by lane: the room, and each queue's share of it

    def wants(self, queues: list[str], rooms: Mapping[str, int], call: int) -> list[Want]:
        self.asked = {}
        for lane in turned(rooms, call):
            shares = self.lanes.setdefault(lane, Shares({queue: self.weights[queue] for queue in queues}))
            self.asked[lane] = rooms[lane], shares.of(rooms[lane])
        asked = self.asked.items()
        first = [(queue, lane, many) for lane, (_, shares) in asked for queue, many in shares.items() if many]
        return first + [(queue, lane, room) for lane, (room, shares) in asked for queue in shares]

    def hear(self, leased: Sequence[Leased], *, is_cut_short: bool) -> None:
        taken = Counter((task.lane, stored_queue(task.namespace, task.queue)) for task in leased if not task.is_suspect)
        for lane, (room, shares) in self.asked.items():
            brought = {queue: taken[lane, queue] for queue in shares}
            self.lanes[lane].hear(room, shares, brought, is_cut_short)


class Shares:
    """
    The slots of one lane, shared out by stride scheduling.

    Each task moves its queue on by a stride, the shorter the greater its weight, and the queue that is furthest behind
    is next. They begin at random within their first stride, or all processes and shards would begin with the same. A
    queue that was empty begins where the others are: it saves nothing up.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        whole = lcm(*weights.values())
        self.strides = {queue: whole // weight for queue, weight in weights.items()}
        self.moved = self.beginning()
        self.dry: set[str] = set()  # had nothing when they were asked last

    def beginning(self) -> dict[str, int]:
        return {queue: random.randrange(stride) for queue, stride in self.strides.items()}

    def of(self, room: int) -> dict[str, int]:
        """Each queue's part of *room*, who is furthest behind first; before them queues that were empty, with one."""
        heap = [
            (moved, place, queue) for place, (queue, moved) in enumerate(self.moved.items()) if queue not in self.dry
        ]
        heapify(heap)
        shares = {queue: 1 for queue in self.moved if queue in self.dry} | {queue: 0 for _, _, queue in sorted(heap)}
        for _ in range(room):
            moved, place, queue = heap[0]
            shares[queue] += 1
            heapreplace(heap, (moved + self.strides[queue], place, queue))
        return shares

    def hear(self, room: int, shares: Mapping[str, int], brought: Mapping[str, int], is_cut_short: bool) -> None:
        """What each queue brought of its share, or beyond it."""
        level = min(moved for queue, moved in self.moved.items() if queue not in self.dry)
        for queue, many in brought.items():
            if many and queue in self.dry:
                self.dry.discard(queue)
                self.moved[queue] = max(self.moved[queue], level)
            self.moved[queue] += many * self.strides[queue]
        if is_cut_short:
            return
        if sum(brought.values()) < room:  # nothing is left in any of them
            self.dry, self.moved = set(), self.beginning()
        elif any(brought[queue] > share for queue, share in shares.items()):  # so all have been asked
            self.dry |= {queue for queue, share in shares.items() if brought[queue] < share}


class Rounds:
    """
    Which shard takes the next of a process' slots while there are fewer than shards that look for work: in each round a
    shard takes a handful, so that none starves and most calls report and lease in one.
    """

    def __init__(self) -> None:
        self.taken: defaultdict[str, Counter[int]] = defaultdict(Counter)  # in this round, by lane and shard

    def before(self, lane: str, shard: int, others: Sequence[int]) -> list[int]:
        """Those of *others* that come before *shard*, because it has had its part of this round and they have not."""
        taken = self.taken[lane]
        if taken[shard] < HANDFUL:
            return []
        before = [other for other in others if taken[other] < HANDFUL]
        if not before:
            taken.clear()
        return before

    def note(self, shard: int, leased: Sequence[Leased]) -> None:
        """What *shard* has brought."""
        for task in leased:
            self.taken[task.lane][shard] += 1


def turned(names: Iterable[str], turn: int) -> list[str]:
    """*names* in the same order, starting with another one each turn."""
    names = list(names)
    start = turn % max(len(names), 1)
    return names[start:] + names[:start]
