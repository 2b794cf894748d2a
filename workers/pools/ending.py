"""
How what a handler returns or raises becomes an outcome.

The one place where a result becomes an outcome; `plain.py` says how Python's types are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.plain import dump
from service.received import clip
from workers.capture import error_of
from workers.outcome import Defer, Deferred, Failed, Outcome, Retry, Succeeded, TimeLimitExceeded, failed

if TYPE_CHECKING:
    from workers.handler import Handler


def succeeded(result: Any, max_result_bytes: int) -> Succeeded | Failed:
    """
    The outcome of a handler that returned *result*; a failure for good when that cannot be kept as JSON.
    """
    try:
        encoded = dump(result)
    except TypeError as exc:
        return failed("ResultNotSerializable", not_serializable(result, exc), retry=False)
    if len(encoded) > max_result_bytes:
        return too_large(len(encoded), max_result_bytes)
    return Succeeded(encoded)


def too_large(size: int, max_result_bytes: int) -> Failed:
    """The outcome of a handler whose result has *size* bytes as JSON."""
    return failed(
        "ResultTooLarge",
        f"the result takes {size} bytes as JSON, and TASKPOST_MAX_RESULT_BYTES allows "
        f"{max_result_bytes}: store it elsewhere and return where it is",
        retry=False,
    )


def raised(handler: Handler[..., Any], exc: BaseException) -> Failed | Deferred:
    """The outcome of a handler that raised *exc*."""
    if isinstance(exc, Defer):
        return Deferred(exc.after_seconds, exc.message)
    after = exc.after_seconds if isinstance(exc, Retry) else None
    return Failed(error_of(exc), handler.is_retryable(exc), after)


def out_of_time(handler: Handler[..., Any], timeout: float, stack: str | None, note: str = "") -> Outcome:
    """The outcome of a handler that the hard limit of *timeout* seconds ended; *stack* is where it was."""
    message = f"the attempt took longer than its time limit of {timeout:g} s{note}"
    retry = handler.is_retryable(TimeLimitExceeded())
    return failed(TimeLimitExceeded.__name__, message, retry=retry, traceback=stack)


def not_serializable(result: Any, exc: BaseException) -> str:
    """Why *result* cannot be kept, and what to return instead."""
    cause: BaseException = exc
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return clip(
        f"the result, {type(result).__name__}, cannot be kept as JSON ({cause}): return None, numbers, text, "
        "lists, dicts, dates, UUIDs, decimals, enums, dataclasses or msgspec structs",
        2000,
    )
