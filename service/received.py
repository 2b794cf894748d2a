"""
What an endpoint says, read: a body as the result of its task, an object as the error of its attempt.

Pure, and bounded: the same whether it came as the answer of a call or later, through the completion URL.
"""

from __future__ import annotations

from base64 import b64encode
from email.message import Message
from typing import Any

import orjson

MAX_MESSAGE_CHARS = 4 * 1024
MAX_TRACEBACK_CHARS = 16 * 1024
MAX_TYPE_CHARS = 200


def result_of(body: bytes, content_type: str) -> bytes:
    """*body* as the JSON of a result: JSON as JSON, text as a string, other bytes as `{base64, content_type}`."""
    if not body:
        return b"null"
    if is_json(content_type):
        try:
            return orjson.dumps(orjson.loads(body))
        except (ValueError, TypeError):  # it called itself JSON; what it did is done, so it is kept as text
            if (text := as_text(body, content_type)) is not None:
                return text
    elif content_type.lower().startswith("text/") and (text := as_text(body, content_type)) is not None:
        return text
    return orjson.dumps({
        "base64": b64encode(body).decode(),
        "content_type": content_type or "application/octet-stream",
    })  # fmt: skip


def as_text(body: bytes, content_type: str) -> bytes | None:
    """*body* as a JSON string, by its charset; None when it is no text of that charset."""
    try:
        return orjson.dumps(body.decode(charset_of(content_type)))
    except (UnicodeError, LookupError, TypeError):
        return None


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type names, else UTF-8."""
    header = Message()
    header["content-type"] = content_type
    return header.get_content_charset("utf-8")


def is_json(content_type: str) -> bool:
    """Whether a Content-Type means JSON: `application/json`, `application/problem+json` and the like."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def told_error(told: Any) -> dict[str, str]:
    """
    What decoded JSON tells of an error: `{type | name, message, traceback | stack}`, the same under `error`, or a
    problem of RFC 9457; with what it does not tell left out.
    """
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        told = told["error"]
    if not isinstance(told, dict):
        return {}
    found = {
        "type": first_text(told, ("type", "name"), MAX_TYPE_CHARS),
        "message": first_text(told, ("message", "detail", "title"), MAX_MESSAGE_CHARS),
        "traceback": first_text(told, ("traceback", "stack"), MAX_TRACEBACK_CHARS),
    }
    return {name: text for name, text in found.items() if text and text != "about:blank"}


def first_text(told: dict[str, Any], names: tuple[str, ...], most_chars: int) -> str | None:
    """The first of *names* under which there is some text."""
    found = next((told[name] for name in names if isinstance(told.get(name), str) and told[name]), None)
    return None if found is None else clip(found, most_chars)


def clip(text: str, most: int) -> str:
    """*text* in at most *most* characters, the middle left out, without what UTF-8 cannot hold."""
    if len(text) > most:
        gap = "\n… left out …\n"
        head = most // 4
        text = text[:head] + gap + text[len(text) - (most - head - len(gap)) :]
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:most]
