"""
What a setting is made of: a field with its description, a value read from text, and checks of it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

from service.errors import InvalidSetting
from service.slow import threshold

PREFIX = "TASKPOST_"


def setting(
    default: Any, about: str, least: float | None = None, most: float | None = None, is_secret: bool = False
) -> Any:
    """A field with its description and the range it may have; a secret is not in the struct's repr."""
    return field(default=default, repr=not is_secret, metadata={"about": about, "least": least, "most": most})


def read_value(variable: str, text: str, wanted: type) -> Any:
    """*text* as bool, int, float or str. Raises InvalidSetting."""
    try:
        if wanted is bool:
            return {"1": True, "true": True, "yes": True, "on": True,
                    "0": False, "false": False, "no": False, "off": False}[text.lower()]  # fmt: skip
        return wanted(text)
    except (KeyError, ValueError) as exc:
        needs = {bool: "1 or 0", int: "a whole number", float: "a number"}[wanted]
        raise InvalidSetting(f"{variable}={text}: needs {needs}") from exc


def check_range(name: str, value: Any, least: float | None, most: float | None) -> None:
    """Raises InvalidSetting when *value* lies outside *least* … *most*."""
    if least is not None and value < least:
        raise InvalidSetting(f"{PREFIX}{name.upper()}={value}: needs at least {least:g}")
    if most is not None and value > most:
        raise InvalidSetting(f"{PREFIX}{name.upper()}={value}: needs at most {most:g}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises InvalidSetting when *value* is none of *choices*."""
    if value not in choices:
        needed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise InvalidSetting(f"{PREFIX}{name.upper()}={value}: needs {needed}")


def check_threshold(text: str) -> None:
    """Raises InvalidSetting for what says not from when on an attempt is slow."""
    try:
        threshold(text)
    except ValueError as exc:
        raise InvalidSetting(f"TASKPOST_SLOW_AFTER={text}: {exc}") from exc


def check_origins(text: str) -> None:
    """Raises InvalidSetting for what no browser calls an origin."""
    for one in filter(None, map(str.strip, text.split(","))):
        parts = urlsplit(one)
        is_origin = parts.scheme in ("http", "https") and parts.netloc and one == f"{parts.scheme}://{parts.netloc}".lower()
        if one != "*" and not is_origin:
            raise InvalidSetting(
                f"TASKPOST_CORS_ORIGINS={one}: needs https://host or http://host:port, in lower case, without "
                "a path, or *"
            )
