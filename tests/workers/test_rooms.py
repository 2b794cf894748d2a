"""What a lease loop asks for: room in every lane that has some, queues and lanes in turn."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from service.settings import Settings
from workers.held import HeldTable
from workers.runtime import LeaseLoop
from workers.slots import Slots


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
    assert {"url": 100, "async": 100, "process": 16} == loop.rooms()


async def test_every_queue_and_every_lane_comes_first_now_and_then(loop: LeaseLoop) -> None:
    """A queue or lane that always has work does not keep the others out of a full call."""
    firsts = set()
    for _ in range(6):
        queue, lane, _room = loop.wants(loop.rooms())[0]
        firsts.add((queue, lane))
        loop.number += 1
    assert 6 == len(firsts)
