"""
Room: how many more tasks each lane of a worker process can take.

Counts what runs, and what a call in flight may bring; what has finished and is not recorded yet holds no slot, only
a row of the table of held tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.held import HeldTable


SPARE_ROWS = 256


class Slots:
    """The slots of one process, shared by its lease loops."""

    def __init__(
        self,
        capacity: Mapping[str, int],
        busy: Mapping[str, Callable[[], int]],
        ahead: Mapping[str, Callable[[], int]],
        table: HeldTable,
    ) -> None:
        """
        *busy*: for lanes whose pool may be busier than the tasks that run there, how busy it is; *ahead*: for lanes
        with short tasks, how many to take beyond the capacity.
        """
        self.capacity = {lane: many for lane, many in capacity.items() if many > 0}
        self.used = dict.fromkeys(self.capacity, 0)
        self.busy, self.ahead, self.table = busy, ahead, table
        self.promised_rows = 0
        self.is_quiet = False  # take no work for now

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Take so many of each lane from now on. Where more run than that, none begins until they have ended."""
        for lane, many in sizes.items():
            if many > 0 or lane in self.capacity:
                self.capacity[lane] = many
                self.used.setdefault(lane, 0)

    def taken(self, lane: str) -> int:
        """How many slots of *lane* are taken, or promised to a call in flight."""
        used = self.used.get(lane, 0)
        if (busy := self.busy.get(lane)) is not None:  # a thread that outlived its time limit keeps its place
            used = max(used, busy())
        return used

    def free(self, lane: str) -> int:
        more = self.ahead[lane]() if lane in self.ahead else 0
        return self.capacity[lane] + more - self.taken(lane)

    @property
    def free_lanes(self) -> list[str]:
        return [lane for lane in self.capacity if self.free(lane) > 0]

    @property
    def free_rows(self) -> int:
        """How many more tasks may be held: those that run, and as many that have finished and wait to be recorded."""
        most = 2 * sum(self.capacity.values()) + SPARE_ROWS - self.table.many
        return min(most, self.table.room) - self.promised_rows

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held, not even what waits to be recorded, nor may be brought by a call in flight."""
        return not self.table.many and not self.promised_rows

    @contextmanager
    def promised(self, rooms: Mapping[str, int]) -> Iterator[None]:
        """While a call is in flight that may bring so many tasks of each lane, nobody else fills their slots."""
        rooms = {lane: room for lane, room in rooms.items() if lane in self.capacity}
        many = sum(rooms.values())
        for lane, room in rooms.items():
            self.used[lane] += room
        self.promised_rows += many
        try:
            yield
        finally:
            for lane, room in rooms.items():
                self.used[lane] -= room
            self.promised_rows -= many
