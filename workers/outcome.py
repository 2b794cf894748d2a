"""
The exceptions with which a handler chooses how its attempt ends, beside the outcomes as values (`service.outcome`).

Nothing here runs or stores anything.

    BaseException
    ├── asyncio.CancelledError
    │   └── SoftTimeLimitExceeded    raised inside a handler whose soft limit has passed
    └── Exception
        ├── Retry                    fail this attempt, choose when the next one comes
        ├── Fail                     fail at once, whatever retries are left
        ├── Defer                    come back later; spends no attempt
        └── TimeoutError
            └── TimeLimitExceeded    the hard limit has passed; seen by `retry_on`, never raised in a handler
"""

from __future__ import annotations

import asyncio
import math

from service.outcome import (
    LOST,
    NOT_BEGUN,
    SHUTDOWN,
    Cancelled,
    Crashed,
    Deferred,
    Failed,
    Outcome,
    Succeeded,
    failed,
)

__all__ = [
    "LOST", "NOT_BEGUN", "SHUTDOWN", "Cancelled", "Crashed", "Defer", "Deferred", "Fail", "Failed", "Outcome", "Retry",
    "SoftTimeLimitExceeded", "Succeeded", "TimeLimitExceeded", "failed",
]  # fmt: skip


class Retry(Exception):
    """
    Fail this attempt and try again, *after* so many seconds (None: by the backoff), while retries are left.
    """

    def __init__(self, message: str = "", *, after: float | None = None) -> None:
        super().__init__(_text(self, message))
        self.message = message
        self.after_seconds = None if after is None else _seconds(self, after)


class Fail(Exception):
    """Fail the task now, whatever retries are left."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_text(self, message))
        self.message = message


class Defer(Exception):
    """Run the task again *after* so many seconds, as if this attempt had never been: it spends no retry."""

    def __init__(self, message: str = "", *, after: float) -> None:
        super().__init__(_text(self, message))
        self.message = message
        self.after_seconds = _seconds(self, after)


class SoftTimeLimitExceeded(asyncio.CancelledError):
    """
    The soft time limit has passed: finish up, the hard limit comes next.

    A CancelledError, because `TaskGroup`, `asyncio.wait_for` and others end their children only for one of
    those; so `except Exception` does not swallow it either.
    """


class TimeLimitExceeded(TimeoutError):
    """The hard time limit has passed. A `TimeoutError` for `retry_on` and `no_retry_on`."""


def _text(raised: Exception, message: object) -> str:
    if not isinstance(message, str):
        name = type(raised).__name__
        raise TypeError(f"{name}({message!r}): needs a text first; say {name}(after=…) for seconds")
    return message


def _seconds(raised: Exception, after: float) -> float:
    if isinstance(after, bool) or not isinstance(after, int | float) or not math.isfinite(after) or after < 0:
        raise TypeError(f"{type(raised).__name__}(after={after!r}): needs a number of seconds, 0 or more")
    return float(after)
