"""
How long a client may take: to send the head of a request, to send its body, to read the answer; and how many bytes of
bodies may be on their way at once.

One look at all connections from time to time, in the place of timers for each: a request that comes in time costs
nothing. The fact to know: a connection is given up at the first look at which it has owed the same thing for too long,
so limits hold to about a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from service.settings import Settings

log = logging.getLogger("taskpost.web")

MOST_PAUSE_SECONDS = 1.0
BYTES_A_SECOND = 8192  # the slowest line on which a long body or answer still is in time


class Debt(NamedTuple):
    """What a client owes: a `head`, a `body`, the `rest` of one that was answered, or to read an `answer`."""

    what: str
    exchange: int
    length: int = 0  # bytes of the body that came, or of the answer that was not read when this debt began


@dataclass(slots=True)
class Slowness:
    """What a connection has owed at the last look, and since when."""

    debt: Debt | None = None
    since: float = 0.0

    def seconds(self, debt: Debt | None, now: float) -> float:
        """How long *debt* has been owed, which it is now."""
        if debt is None or self.debt is None or debt[:2] != self.debt[:2]:
            self.debt, self.since = debt, now
        return now - self.since

    @property
    def begun_with(self) -> int:
        return 0 if self.debt is None else self.debt.length


class Watch:
    """Looks at *connections* until it is stopped."""

    def __init__(self, connections: Collection[Any], settings: Settings) -> None:
        self.connections = connections
        self.limits = {
            "head": settings.head_timeout_seconds,
            "body": settings.body_timeout_seconds,
            "rest": settings.body_timeout_seconds,
            "answer": settings.unread_timeout_seconds,
        }
        self.most_bytes = settings.max_pending_bytes
        self.pause = min(MOST_PAUSE_SECONDS, min(self.limits.values()) / 4)
        self.loop = asyncio.get_running_loop()
        self.timer = self.loop.call_later(self.pause, self.look)

    def stop(self) -> None:
        self.timer.cancel()

    def look(self) -> None:
        """Give up who is too slow, or too much, and come again."""
        self.timer = self.loop.call_later(self.pause, self.look)
        now, bodies = self.loop.time(), []
        for one in [one for one in self.connections if hasattr(one, "slowness")]:  # a WebSocket has pings
            debt: Debt | None = one.debt()
            seconds = one.slowness.seconds(debt, now)
            if debt is not None:
                self.hold_to(one, debt, seconds)
                if debt.what == "body":
                    bodies.append((one, debt.length))
        self.make_room(bodies)

    def make_room(self, bodies: list[tuple[Any, int]]) -> None:
        """Give up those of *bodies* that have been coming for longest, while all together are too many bytes."""
        over = sum(length for _, length in bodies) - self.most_bytes
        if over <= 0:
            return
        for one, length in sorted(bodies, key=lambda body: body[0].slowness.since):
            if over > 0 and not one.transport.is_closing():
                one.make_room(self.most_bytes)
                over -= length

    def hold_to(self, connection: Any, debt: Debt, seconds: float) -> None:
        """Give up *connection* if it has owed *debt* for too long."""
        # A body earns its time as it comes, an answer has it from the beginning: reading none of it earns nothing.
        length = debt.length if debt.what == "body" else connection.slowness.begun_with
        if seconds > (most := self.limits[debt.what] + length / BYTES_A_SECOND):
            log.info("a client that was too slow is given up, after %.1f seconds: %s", seconds, debt.what)
            connection.end(debt, most)
