"""How long a task waits before its next attempt."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.retry import delay_seconds

seconds = st.floats(0, 1e9)
chances = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, 5000)
kinds = st.sampled_from(["constant", "linear", "exponential"])
jitters = st.sampled_from(["none", "full", "equal"])
backoffs = st.fixed_dictionaries(
    {},
    optional={
        "kind": kinds,
        "base_seconds": seconds,
        "factor": st.floats(1, 1000),
        "cap_seconds": seconds,
        "jitter": jitters,
    },
)


def never() -> float:
    raise AssertionError("no chance is needed here")


@given(backoffs | st.none() | st.lists(seconds), attempts, chances)
def test_every_delay_is_finite_and_not_negative(backoff, attempt, chance):
    """No backoff, however steep, makes a task wait for ever or fail in the waiting."""
    delay = delay_seconds(backoff, attempt, lambda: chance)
    assert math.isfinite(delay)
    assert delay >= 0


@given(backoffs, attempts, chances)
def test_no_delay_exceeds_the_cap(backoff, attempt, chance):
    """The cap is the longest a user ever waits for the next attempt."""
    assert delay_seconds(backoff, attempt, lambda: chance) <= backoff.get("cap_seconds", 3600)


@given(backoffs, attempts)
def test_without_jitter_delays_never_shrink(backoff, attempt):
    """A task that keeps failing is tried less and less often."""
    steady = backoff | {"jitter": "none"}
    assert delay_seconds(steady, attempt, never) <= delay_seconds(steady, attempt + 1, never)


@given(backoffs, attempts, chances)
def test_jitter_stays_within_its_share(backoff, attempt, chance):
    """Full jitter spreads over the whole delay, equal jitter over its second half."""
    whole = delay_seconds(backoff | {"jitter": "none"}, attempt, never)
    assert 0 <= delay_seconds(backoff | {"jitter": "full"}, attempt, lambda: chance) <= whole
    assert whole / 2 <= delay_seconds(backoff | {"jitter": "equal"}, attempt, lambda: chance) <= whole


@given(st.lists(seconds, min_size=1), attempts)
def test_a_list_is_followed_and_its_last_delay_repeats(delays, attempt):
    """[1, 10] waits 1 s, then 10 s, then 10 s again, with no jitter."""
    expected = delays[min(attempt, len(delays)) - 1]
    assert expected == delay_seconds(delays, attempt, never)
    assert expected == delay_seconds({"delays_seconds": delays}, attempt, never)


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (None, [1, 2, 4, 8, 16]),
        ({"kind": "constant", "base_seconds": 7}, [7, 7, 7, 7, 7]),
        ({"kind": "linear", "base_seconds": 10}, [10, 20, 30, 40, 50]),
        ({"kind": "linear", "base_seconds": 10, "factor": 2}, [10, 30, 50, 70, 90]),
        ({"base_seconds": 0.5, "factor": 3, "cap_seconds": 5}, [0.5, 1.5, 4.5, 5, 5]),
        ({"kind": "exponential", "base_seconds": 0}, [0, 0, 0, 0, 0]),
        ([], [0, 0, 0, 0, 0]),
    ],
)
def test_each_kind_grows_as_documented(backoff, expected):
    """The documentation's figures are the ones used."""
    steady = {**(backoff or {}), "jitter": "none"} if not isinstance(backoff, list) else backoff
    assert expected == [delay_seconds(steady, attempt, never) for attempt in range(1, 6)]


def test_the_default_is_full_jitter_up_to_an_hour():
    """A task that says nothing is tried again after 0 to 1 s, and later within the hour."""
    assert delay_seconds(None, 1, lambda: 0.25) == 0.25
    assert delay_seconds(None, 1000, lambda: 0.5) == 1800
