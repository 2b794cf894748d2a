"""
When a task may start, and until when: what submissions say of it. Pure; the time is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from service.task import epoch_ms, rfc3339

TEN_YEARS_MS = 3653 * 86_400_000
EXPIRY = ("expires_in_seconds", "expires_at")
PAIRS = (("delay_seconds", "run_at"), EXPIRY)  # one of each two
Fault = dict[str, Any]


def due_of(run_at: Any) -> tuple[int, str]:
    """
    (ms since the epoch, text to store) of a `run_at` that the schema takes. What RFC 3339 allows and Python does not
    read (a leap second, a small z, the year 0) is stored in a form that it does; nothing is due before 1970.
    """
    text = run_at.upper()
    try:
        due_ms = epoch_ms(text)
    except (ValueError, OverflowError):
        # 23:59:60 is the second before midnight as well as Python can tell; the year 0 has long passed.
        leap = re.sub(r":60(?=[.Z+-])", ":59", text, count=1)
        due_ms = 0 if text.startswith("0000") else epoch_ms(leap)
        return max(0, due_ms), rfc3339(max(0, due_ms))
    return (due_ms, text) if due_ms >= 0 else (0, rfc3339(0))


def start_ms_of(submission: Mapping[str, Any], now_ms: int) -> int:
    """When *submission*, if it comes in now, may start."""
    if (run_at := submission.get("run_at")) is not None:
        return max(due_of(run_at)[0], now_ms)
    return now_ms + int(submission.get("delay_seconds", 0) * 1000) + waits_ms_of(submission)


def waits_ms_of(submission: Mapping[str, Any]) -> int:
    """For how long *submission* waits for quiet, if it does."""
    debounce = submission.get("debounce")
    return 0 if debounce is None or debounce.get("edge") == "leading" else int(debounce["seconds"] * 1000)


def expires_ms_of(submission: Mapping[str, Any], now_ms: int) -> int:
    """From when on *submission*, if it comes in now, may not start any more; 0 for never."""
    if (at := submission.get("expires_at")) is not None:
        return due_of(at)[0]
    seconds = submission.get("expires_in_seconds")
    return 0 if seconds is None else now_ms + max(int(seconds * 1000), 1)


def time_faults(submission: Mapping[str, Any], now_ms: int) -> Iterator[Fault]:
    """Times that cannot be: too far ahead, or over before they begin. Two that say the same are another's business."""
    for name in ("run_at", "expires_at"):
        if (at := submission.get(name)) is not None and due_of(at)[0] > now_ms + TEN_YEARS_MS:
            yield {"pointer": f"/{name}", "detail": f"{at} is more than ten years ahead; at most ten are taken"}
    if (at := submission.get("expires_at")) is not None and due_of(at)[0] <= now_ms:
        yield {"pointer": "/expires_at", "detail": f"{at} has passed, so that it could never start"}
        return
    expires_ms, start_ms = expires_ms_of(submission, now_ms), start_ms_of(submission, now_ms)
    if expires_ms and start_ms > now_ms and expires_ms <= start_ms:
        given = next(name for name in EXPIRY if submission.get(name) is not None)
        told = f"it would expire at {rfc3339(expires_ms)}, before it may start at {rfc3339(start_ms)}"
        yield {"pointer": f"/{given}", "detail": told}
