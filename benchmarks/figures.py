"""
What was measured, as figures with goals, and the table of them.

A figure is the median of its rounds. Its ratio is the median of the ratios of each round to the floor's same round,
which was measured right before or behind it, so that a machine that is busy for a while is busy for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(slots=True)
class Goal:
    """A bound on the figure itself, or on its ratio to the floor."""

    least: float | None = None
    most: float | None = None
    is_ratio: bool = False

    def is_met_by(self, value: float, ratio: float | None) -> bool | None:
        seen = ratio if self.is_ratio else value
        if seen is None:
            return None
        return (self.least is None or seen >= self.least) and (self.most is None or seen <= self.most)

    def __str__(self) -> str:
        sign, bound = (">=", self.least) if self.least is not None else ("<=", self.most)
        return f"{sign} {shown(bound or 0)}{' x' if self.is_ratio else ''}"


@dataclass(slots=True)
class Figure:
    """*name* says what was measured, *where* on which server; *rounds* are the values, *floor* those it is held to."""

    name: str
    where: str
    unit: str
    rounds: list[float]
    goal: Goal | None = None
    against: str = ""
    floor: list[float] = field(default_factory=list)
    error: str = ""  # why there are no rounds

    @property
    def value(self) -> float:
        return median(self.rounds)

    @property
    def ratio(self) -> float | None:
        pairs = [(ours, theirs) for ours, theirs in zip(self.rounds, self.floor, strict=False) if theirs]
        return median([ours / theirs for ours, theirs in pairs]) if pairs else None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        return self.goal.is_met_by(self.value, self.ratio) if self.goal and not self.error else None

    def row(self) -> list[str]:
        if self.error:
            why = " ".join(self.error.split())[:80]
            return [self.name, self.where, "failed", "", f"{self.against}: {why}", "", "", ""]
        floor = f"{self.against} {shown(median(self.floor))}" if self.floor else ""
        met = {None: "", True: "yes", False: "NO"}[self.is_met]
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        return [self.name, self.where, shown(self.value), self.unit, floor, ratio, str(self.goal or ""), met]

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name, "where": self.where, "value": None if self.error else self.value,
            "error": self.error or None, "unit": self.unit, "rounds": self.rounds,
            "against": self.against or None, "floor_rounds": self.floor or None, "ratio": self.ratio,
            "goal": str(self.goal) if self.goal else None, "is_met": self.is_met,
        }  # fmt: skip


HEADS = ["what", "where", "figure", "", "floor", "ratio", "goal", "met"]
RIGHT = (2, 5)


def table(figures: Sequence[Figure]) -> str:
    """The figures as aligned lines."""
    rows = [HEADS, *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def shown(value: float) -> str:
    """A number with three figures or so that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which *part* of *values* lies; 0 of none, as when a moment was too short for any."""
    ordered = sorted(values) or [0.0]
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]
