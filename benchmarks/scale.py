"""
How much is measured: enough to trust, enough to look, and just enough to see that it works.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts and times of a run; every benchmark is bounded by these."""

    rounds: int
    seconds: float  # of load, a round and side
    drained: int  # tasks a round
    drained_otherwise: int  # on threads and in child processes
    exchanges: int  # one at a time, a round and side
    lines: int  # of the stream
    stored: int  # tasks whose bytes are counted
    stored_ended: int
    waiting: int  # delayed tasks, while a worker's memory is looked at and while others are run
    due: int  # of them within a second
    called: int  # URLs a round
    called_slowly: int  # URLs that take a second each
    slept: int  # tasks that sleep, for each one that runs at once
    recover_seconds: int  # that killed workers' tasks are waited for
    schedules: int
    following: int  # clients of events
    fire_seconds: int  # while they fire, a hundredth of them a second
    crowd: int  # tasks that wait behind a full key, and of one tenant
    groups: int
    against: Path | None = None  # another checkout, whose figures are taken in turn


FULL = Scale(
    rounds=5, seconds=3, drained=60_000, drained_otherwise=20_000, exchanges=500, lines=300_000, stored=500_000,
    stored_ended=200_000, waiting=1_000_000, due=10_000, called=20_000, called_slowly=10_000, slept=100,
    recover_seconds=330, schedules=100_000, following=2000, fire_seconds=30, crowd=1_000_000, groups=1000,
)  # fmt: skip
QUICK = Scale(
    rounds=3, seconds=1, drained=15_000, drained_otherwise=5_000, exchanges=150, lines=200_000, stored=100_000,
    stored_ended=30_000, waiting=300_000, due=10_000, called=5_000, called_slowly=5_000, slept=40,
    recover_seconds=40, schedules=100_000, following=2000, fire_seconds=10, crowd=50_000, groups=100,
)  # fmt: skip
TINY = Scale(
    rounds=1, seconds=0.1, drained=300, drained_otherwise=100, exchanges=5, lines=300, stored=500, stored_ended=200,
    waiting=500, due=100, called=100, called_slowly=100, slept=2,
    recover_seconds=3, schedules=300, following=20, fire_seconds=2, crowd=500, groups=10,
)  # fmt: skip
