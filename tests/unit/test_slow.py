"""From when on an attempt is slow, and how what is kept of it reads."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from service.errors import InvalidHandler, InvalidSetting
from service.histogram import step_of
from service.settings import Settings
from service.slow import LEAST_MS, NEED, SlowAttempt, threshold
from workers import Registry
from workers.usual import LEAST_MEASURED, Usual

ONE = SlowAttempt(
    id=b"\1" * 16, name="email:send", queue="mail", attempt=2, outcome="retried", worker="w",
    ended_ms=1_700_000_000_000, threshold_ms=500.0, run_ms=2310.0, wait_ms=12, hold_ms=3.1, busy_ms=41.0, report_ms=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "p95", "ms"),
    [
        ("0.5", None, 500), (2, 9.0, 2000), ("0", 1.0, math.inf), (0, None, math.inf),
        ("3x", 0.2, 600), ("1.5x", 10.0, 15_000), ("3x", None, math.inf), ("3x", 0.001, LEAST_MS),
    ],
)  # fmt: skip
def test_a_threshold_is_a_time_or_a_multiple(given: Any, p95: float | None, ms: float) -> None:
    """Of the name's own p95, and of nothing while that is not known; but never so little that a hiccup is more."""
    assert ms == pytest.approx(threshold(given).ms(p95))
    assert threshold(given).least_ms <= ms


@pytest.mark.parametrize("given", ["", "x", "0.5x", "-1", "nan", "inf", "3 x", True, None, 86_401, [1]])
def test_what_is_no_threshold_is_refused_in_words(given: Any) -> None:
    """By setting and by option alike."""
    with pytest.raises(ValueError, match=re.escape(NEED)):
        threshold(given)


def test_settings_and_options_name_what_they_were_given() -> None:
    """And what is needed."""
    with pytest.raises(InvalidSetting, match="TASKPOST_SLOW_AFTER=soon: needs seconds"):
        Settings.from_env({"TASKPOST_SLOW_AFTER": "soon"})
    with pytest.raises(InvalidHandler, match="slow_after='soon': needs seconds"):
        Registry().task("demo", slow_after="soon")(print)


def test_a_slow_attempt_reads_as_it_was_kept() -> None:
    """Also one that a later version keeps more of; and in words."""
    assert SlowAttempt.parsed(ONE.packed()) == ONE
    assert SlowAttempt.parsed(ONE.packed()[:-1] + b',"more"]') == ONE
    assert ONE.told().endswith(
        "(email:send, queue mail, attempt 2) was slow: it ran 2.31 s, and its threshold is 500 ms. "
        "It waited in its queue 12 ms; was held before it began 3.1 ms; computed 41 ms."
    )


def test_what_is_usual_follows_the_last_hour() -> None:
    """A handler that became quicker is judged by how it is now, and one that is gone is forgotten."""
    key, usual = ("default", "report"), Usual()
    usual.add({key: {step_of(1000): LEAST_MEASURED - 1}}, 1)
    assert {} == usual.p95_seconds
    usual.add({key: {step_of(1000): 100}}, 1)
    assert usual.p95_seconds[key] == pytest.approx(1.0, rel=0.2)
    usual.add({key: {step_of(10): 2000}}, 60)
    assert usual.p95_seconds[key] == pytest.approx(0.01, rel=0.2)
    usual.add({}, 900)
    assert ({}, {}) == (usual.p95_seconds, usual.measured)
