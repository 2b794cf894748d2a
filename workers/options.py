"""
The options of `@task`: which there are, what each may be, and what is said about a wrong one.

Pure. An option left out stays None here: the queue and the settings decide it later.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

from service import retry, sharing
from service.errors import InvalidHandler
from service.slow import Threshold, threshold

if TYPE_CHECKING:
    from workers.hooks import Hook, Policy
    from workers.recurring import Recurring

NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
NAME_RULE = "1 to 128 of A-Z a-z 0-9 . _ : -"
QUEUE = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUEUE_RULE = "1 to 64 of A-Z a-z 0-9 . _ -"
YEAR_SECONDS = 365 * 86_400
MAX_FACTOR = 100
MAX_DELAYS = 100
MAX_TIMEOUT_SECONDS = 7 * 86_400

# What people who come from elsewhere write, and what it is here: options of a handler, and of a submission.
FORMER = {
    "max_retries": "say retries",
    "time_limit": "say timeout",
    "soft_time_limit": "say soft_timeout",
    "autoretry_for": "say retry_on",
    "dont_autoretry_for": "say no_retry_on",
    "retry_backoff": "say backoff",
    "ignore_result": "say result_ttl=0",
    "acks_late": "it is always so; max_crashes=0 for work that must not run again",
    "base": "say policy",
    "bind": "annotate a parameter with Context",
    "countdown": "say delay",
    "eta": "say run_at",
    "link": "say callback",
    "routing_key": "say queue",
}
Exceptions = type[BaseException] | tuple[type[BaseException], ...]


class HandlerOptions(TypedDict, total=False):
    """What `@task` takes besides the name. Times are seconds, fractions allowed."""

    queue: str
    retries: int
    timeout: float
    soft_timeout: float
    retry_on: Exceptions
    no_retry_on: Exceptions
    backoff: Mapping[str, Any] | Sequence[float]
    max_crashes: int
    result_ttl: float
    slow_after: float | str
    flow: str | Mapping[str, Any]
    group: str
    unique: str | Mapping[str, Any]
    pool: Literal["async", "thread", "process"]
    policy: Policy
    on_success: Hook | Sequence[Hook]
    on_failure: Hook | Sequence[Hook]
    on_retry: Hook | Sequence[Hook]
    on_cancelled: Hook | Sequence[Hook]
    schedule: Recurring | Sequence[Recurring]


class Options(msgspec.Struct, frozen=True):
    """The options as checked; None where the declaration says nothing."""

    queue: str | None = None
    retries: int | None = None
    timeout: float | None = None
    soft_timeout: float | None = None
    retry_on: tuple[type[BaseException], ...] | None = None
    no_retry_on: tuple[type[BaseException], ...] = ()
    backoff: dict[str, Any] | None = None
    max_crashes: int | None = None
    result_ttl: float | None = None
    slow_after: Threshold | None = None
    flow: dict[str, Any] | None = None
    group: str | None = None
    unique: dict[str, Any] | None = None
    pool: str | None = None


def read_options(handler: str, given: Mapping[str, Any]) -> Options:
    """
    The options of *handler*, checked.

    Raises:
        InvalidHandler: every option that is unknown or cannot be used, with the nearest name or the need.
    """
    chosen: dict[str, Any] = {}
    faults: list[str] = []
    for name, value in given.items():
        if name not in HandlerOptions.__annotations__:
            faults.append(_unknown(name))
        elif value is not None:
            try:
                chosen[name] = _checked(name, value)
            except ValueError as exc:
                faults.append(f"{name}={value!r}: {exc}")
    soft, hard = chosen.get("soft_timeout"), chosen.get("timeout")
    if soft is not None and hard is not None and soft >= hard:
        faults.append(f"soft_timeout={soft:g}: needs less than timeout={hard:g}, or it would never be reached")
    if faults:
        raise InvalidHandler(f"handler {handler!r}: " + "; ".join(faults))
    return Options(**chosen)


def check_name(name: str) -> str:
    """*name*, if a handler may be called that. Raises InvalidHandler."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidHandler(f"handler name {name!r}: needs {NAME_RULE}")
    return name


def _unknown(name: str) -> str:
    elsewhere = {"name": "the name comes first: @task('…')"} | dict.fromkeys(
        ("priority", "countdown", "eta", "link"), "say it at submit, by options(…)"
    )
    return f"unknown option {name!r}: {elsewhere.get(name) or hint_for(name, HandlerOptions.__annotations__)}"


def hint_for(name: str, known: Collection[str]) -> str:
    """What somebody probably meant who wrote an option that is not among the *known* ones."""
    if name in FORMER:
        return FORMER[name]
    near = get_close_matches(name.removesuffix("_seconds"), known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def _checked(name: str, value: Any) -> Any:
    match name:
        case "queue":
            if not isinstance(value, str) or not QUEUE.fullmatch(value):
                raise ValueError(f"needs {QUEUE_RULE}")
            return value
        case "pool":
            if value not in ("async", "thread", "process"):
                raise ValueError("needs 'async', 'thread' or 'process'")
            return value
        case "retries":
            return _whole(value, 1000)
        case "max_crashes":
            return _whole(value, 100)
        case "timeout" | "soft_timeout":
            return _seconds(value, MAX_TIMEOUT_SECONDS, zero=False)
        case "result_ttl":
            return _seconds(value, YEAR_SECONDS, zero=True)
        case "slow_after":
            return threshold(value)
        case "backoff":
            return _backoff(value)
        case "flow" | "group" | "unique":
            return sharing.declared(name, value)
        case _:
            return _exceptions(value)


def _whole(value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"needs a whole number from 0 to {most}")
    return value


def _seconds(value: Any, most: float, *, zero: bool) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or value > most or (value == 0 and not zero):
        raise ValueError(f"needs a number of seconds, {'0 or more' if zero else 'more than 0'}, at most {most:g}")
    return float(value)


def _exceptions(value: Any) -> tuple[type[BaseException], ...]:
    classes = value if isinstance(value, tuple | list) else (value,)
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise ValueError(f"needs exception classes, such as (OSError,); {one!r} is none")
    return tuple(classes)


def _backoff(value: Any) -> dict[str, Any]:
    """*value* in the form of the contract."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = {"delays_seconds": list(value)}
    if not isinstance(value, Mapping):
        raise ValueError("needs a list of delays in seconds, or a dict such as {'kind': 'linear', 'base_seconds': 2}")
    if "delays_seconds" in value and len(value) > 1:
        raise ValueError("delays_seconds stands alone")
    return {key: _backoff_field(key, one) for key, one in value.items()}


def _backoff_field(key: Any, value: Any) -> Any:
    if key not in retry.FIELDS:
        near = get_close_matches(str(key), retry.FIELDS, 1) or get_close_matches(f"{key}_seconds", retry.FIELDS, 1)
        hint = f": did you mean {near[0]!r}?" if near else f"; there are {', '.join(retry.FIELDS)}"
        raise ValueError(f"{key!r} is unknown{hint}")
    if key == "delays_seconds":
        if not isinstance(value, Sequence) or not 1 <= len(value) <= MAX_DELAYS:
            raise ValueError(f"needs 1 to {MAX_DELAYS} delays")
        return [_seconds(one, YEAR_SECONDS, zero=True) for one in value]
    if key in ("kind", "jitter"):
        choices = retry.KINDS if key == "kind" else retry.JITTERS
        if value not in choices:
            raise ValueError(f"{key} needs one of {', '.join(choices)}")
        return value
    most = MAX_FACTOR if key == "factor" else YEAR_SECONDS
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{key} needs a number from 0 to {most}")
    return float(value)
