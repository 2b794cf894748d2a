"""
Python's values as JSON: results and checkpoints on their way out, arguments on theirs in.

Results are written as users of the API know them: decimals as text, bytes as `{base64, content_type}`, sets as lists,
NaN and infinities as null. Arguments are written so that a handler's annotations read them back: bytes as base64.
The fact to know: there is no pickle here or anywhere else; what JSON cannot say is refused.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import msgspec
import orjson

MOST_CHECKPOINT_BYTES = 256 * 1024


def dump(result: Any) -> bytes:
    """*result* as JSON. Raises TypeError for what has no form in it."""
    try:
        return orjson.dumps(result, in_json)
    except TypeError:  # slower, so only for results that need it
        return orjson.dumps(result, in_json, orjson.OPT_NON_STR_KEYS)


def checkpoint(value: Any) -> bytes:
    """
    *value*, a checkpoint, as JSON.

    Raises:
        TypeError: it has no form in JSON.
        ValueError: it takes more than 256 KiB.
    """
    try:
        text = dump(value)
    except TypeError as exc:
        raise TypeError(
            f"the checkpoint, {type(value).__name__}, cannot be kept as JSON ({exc.__cause__ or exc}): give None, "
            "numbers, text, lists, dicts, dates, UUIDs, decimals, enums, dataclasses or msgspec structs"
        ) from exc
    if len(text) > MOST_CHECKPOINT_BYTES:
        raise ValueError(
            f"the checkpoint takes {len(text):,} bytes as JSON, and {MOST_CHECKPOINT_BYTES:,} are allowed: store what "
            "is large elsewhere, and keep where it is"
        )
    return text


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


def argument(value: Any) -> Any:
    """
    *value*, an argument of a handler, in the types of JSON.

    Raises:
        TypeError: it has no form in JSON.
    """
    return msgspec.to_builtins(value, str_keys=True, enc_hook=foreign)


def arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """All of *values*. Raises TypeError, naming the argument."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        try:
            plain[name] = argument(value)
        except TypeError as exc:
            raise TypeError(f"argument {name!r} cannot be written as JSON: {exc}") from exc
    return plain


def foreign(value: Any) -> Any:
    """*value* of a type that msgspec does not know. Raises TypeError."""
    if isinstance(value, PurePath):
        return str(value)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return dump(mode="json")  # a pydantic model
    raise TypeError(f"{type(value).__name__} has no form in JSON")
