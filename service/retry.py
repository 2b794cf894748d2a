"""
How long a task waits before its next attempt.

Pure: no clock, and chance comes in as a function. The answer is always a finite number of seconds, 0 or more,
whatever the backoff holds; refusing a senseless backoff is the contract's duty, not this file's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Backoff = Mapping[str, Any] | Sequence[float]

KINDS = ("constant", "linear", "exponential")
JITTERS = ("none", "full", "equal")
FIELDS = ("kind", "base_seconds", "factor", "cap_seconds", "jitter", "delays_seconds")

# Standard Webhooks 1.0, "Deliverability and reliability": at once, then after these.
CALLBACK_DELAYS = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]

BASE_SECONDS = 1.0
CAP_SECONDS = 3600.0
FACTOR = {"constant": 1.0, "linear": 1.0, "exponential": 2.0}


def delay_seconds(backoff: Backoff | None, attempt: int, random: Callable[[], float]) -> float:
    """
    The delay after *attempt* (1 is the first) failed.

    `delays_seconds`, or a bare list, gives the delay after each attempt, without jitter; the last one
    repeats. Anything else is grown by its kind, capped, then jittered; what it leaves out is exponential,
    1 s, factor 2 (1 for linear), at most an hour, full jitter. *random* answers a number from 0 up to 1.
    """
    if backoff is None:
        backoff = {}
    delays = backoff.get("delays_seconds") if isinstance(backoff, Mapping) else backoff
    if delays is not None or not isinstance(backoff, Mapping):
        return _finite(delays[min(attempt, len(delays)) - 1]) if delays else 0.0
    cap = backoff.get("cap_seconds")
    longest = _finite(CAP_SECONDS if cap is None else cap)
    return _spread(min(_grown(backoff, max(attempt, 1)), longest), backoff.get("jitter") or "full", random)


def _grown(backoff: Mapping[str, Any], attempt: int) -> float:
    """Before cap and jitter, n retries done: base, base · (1 + factor · n), or base · factor ** n."""
    kind = backoff.get("kind") or "exponential"
    base = _finite(BASE_SECONDS if backoff.get("base_seconds") is None else backoff["base_seconds"])
    factor = FACTOR[kind] if backoff.get("factor") is None else float(backoff["factor"])
    if kind == "constant" or not base:
        return base
    if kind == "linear":
        return base * (1 + factor * (attempt - 1))
    try:
        return base * math.pow(factor, attempt - 1)
    except OverflowError:
        return math.inf


def _spread(delay: float, jitter: str, random: Callable[[], float]) -> float:
    # Tasks that failed together would retry together and knock the same server over again.
    if jitter == "full":
        return delay * random()
    if jitter == "equal":
        return delay / 2 + delay / 2 * random()
    return delay


def _finite(seconds: float) -> float:
    return max(float(seconds), 0.0) if math.isfinite(seconds) else 0.0
