"""
A worker process at its parent's wish: as large as it is wanted, taking work or quiet; and telling how it is.

Both stand in memory that they share, so a wish is heeded whenever it is seen and never lost; what is told is what is
true: a process is quiet once no call is in flight that could bring it work.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

from workers.held import SIZED, HeldTable, monotonic_ms
from workers.lanes import Lanes
from workers.runtime import LeaseLoop
from workers.slots import Slots

MOST_EXECUTORS = 500
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Helm:
    """Steers the *loops*, *lanes* and *slots* of one worker process."""

    def __init__(self, table: HeldTable, lanes: Lanes, slots: Slots, loops: Sequence[LeaseLoop]) -> None:
        self.table, self.lanes, self.slots, self.loops = table, lanes, slots, loops
        self.heeded = b""

    def turn(self) -> None:
        """Show that the loop turns, heed what is wanted, and tell how we are."""
        self.table.turn(monotonic_ms())
        self.heed()
        self.tell()

    def heed(self) -> None:
        """Become as is wanted. Nothing that runs is stopped by it."""
        seen = self.table.wanted_bytes
        if seen == self.heeded or (wanted := self.table.wanted) is None:
            return
        self.heeded = seen
        self.slots.is_quiet = wanted.is_quiet
        self.slots.resize(wanted.sizes)
        self.lanes.resize(wanted.sizes)
        for loop in self.loops:
            loop.look()

    def tell(self) -> None:
        self.table.tell(
            {
                "is_quiet": self.slots.is_quiet and not any(loop.is_asking for loop in self.loops),
                "sizes": {lane: self.slots.capacity.get(lane, 0) for lane in SIZED},
                "busy": {lane: self.slots.taken(lane) for lane in SIZED},
                "executors": self.lanes.executors[:MOST_EXECUTORS],
                "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT,
            }
        )
