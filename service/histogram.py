"""
Histograms of how long something took, and what they tell: the time within which a share of it was over.

Pure. The fact to know: a step is a quarter of a doubling from a millisecond on, and holds what took no longer than its
end, `2 ** (step / 4)` ms; so histograms of any process and time add up, and a percentile is exact to less than a fifth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

STEPS = 4  # for each doubling
LAST_STEP = 127  # over a month


def step_of(ms: float) -> int:
    """The step that *ms* falls into."""
    return min(math.ceil(math.log2(ms) * STEPS - 1e-9), LAST_STEP) if ms > 1 else 0


def end_seconds(step: int) -> float:
    """The longest time that *step* holds."""
    return float(2 ** (step / STEPS)) / 1000


def seconds_within(counts: Mapping[int, float], share: float) -> float | None:
    """
    The time within which *share* of what *counts* holds by step was over, as if the times of a step lay evenly on its
    scale; None when it holds nothing.
    """
    wanted = share * sum(counts.values())
    for step, many in sorted(counts.items()):
        if many and wanted <= many:
            return round(end_seconds(0) if step == 0 else end_seconds(step - 1) * 2 ** (wanted / many / STEPS), 6)
        wanted -= many
    return None
