"""
How an attempt ends: the outcomes as values, and the exceptions with which a handler chooses one.

Nothing here runs or stores anything. Outcomes are what pools and push answer and what the pipeline decides
on: *Succeeded*, *Failed* (counts against the retries), *Deferred* (counts nothing), *Cancelled*, *Crashed* (counts
as a crash).

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
from typing import Any

import msgspec
import orjson

from workers.plain import dump

SHUTDOWN = "the worker is stopping"
LOST = "its lease was lost"
NOT_BEGUN = "it was leased ahead, and nothing became free for it soon"


class Succeeded(msgspec.Struct):
    """
    The attempt did its work. *result_json* is stored as it is; *http* is kept with the attempt of a URL
    task.
    """

    result_json: bytes
    http: dict[str, Any] | None = None

    @property
    def result(self) -> Any:
        """The result as it will be read."""
        return orjson.loads(self.result_json)

    @classmethod
    def of(cls, result: Any) -> Succeeded:
        """A success with *result*, for a middleware that replaces an outcome. Raises TypeError: no form in JSON."""
        return cls(dump(result))


class Failed(msgspec.Struct):
    """
    The attempt did not do its work. *error* is `{type, message, traceback}`.

    *retry* says whether another attempt may follow while retries are left; *after_seconds* replaces the
    backoff's delay when it is not None.
    """

    error: dict[str, Any]
    retry: bool = True
    after_seconds: float | None = None
    http: dict[str, Any] | None = None


class Deferred(msgspec.Struct):
    """The attempt comes back after *after_seconds* and has counted nothing."""

    after_seconds: float
    reason: str = ""
    http: dict[str, Any] | None = None


class Cancelled(msgspec.Struct):
    """The attempt was told to stop and has stopped."""

    reason: str = ""


class Crashed(msgspec.Struct):
    """
    The process that ran the attempt died: no attempt is spent, but the task may outlive only `max_crashes` of these.

    Answered by the process pool alone, never by a handler or what stands around it.
    """

    reason: str


Outcome = Succeeded | Failed | Deferred | Cancelled | Crashed


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


def failed(type_: str, message: str, *, retry: bool, traceback: str | None = None) -> Failed:
    """A failure that is not an exception of the handler's."""
    return Failed({"type": type_, "message": message, "traceback": traceback}, retry)


def _text(raised: Exception, message: object) -> str:
    if not isinstance(message, str):
        name = type(raised).__name__
        raise TypeError(f"{name}({message!r}): needs a text first; say {name}(after=…) for seconds")
    return message


def _seconds(raised: Exception, after: float) -> float:
    if isinstance(after, bool) or not isinstance(after, int | float) or not math.isfinite(after) or after < 0:
        raise TypeError(f"{type(raised).__name__}(after={after!r}): needs a number of seconds, 0 or more")
    return float(after)
