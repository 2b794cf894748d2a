"""
How what a handler returns or raises becomes an outcome.

The one place where a result is encoded. What JSON lacks is written as users of the API know it: decimals as
text, bytes as `{base64, content_type}`, sets as lists; NaN and infinities as null.
"""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import msgspec
import orjson

from workers.capture import clip, error_of
from workers.handler import Handler
from workers.outcome import Defer, Deferred, Failed, Outcome, Retry, Succeeded, TimeLimitExceeded, failed


def succeeded(result: Any, max_result_bytes: int) -> Succeeded | Failed:
    """
    The outcome of a handler that returned *result*; a failure for good when that cannot be kept as JSON.
    """
    try:
        encoded = orjson.dumps(result, in_json)
    except TypeError:
        try:  # slower, so only for results that need it
            encoded = orjson.dumps(result, in_json, orjson.OPT_NON_STR_KEYS)
        except TypeError as exc:
            return failed("ResultNotSerializable", not_serializable(result, exc), retry=False)
    if len(encoded) > max_result_bytes:
        return failed(
            "ResultTooLarge",
            f"the result takes {len(encoded)} bytes as JSON, and TASKPOST_MAX_RESULT_BYTES allows "
            f"{max_result_bytes}: store it elsewhere and return where it is",
            retry=False,
        )
    return Succeeded(encoded)


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


def in_json(value: Any) -> Any:
    """*value*, which orjson does not know, in types that it does. Raises TypeError."""
    if isinstance(value, Decimal | PurePath):
        return str(value)
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": b64encode(value).decode(), "content_type": "application/octet-stream"}
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return dump(mode="json")  # a pydantic model
    raise TypeError(f"{type(value).__name__} has no form in JSON")


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
