"""
Suspects: tasks that were lost together with others when their process died. Each runs alone in its process, so that
the one that kills is known by its next death, and those beside it are not taken along again.

A process that hears of a suspect takes no other work until it is empty, runs the suspect, then gives way to other
work for one lease: neither kind waits for ever. When long tasks keep it from becoming empty, it takes other work again
and tries later, with twice the patience. Tasks of child processes and URLs are never suspects: such a task
cannot kill what others run in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.task import ALONE

if TYPE_CHECKING:
    from service.task import Leased
    from workers.runtime import LeaseLoop
    from workers.slots import Slots

PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 1.0  # a busy process looks this often whether suspects wait
OF_LANE = {lane: f"{lane} alone" for lane in ("async", "thread")}


class Isolation:
    """What the lease loops of one process agree on."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.loops: Sequence[LeaseLoop] = ()
        self.waiting: set[int] = set()  # shards in which suspects wait
        self.looked_at: dict[int, float] = {}
        self.is_asking = False  # a call is in flight that may bring a suspect
        self.suspect: bytes | None = None  # the one that runs
        self.is_turn = True  # suspects go first the next time the process is empty
        self.kept: set[int] = set()  # shards whose loops have to look again
        self.patience = PATIENCE_SECONDS
        self.emptying_since = self.open_until = 0.0

    @property
    def lanes(self) -> list[str]:
        """The lanes of suspects that this process could run."""
        return [OF_LANE[lane] for lane, many in self.slots.capacity.items() if many > 0 and lane in OF_LANE]

    @property
    def is_empty(self) -> bool:
        """Whether this process holds nothing and is about to be given nothing."""
        return self.slots.is_empty and not self.is_asking

    @property
    def is_concerned(self) -> bool:
        """Whether a suspect runs or waits, or may be on its way."""
        return self.suspect is not None or self.is_asking or bool(self.waiting)

    def holds_back(self, shard: int) -> bool:
        """Whether the loop of *shard* has to wait with taking work."""
        is_held = self.suspect is not None or self.is_asking or (bool(self.waiting) and self.must_wait(shard))
        if is_held:
            self.kept.add(shard)
        return is_held

    def must_wait(self, shard: int) -> bool:
        """The same, while suspects wait and none runs."""
        if not self.slots.is_empty:
            return not self.is_out_of_patience()
        self.patience, self.emptying_since = PATIENCE_SECONDS, 0.0
        if self.is_turn:
            return shard not in self.waiting
        return not self.loops[shard].owed and any(loop.owed for loop in self.loops)

    def is_out_of_patience(self) -> bool:
        """Whether this process takes other work, though suspects wait, because it does not become empty."""
        now = time.monotonic()
        if now < self.open_until:
            return True
        self.emptying_since = self.emptying_since or now
        if now - self.emptying_since < self.patience:
            return False
        self.open_until, self.patience, self.emptying_since = now + self.patience, self.patience * 2, 0.0
        return True

    def rooms(self, shard: int, is_calling: bool) -> dict[str, int]:
        """The room for suspects: 1 in an empty process; 0 only asks whether there are some."""
        now = time.monotonic()
        if self.is_empty and (is_calling or shard in self.waiting):
            room = 1
        elif is_calling and now - self.looked_at.get(shard, 0.0) > LOOK_SECONDS:
            room = 0
        else:
            return {}
        self.looked_at[shard] = now
        return dict.fromkeys(self.lanes, room)

    def look(self, shard: int) -> None:
        """The next call asks for suspects."""
        self.looked_at.pop(shard, None)

    def begin(self, rooms: dict[str, int]) -> None:
        """A call with these *rooms* goes out."""
        self.is_asking |= any(rooms.get(lane) for lane in ALONE)

    def hear(self, shard: int, rooms: dict[str, int], has_suspects: bool, leased: Sequence[Leased]) -> None:
        """The call with these *rooms* has been answered."""
        if not ALONE.keys().isdisjoint(rooms):
            if was_asking := any(rooms.get(lane) for lane in ALONE):
                self.is_asking = False
            (self.waiting.add if has_suspects else self.waiting.discard)(shard)
            if was_asking and leased:
                self.is_turn = not leased[0].is_suspect
            if leased and leased[0].is_suspect:
                self.suspect = leased[0].id
            elif was_asking:
                self.nudge(shard)

    def settle(self, id_: bytes) -> None:
        """The task is recorded and held no longer."""
        if id_ == self.suspect:
            self.suspect = None
            self.nudge(id_[6])
        elif self.waiting and self.is_empty:
            self.nudge(id_[6])

    def nudge(self, shard: int) -> None:
        """Loops that were held back look what they may do now, that of *shard* last."""
        for loop in (*self.loops[shard + 1 :], *self.loops[: shard + 1]):
            if loop.shard in self.kept:
                loop.event.set()
        self.kept.clear()
