"""
A submission as a program gives it, made into the contract's JSON.

Pure. Refuses to judge: names, ranges and what goes together are for the API to check, which knows the handlers.
The one fact to know: what JSON would silently change, a NaN that becomes null, is refused here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson


def document(submission: Mapping[str, Any]) -> dict[str, Any]:
    """
    The contract's submission; what is None is left out.

    Raises:
        ValueError: a `run_at` or `expires_at` without a zone.
    """
    return {key: plain(key, value) for key, value in submission.items() if value is not None}


def plain(key: str, value: Any) -> Any:
    """One option as JSON has it."""
    match value:
        case timedelta() if key.endswith("_seconds"):
            return value.total_seconds()
        case datetime() if key in ("run_at", "expires_at"):
            return in_utc(key, value)
        case str() if key == "callback":
            return {"url": value}
        case str() if key == "flow":
            return {"key": value}
    if key == "backoff" and not isinstance(value, Mapping):
        return {"delays_seconds": [plain("delay_seconds", one) for one in value]}
    if key in ("unique", "debounce"):
        return {name: one.total_seconds() if isinstance(one, timedelta) else one for name, one in value.items()}
    if key == "tags" and not isinstance(value, list | str):
        return list(value)
    return value


def in_utc(key: str, moment: datetime) -> str:
    """A time as RFC 3339 has it. Raises ValueError when it has no zone."""
    if moment.tzinfo is None:
        raise ValueError(
            f"{key}={moment.isoformat()}: needs a zone, since a time without one means another moment "
            "elsewhere; say datetime(…, tzinfo=UTC) or value.astimezone()"
        )
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def encode(value: Any) -> bytes:
    """
    *value* as JSON. Dates, UUIDs, enums and dataclasses are written as strings and objects.

    Raises:
        TypeError: something in it has no JSON.
        ValueError: a NaN or an infinity in it.
    """
    try:
        body = orjson.dumps(value)
    except TypeError as exc:
        raise TypeError(f"the submission cannot be written as JSON: {exc}") from exc
    # orjson writes NaN as null, and looking for one costs more than encoding: only where a null was written.
    if b"null" in body:
        refuse_nan(value, "")
    return body


def refuse_nan(value: Any, pointer: str) -> None:
    """Raises ValueError, naming where, when *value* holds a number that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{pointer or 'the submission'} is {value}, which JSON does not have; send null or a string")
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    for key, part in parts:
        refuse_nan(part, f"{pointer}/{key}")
