"""
One endpoint as this process sees it: the calls it makes there now, what came of those before, and when tasks that found
no place come back.

Pure but for futures: the time is given, and nothing here talks to Redis. The fact to know: tasks that are put off get
places one behind the other, at the pace at which the endpoint works, so that each comes back about once.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from service.store.traffic import STEPS, Report

SLOW_SECONDS = 0.5
LONGEST_SECONDS = 600.0  # a task that was put off looks again after so long, however many stand before it
LEAST_SECONDS = 0.05
CROWDED = 0.9  # of the time between places: an idle place costs more than a task that comes a little early
SMOOTH = 0.2  # of what the last call took goes into the pace
BREATH_SECONDS = 0.01  # between tasks that come back to a circuit


@dataclass(slots=True, kw_only=True)
class Counted:
    """What came of the calls since it was last told."""

    succeeded: int = 0
    refused: int = 0
    failed: int = 0
    streak: int = 0
    error: str = ""
    times: dict[str, int] = field(default_factory=dict)
    probe: str = ""
    probed: str = ""
    ends: bool = False


class Spot:
    """*namespace* and *endpoint* name it."""

    __slots__ = (
        "back_at", "begun", "counted", "endpoint", "is_asking", "is_slow", "limit", "namespace", "pace", "streak",
        "tickets", "told_at", "told_flying", "used_at", "waiting",
    )  # fmt: skip

    def __init__(self, namespace: str, endpoint: str, limit: int) -> None:
        self.namespace, self.endpoint, self.limit = namespace, endpoint, limit
        self.begun: dict[int, float] = {}  # ticket -> when; in this order
        self.tickets = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.pace = 0.0  # seconds that a call takes, lately
        self.is_slow = False
        self.back_at = 0.0  # when the task that was put off last comes back
        self.streak = 0  # failures since the last answer
        self.counted = Counted()
        self.is_asking = False  # for the probe of its circuit
        self.told_flying, self.told_at = 0, 0.0
        self.used_at = 0.0

    @property
    def flying(self) -> int:
        return len(self.begun)

    def begin(self, now: float) -> int:
        """A call begins; its ticket."""
        self.tickets += 1
        self.used_at = now
        self.begun[self.tickets] = now
        return self.tickets

    def end(self, ticket: int, now: float) -> float:
        """A call is over; the seconds it took. Whoever waits for its place may go on."""
        seconds = now - self.begun.pop(ticket)
        self.pace += (seconds - self.pace) * (SMOOTH if self.pace else 1.0)
        while self.waiting and len(self.begun) < self.limit:
            if not (next_ := self.waiting.popleft()).done():
                next_.set_result(None)
                break
        return seconds

    def look(self, now: float) -> None:
        """Whether it is slow: by what calls took, and by how long the first of them has been under way."""
        oldest = now - next(iter(self.begun.values())) if self.begun else 0.0
        self.is_slow = max(self.pace, oldest) > SLOW_SECONDS

    def answered(self, *, is_good: bool, seconds: float) -> None:
        """The endpoint answered, well or with a refusal; it works."""
        counted = self.counted
        if is_good:
            counted.succeeded += 1
        else:
            counted.refused += 1
        self.streak = counted.streak = 0
        self.took(seconds)

    def failed(self, error: str, seconds: float) -> None:
        """No answer, or one that says that the endpoint is broken."""
        self.counted.failed += 1
        self.counted.streak += 1
        self.streak += 1
        self.counted.error = error
        self.took(seconds)

    def took(self, seconds: float) -> None:
        step = str(round(math.log2(max(seconds * 1000, 1.0)) * STEPS))
        self.counted.times[step] = self.counted.times.get(step, 0) + 1

    def next_place(self, now: float, chance: Callable[[], float]) -> float:
        """In how many seconds a task that found no place comes back."""
        step = max(self.pace, LEAST_SECONDS) / max(self.limit, 1) * CROWDED
        return self.place(now, max(now + max(self.pace, LEAST_SECONDS), self.back_at), step, chance)

    def place_behind(self, now: float, opens_at: float, chance: Callable[[], float]) -> float:
        """In how many seconds a task comes back for which the circuit is open until *opens_at*."""
        return self.place(now, max(opens_at, self.back_at), BREATH_SECONDS * 2 * chance(), chance)

    def place(self, now: float, first: float, step: float, chance: Callable[[], float]) -> float:
        if first + step - now > LONGEST_SECONDS:  # beyond that, places are dealt by chance
            return LONGEST_SECONDS * (0.5 + chance() / 2)
        self.back_at = first + step
        return self.back_at - now

    @property
    def has_news(self) -> bool:
        counted = self.counted
        return bool(counted.times or counted.probe or counted.ends) or self.told_flying != self.flying

    def report(self, now: float, failures: int, ratio: float, pause_seconds: float, longest_seconds: float) -> Report:
        """What is to be told now; counting begins anew."""
        counted, self.counted = self.counted, Counted()
        self.told_flying, self.told_at = self.flying, now
        return Report(
            endpoint=f"{self.namespace}/{self.endpoint}",
            flying=self.flying,
            breaker_failures=failures,
            breaker_ratio=ratio,
            pause_ms=int(pause_seconds * 1000),
            longest_pause_ms=int(longest_seconds * 1000),
            succeeded=counted.succeeded,
            refused=counted.refused,
            failed=counted.failed,
            streak=counted.streak,
            error=counted.error,
            times=counted.times,
            probe=counted.probe,
            probed=counted.probed,
            ends=counted.ends,
        )
