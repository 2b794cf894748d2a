"""What histograms of times tell, and how figures read."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from service.figures import Figures
from service.histogram import LAST_STEP, end_seconds, seconds_within, step_of


@pytest.mark.parametrize("ms", [0, 0.2, 1, 1.01, 2, 3, 7, 999, 1000, 1024, 86_400_000])
def test_a_step_holds_what_took_no_longer_than_its_end(ms: float) -> None:
    """And longer than the end of the one before."""
    step = step_of(ms)
    assert ms <= end_seconds(step) * 1000 * (1 + 1e-9)
    assert step == 0 or ms > end_seconds(step - 1) * 1000


def test_what_took_over_a_month_is_in_the_last_step() -> None:
    """A byte holds every step."""
    assert LAST_STEP == step_of(1e15)


def test_nothing_has_no_percentiles() -> None:
    """Null, rather than a time that nobody measured."""
    assert None is seconds_within({}, 0.5)
    assert None is seconds_within({3: 0}, 0.5)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_percentiles_are_exact_to_a_tenth(share: float) -> None:
    """Of ten thousand times whose logarithms are spread as those of real ones."""
    chance = random.Random(7)
    times_ms = sorted(chance.lognormvariate(4, 1.5) for _ in range(10_000))
    counted = Counter(map(step_of, times_ms))
    found = seconds_within(counted, share) or 0
    assert times_ms[int(share * len(times_ms))] / 1000 == pytest.approx(found, rel=0.1)


def test_figures_of_nothing_read_as_nothing() -> None:
    """No division by the seconds that have not passed."""
    shown = Figures().show(0)
    assert (0, 0.0, None) == (shown["submitted"], shown["ended_per_second"], shown["error_rate"])
    assert {"count": 0, "p50_seconds": None, "p95_seconds": None, "p99_seconds": None} == shown["wait"]


def test_a_task_that_failed_for_its_crashes_is_a_crash_too() -> None:
    """Its last attempt was lost as those before it."""
    figures = Figures()
    figures.add("K", None, "worker_lost", 3)
    figures.add("F", None, "worker_lost", 1)
    shown = figures.show(1)
    assert (1, 4, 1.0) == (shown["failed"], shown["crashed"], shown["error_rate"])
