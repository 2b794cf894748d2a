"""
What people type on the command line, made into values: durations, times, `key=value`, JSON.

Pure but for `@file` and `-`, which are read here. Refuses with `argparse.ArgumentTypeError`, whose text is shown
as it is: what was given, and what is needed.
"""

from __future__ import annotations

import math
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w))")
DURATION_RULE = "seconds or a sum such as 90s, 250ms, 2h, 1h30m, 7d"
CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def duration(text: str) -> float:
    """Seconds: `90`, `0.5`, `90s`, `1h30m`, `7d`."""
    given = text.strip().lower()
    parts = DURATION.findall(given)
    if parts and not DURATION.sub("", given).strip():
        return math.fsum(float(number) * UNITS[unit] for number, unit in parts)
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise ArgumentTypeError(f"{text!r} is no duration: needs {DURATION_RULE}")
    return seconds


def moment(text: str, now: datetime | None = None) -> datetime:
    """
    A time with a zone: RFC 3339 as it says; without a zone, the zone of this machine. `18:30` is the next one.
    """
    now = now or datetime.now(UTC).astimezone()
    try:
        if CLOCK.fullmatch(text):
            hours, minutes, seconds = [*(int(part) for part in text.split(":")), 0][:3]
            wall = now.replace(tzinfo=None, hour=hours, minute=minutes, second=seconds, microsecond=0)
            at = wall.astimezone()
            return at if at > now else (wall + timedelta(days=1)).astimezone()
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no time: needs one such as 2026-12-01T08:00:00+01:00, '2026-12-01 08:00' or 18:30"
        ) from None


def value(text: str) -> Any:
    """*text* as JSON when it is JSON, else as the string that it is: `2`, `true`, `[1]`, `ada`, `"2"`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def content(text: str) -> str:
    """*text* itself, the file behind `@path`, or standard input for `-`."""
    try:
        if text == "-":
            return sys.stdin.read()
        return Path(text[1:]).read_text() if text.startswith("@") else text
    except (OSError, UnicodeDecodeError) as exc:
        raise ArgumentTypeError(f"{text!r} cannot be read: {exc}") from exc


def body(text: str) -> Any:
    """A value, given directly, as `@file` or on standard input (`-`)."""
    return value(content(text))


def mapping(text: str) -> dict[str, Any]:
    """A JSON object, given directly, as `@file` or on standard input (`-`)."""
    given = content(text)
    try:
        found = orjson.loads(given)
    except orjson.JSONDecodeError as exc:
        raise ArgumentTypeError(f"{given!r} is not JSON ({exc}): needs an object such as '{{\"a\": 2}}'") from exc
    if not isinstance(found, dict):
        raise ArgumentTypeError(f"{given!r} is no JSON object: needs one such as '{{\"a\": 2}}'")
    return found


def pair(text: str) -> tuple[str, Any]:
    """`key=value`."""
    key, equals, rest = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"{text!r} is no argument: needs key=value, such as a=2")
    return key, value(rest)


def properties(text: str) -> dict[str, Any]:
    """One `key=value`, or a JSON object."""
    return mapping(text) if text.startswith(("{", "@")) or text == "-" else dict([pair(text)])


def header(text: str) -> tuple[str, str]:
    """`Name: value`."""
    name, colon, rest = text.partition(":")
    if not colon or not name.strip():
        raise ArgumentTypeError(f"{text!r} is no header: needs 'Name: value'")
    return name.strip(), rest.strip()


def backoff(text: str) -> Any:
    """Delays (`1,5,30` or `10s,5m`), a kind (`exponential`), or the contract's JSON object."""
    if text.startswith(("{", "[")):
        return value(text)
    if text.isalpha():
        return {"kind": text}
    return [duration(one) for one in text.split(",")]


def states(text: str) -> list[str]:
    """Words by comma."""
    return [one.strip() for one in text.split(",") if one.strip()]


def spelled_out(arguments: Sequence[str], option: str, meaning: str) -> list[str]:
    """
    *arguments* with a bare *option* written as `option=meaning`, so that it may stand before anything.

    Without this `--wait demo.add` would take the handler's name for a duration.
    """
    spelled: list[str] = []
    for index, one in enumerate(arguments):
        if one == "--":
            return [*spelled, *arguments[index:]]
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        is_bare = one == option and not re.fullmatch(r"\d[\d.]*([a-z]+[\d.a-z]*)?", following)
        spelled.append(f"{option}={meaning}" if is_bare else one)
    return spelled
