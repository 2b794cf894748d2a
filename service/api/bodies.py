"""
Bodies: read up to a bound, and decoded into JSON that can be kept as it was given.

orjson refuses NaN, bad UTF-8 and infinite numbers by itself. Two things it does not refuse are found here: integers
beyond 64 bits, which it would silently round, and nesting deeper than the bound.
The fact to know: both are ruled out by a search over the bytes that costs next to nothing; only a suspicious body
is looked at closely.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.errors import InvalidRequest, MalformedJson, TooLarge, UnsupportedMediaType
from service.submission import escaped, shortened

JSON_TYPES = ("application/json", "text/json")
LINE_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
NINETEEN_DIGITS = b"0" * 19
LEAST, MOST = -(2**63), 2**64 - 1
TO_SQUARE = bytes.maketrans(b"{}", b"[]")
NOT_STRUCTURE = bytes(set(range(256)) - set(b'{}[]"'))


def check_media_type(headers: Mapping[bytes, bytes], is_lines: bool = False) -> None:
    """
    Raises UnsupportedMediaType unless the body is said to be JSON (or lines of it), or nothing is said.
    """
    if (coding := headers.get(b"content-encoding")) not in (None, b"identity"):
        raise UnsupportedMediaType(f"the body is encoded as {coding!r}; send it as it is")
    given = headers.get(b"content-type")
    if given == b"application/json" and not is_lines:
        return
    if given is None:
        # A page of any site can make a browser send this to a service on localhost, but not name a type that is JSON.
        if b"origin" in headers:
            raise UnsupportedMediaType(f'a browser needs to say what the body is: "Content-Type: {JSON_TYPES[0]}"')
        return
    kind = given.decode("latin-1").partition(";")[0].strip().lower()
    wanted = LINE_TYPES if is_lines else JSON_TYPES
    if kind not in wanted and (is_lines or not kind.endswith("+json")):
        raise UnsupportedMediaType(f'the body is {shortened(kind)}; send "Content-Type: {wanted[0]}"')


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], most_bytes: int, what: str) -> bytes:
    """
    The whole body.

    Raises:
        TooLarge: over *most_bytes*; with a Content-Length that says so, nothing was read.
        ClientDisconnect: nobody is there any more.
    """
    told = headers.get(b"content-length")
    if told is not None and len(told) < 20 and told.isdigit() and int(told) > most_bytes:
        raise too_large(most_bytes, what)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if not message.get("more_body"):
        if len(body) > most_bytes:
            raise too_large(most_bytes, what)
        return body
    parts, size = [body], len(body)
    while message.get("more_body") and size <= most_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > most_bytes:
        raise too_large(most_bytes, what)
    return b"".join(parts)


def too_large(most_bytes: int, what: str) -> TooLarge:
    return TooLarge(
        f"the {what} has over {most_bytes} bytes, the bound; split it, or pass a reference to where the content is kept"
    )


def parse(body: bytes | bytearray, most_levels: int) -> Any:
    """
    The JSON of *body*.

    Raises:
        MalformedJson: not JSON in UTF-8 with finite numbers; the text says where.
        InvalidRequest: deeper than *most_levels*, or an integer beyond 64 bits.
    """
    if body.count(b"[") + body.count(b"{") > most_levels and depth(body, most_levels) > most_levels:
        raise too_deep(most_levels)
    value = decode(body)
    if NINETEEN_DIGITS in body.translate(DIGITS_TO_ZERO):
        for pointer in oversized(body):
            raise oversized_at(pointer)
    return value


def decode(body: bytes | bytearray) -> Any:
    """Raises MalformedJson."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        detail = "the body is empty" if not body.strip() else str(exc)
        raise MalformedJson(detail) from exc


def too_deep(most_levels: int) -> InvalidRequest:
    return InvalidRequest(
        f"the body nests deeper than {most_levels} levels; flatten it, or pass a reference to where it is kept"
    )


def oversized_at(pointer: str) -> InvalidRequest:
    return InvalidRequest(
        "an integer does not fit in 64 bits; send it as a string",
        errors=[{"pointer": pointer, "detail": "needs to be from -2^63 to 2^64 - 1"}],
    )


def depth(body: bytes | bytearray, most_levels: int) -> int:
    """
    How deep valid JSON nests, counted no further than *most_levels* + 1.

    Strings are taken out, all brackets made alike; then each pass takes the innermost pairs away.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = body.translate(TO_SQUARE, NOT_STRUCTURE).replace(b'""', b"")
    if b'"' in brackets:
        brackets = b"".join(brackets.split(b'"')[::2])
    if b"[" * (most_levels + 1) in brackets:
        return most_levels + 1
    levels = 0
    while brackets and levels <= most_levels:
        peeled = brackets.replace(b"[]", b"")
        if len(peeled) == len(brackets):  # not JSON; whoever decodes it says so
            return 0
        brackets = peeled
        levels += 1
    return levels


def levels_of(value: Any) -> int:
    """How deep a decoded value nests."""
    levels, layer = 0, [value]
    while layer := [one for one in layer if isinstance(one, dict | list)]:
        levels += 1
        layer = [child for one in layer for child in (one.values() if isinstance(one, dict) else one)]
    return levels


class Oversized:
    """Stands for an integer that 64 bits cannot hold."""


def oversized(body: bytes | bytearray) -> Iterator[str]:
    """JSON Pointers to the integers beyond 64 bits. *body* is JSON of bounded depth."""

    def read_integer(text: str) -> Any:
        # Python itself refuses to read integers of thousands of digits.
        return 0 if len(text) <= 20 and LEAST <= int(text) <= MOST else Oversized()

    layer: list[tuple[str, Any]] = [("", json.loads(body, parse_int=read_integer))]
    while layer:
        place, value = layer.pop()
        if isinstance(value, Oversized):
            yield place
        elif isinstance(value, dict):
            layer += [(f"{place}/{escaped(name)}", child) for name, child in value.items()]
        elif isinstance(value, list):
            layer += [(f"{place}/{index}", child) for index, child in enumerate(value)]
