"""
How an attempt ends, as values: what pools, push and endpoints answer, and what is decided on.

Pure; nothing here runs or stores anything. *Succeeded*, *Failed* (counts against the retries), *Deferred* (counts
nothing), *Cancelled*, *Crashed* (counts as a crash), *Accepted* (it ends later, elsewhere).
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from service.plain import dump

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
    """
    The attempt comes back after *after_seconds* and has counted nothing. *kind* names why, where that may last for
    many attempts, of which the last is kept.
    """

    after_seconds: float
    reason: str = ""
    http: dict[str, Any] | None = None
    kind: str = ""


class PutOff(msgspec.Struct):
    """
    The attempt did not begin, for want of a place; the task comes back after *after_seconds* as if it had stood in its
    queue. Answered for URLs alone.
    """

    after_seconds: float


class Cancelled(msgspec.Struct):
    """The attempt was told to stop and has stopped."""

    reason: str = ""


class Accepted(msgspec.Struct):
    """
    The endpoint took the task over and finishes it later; it is to be heard from within *heartbeat_seconds*, each time.

    Answered by a call of a URL alone.
    """

    heartbeat_seconds: float


class Crashed(msgspec.Struct):
    """
    The process that ran the attempt died: no attempt is spent, but the task may outlive only `max_crashes` of these.

    Answered by the process pool alone, never by a handler or what stands around it.
    """

    reason: str


Outcome = Succeeded | Failed | Deferred | Cancelled | Crashed


def failed(type_: str, message: str, *, retry: bool, traceback: str | None = None) -> Failed:
    """A failure that is not an exception of the handler's."""
    return Failed({"type": type_, "message": message, "traceback": traceback}, retry)
