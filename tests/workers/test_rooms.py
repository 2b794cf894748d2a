"""What a lease loop asks for: room in every lane that has some, queues and lanes in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from service.settings import Settings
from workers.held import HeldTable
from workers.runtime import LeaseLoop
from workers.slots import Slots
from workers.turns import HANDFUL


@pytest.fixture
def loop() -> Iterator[LeaseLoop]:
    table = HeldTable(800)
    unused: Any = SimpleNamespace(tasks=None)
    slots = Slots({"url": 100, "async": 100, "process": 16}, {}, {}, table)
    made = LeaseLoop(unused, 0, unused, slots, table, Settings(), lambda *_: None)
    made.queues = ["default", "mail"]
    yield made
    table.close()


async def test_free_slots_of_one_lane_take_nothing_from_another(loop: LeaseLoop) -> None:
    """A worker that could call a hundred URLs still runs as many handlers as it has room for."""
    assert {"url": 100, "async": 100, "process": 16, "async alone": 1} == loop.rooms()


async def test_every_queue_and_every_lane_comes_first_now_and_then(loop: LeaseLoop) -> None:
    """A queue or lane that always has work does not keep the others out of a full call."""
    firsts = set()
    for _ in range(6):
        queue, lane, _room = next(want for want in loop.wants(loop.rooms()) if want[1].islower())
        firsts.add((queue, lane))
        loop.number += 1
    assert 6 == len(firsts)


async def test_no_shard_starves_while_slots_are_few(loop: LeaseLoop) -> None:
    """One slot, three shards with work: each takes a handful in its turn; nobody waits for a call in flight."""
    loop.slots.capacity = {"async": 1}
    loops = [loop, *(LeaseLoop(loop.store, n, loop.pipeline, loop.slots, loop.table, Settings(), loop.announce_idle)
                     for n in (1, 2))]  # fmt: skip
    for one in loops:
        one.siblings, one.isolation, one.rounds, one.queues = loops, loop.isolation, loop.rounds, ["default"]
    loop.isolation.loops = loops
    took: list[int] = []
    task: Any = SimpleNamespace(lane="async")
    for _ in range(48):
        taker = next(one for one in loops if "async" in one.rooms())  # who wakes first is always the same
        taker.rounds.note(taker.shard, [task])
        took.append(taker.shard)
    assert [0] * HANDFUL + [1] * HANDFUL + [2] * HANDFUL == took[: 3 * HANDFUL]
    assert {0: 16, 1: 16, 2: 16} == Counter(took)
    assert 1 == loop.rooms()["async"], "a new round begins"
    loop.rounds.note(0, [task] * HANDFUL)
    assert not loop.rooms()
    assert loops[1].event.is_set(), "it is told that it is its turn"
    loops[1].is_calling = loops[2].is_calling = True
    assert 1 == loop.rooms()["async"]


async def test_a_process_in_which_a_suspect_waits_takes_nothing_until_it_is_empty(loop: LeaseLoop) -> None:
    """Then the suspect goes first, then other work, in turn; and while it runs nothing else does."""
    loop.isolation.loops = (loop,)
    row = loop.table.hold(bytes(16), bytes(12), 0)
    loop.isolation.hear(0, loop.rooms(), True, [])
    assert {} == loop.rooms(), "a task runs"
    loop.table.drop(row)
    rooms = loop.rooms()
    assert 1 == rooms["async alone"]
    assert "A" == loop.wants(rooms)[0][1]
    suspect: Any = SimpleNamespace(id=bytes(16), is_suspect=True)
    loop.isolation.begin(rooms)
    assert {} == loop.rooms(), "it may be on its way"
    loop.isolation.hear(0, rooms, True, [suspect])
    assert {} == loop.rooms(), "it runs"
    loop.isolation.settle(suspect.id)
    assert "A" != loop.wants(loop.rooms())[0][1]


async def test_long_tasks_hold_back_other_work_for_a_while_only(loop: LeaseLoop) -> None:
    """A process that does not become empty takes other work again, and later waits longer for the suspect's sake."""
    loop.isolation.loops = (loop,)
    loop.table.hold(bytes(16), bytes(12), 0)
    loop.isolation.hear(0, loop.rooms(), True, [])
    assert {} == loop.rooms()
    before = loop.isolation.patience
    loop.isolation.emptying_since -= before
    assert 100 == loop.rooms()["async"]
    assert before * 2 == loop.isolation.patience
    loop.isolation.open_until = 0.0
    assert {} == loop.rooms()
