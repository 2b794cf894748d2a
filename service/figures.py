"""
Figures of tasks, added up from what was counted, and how the contract shows them.

Pure. Knows neither Redis nor how a count is stored: it is given letters, steps and numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.histogram import seconds_within

WORKER_LOST = "worker_lost"
ENDINGS = {"S": "succeeded", "F": "failed", "C": "cancelled", "X": "expired"}
AGAIN = {"R": "retried", "D": "deferred", "B": "released", "K": "crashed"}
SUBMITTED, LEASED, SLOW = "N", "W", "L"
WAITED_US, RAN_US = "V", "U"
ERRORS_SHOWN = 5


@dataclass(slots=True)
class Figures:
    """What came of some tasks in some time."""

    counts: Counter[str] = field(default_factory=Counter)
    wait: Counter[int] = field(default_factory=Counter)
    run: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, letter: str, step: int | None, error: str, many: int) -> None:
        """*many* more of what *letter* counts; *step* is how long it took, when that was measured."""
        self.counts[letter] += many
        if step is not None:
            (self.wait if letter == LEASED else self.run)[step] += many
        if error:
            self.errors[error] += many
            if letter == "F" and error == WORKER_LOST:
                self.counts["K"] += many

    @property
    def ended(self) -> int:
        return sum(self.counts[letter] for letter in ENDINGS)

    @property
    def is_failing(self) -> bool:
        return self.counts["F"] + self.counts["R"] + self.counts["K"] > 0

    def show(self, seconds: float, *, is_of_name: bool = False) -> dict[str, Any]:
        """The contract's `StatsFigures`, of so many *seconds*; what comes in is not counted by name."""
        counts = self.counts
        judged = counts["S"] + counts["F"]
        return {
            "submitted": None if is_of_name else counts[SUBMITTED],
            "started": counts[LEASED],
            **{word: counts[letter] for letter, word in (ENDINGS | AGAIN).items()},
            "slow": counts[SLOW],
            "ended_per_second": round(self.ended / seconds, 4) if seconds > 0 else 0.0,
            "error_rate": round(counts["F"] / judged, 4) if judged else None,
            "wait": times(self.wait),
            "run": times(self.run),
        }


def times(steps: Mapping[int, int]) -> dict[str, Any]:
    """The contract's `StatsTimes` of a histogram."""
    shares = {"p50_seconds": 0.5, "p95_seconds": 0.95, "p99_seconds": 0.99}
    return {"count": sum(steps.values())} | {name: seconds_within(steps, share) for name, share in shares.items()}


def errors_of(errors: Counter[str], most: int = ERRORS_SHOWN) -> list[dict[str, Any]]:
    """The contract's `StatsError`s, the most frequent first."""
    return [{"type": type_, "count": many} for type_, many in errors.most_common(most)]


def name_shown(name: str, figures: Figures, seconds: float) -> dict[str, Any]:
    """The contract's `StatsName`."""
    return {"name": name, "figures": figures.show(seconds, is_of_name=True), "errors": errors_of(figures.errors)}
