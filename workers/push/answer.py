"""
What the answer of a URL means: the table of outcomes, and its body as a result or an error.

Pure. 2xx is success whatever else the answer says. `Taskpost-No-Retry: 1`, 3xx and most of 4xx are a
failure for good; 408, 425, 429 and 5xx may be tried again; 429 and 503 that say when are put off and count
nothing.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from http import HTTPStatus
from typing import Any

import httpx
import orjson

from workers.capture import MAX_MESSAGE_CHARS, MAX_TRACEBACK_CHARS, clip
from workers.outcome import Deferred, Failed, Outcome, Succeeded, failed
from workers.push.request import is_json
from workers.push.retry_after import retry_after_seconds

RETRIED = frozenset((408, 425, 429))
MAX_EXCERPT_CHARS = 1000
ZLIB_OR_GZIP = zlib.MAX_WBITS | 32  # zlib finds out which of the two
RAW_DEFLATE = -zlib.MAX_WBITS  # what some servers send as deflate


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as read: *body* is what came over the wire, cut where *is_whole* is False."""

    status: int
    headers: httpx.Headers
    body: bytes
    is_whole: bool
    place: str

    @property
    def content_type(self) -> str:
        return str(self.headers.get("content-type", ""))


def outcome_of(answer: Answer, max_result_bytes: int, now: datetime) -> Outcome:
    """The outcome of the attempt that got *answer* at *now*."""
    if 200 <= answer.status < 300:
        return succeeded(answer, max_result_bytes)
    http = {"status": answer.status}
    if answer.headers.get("taskpost-no-retry", "").strip() == "1":
        return Failed(error_of(answer), retry=False, http=http)
    if answer.status in (429, 503) and (header := answer.headers.get("retry-after")):
        after = retry_after_seconds(header, now)
        if after is not None:
            return Deferred(after, f"{answer.place} answered {titled(answer.status)}, Retry-After: {header}", http)
    return Failed(error_of(answer), retry=answer.status in RETRIED or answer.status >= 500, http=http)


def succeeded(answer: Answer, max_result_bytes: int) -> Succeeded | Failed:
    """The result of a 2xx answer: JSON as JSON, text as a string, other bytes as `{base64, content_type}`."""
    http = {"status": answer.status}
    result: bytes | None = None
    try:
        if answer.is_whole:
            result = result_json(answer, decoded(answer, max_result_bytes))
    except ValueError as exc:
        failure = failed("InvalidResponse", f"{answer.place}: {exc}", retry=False)
        failure.http = http
        return failure
    if result is None or len(result) > max_result_bytes:
        message = (
            f"the answer of {answer.place} takes more than the {max_result_bytes} bytes that "
            "TASKPOST_MAX_RESULT_BYTES allows: answer with less, such as where the rest is"
        )
        failure = failed("ResponseTooLarge", message, retry=False)
        failure.http = http
        return failure
    return Succeeded(result, http)


def result_json(answer: Answer, body: bytes | None) -> bytes | None:
    """*body* as the JSON of a result; None when it was too large to decode."""
    if body is None or not body:
        return None if body is None else b"null"
    if is_json(answer.content_type):
        try:
            return orjson.dumps(orjson.loads(body))
        except (ValueError, TypeError):  # it called itself JSON; what it did is done, so it is kept as text
            if (text := as_text(answer, body)) is not None:
                return text
    elif answer.content_type.lower().startswith("text/") and (text := as_text(answer, body)) is not None:
        return text
    kept = {"base64": b64encode(body).decode(), "content_type": answer.content_type or "application/octet-stream"}
    return orjson.dumps(kept)


def as_text(answer: Answer, body: bytes) -> bytes | None:
    """*body* as a JSON string, by its charset; None when it is no text of that charset."""
    try:
        return orjson.dumps(body.decode(charset_of(answer.content_type)))
    except (UnicodeError, LookupError, TypeError):
        return None


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type names, else UTF-8."""
    header = Message()
    header["content-type"] = content_type
    return header.get_content_charset("utf-8")


def decoded(answer: Answer, most_bytes: int) -> bytes | None:
    """
    The body without its Content-Encoding; None when it takes more than *most_bytes*, of which no more are
    made.

    Raises:
        ValueError: an encoding that is not read here, or a body that is not in it.
    """
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", "") or not answer.body:
        return answer.body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"its Content-Encoding is {encoding!r}; needs gzip, deflate or none, as Accept-Encoding asked")
    try:
        try:
            return _inflated(answer, ZLIB_OR_GZIP, most_bytes)
        except zlib.error:
            if encoding != "deflate":
                raise
            return _inflated(answer, RAW_DEFLATE, most_bytes)
    except zlib.error as exc:
        raise ValueError(f"its body is not {encoding}, as its Content-Encoding says ({exc})") from exc


def _inflated(answer: Answer, window_bits: int, most_bytes: int) -> bytes | None:
    inflating = zlib.decompressobj(window_bits)
    body = inflating.decompress(answer.body, most_bytes + 1)
    if len(body) > most_bytes:
        return None
    if answer.is_whole and not inflating.eof:
        raise zlib.error("it ends too early")
    return body


def error_of(answer: Answer) -> dict[str, Any]:
    """
    The error of an answer that is no success: its own, when its body is one in JSON, else an excerpt of it.
    """
    error: dict[str, Any] = {"type": f"HttpStatus{answer.status}", "message": "", "traceback": None}
    told = f"{answer.place} answered {titled(answer.status)}"
    if 300 <= answer.status < 400:
        where = clip(answer.headers.get("location", "nowhere"), MAX_EXCERPT_CHARS)
        error["message"] = f"{told}, a redirect to {where}: redirects are not followed; name the final URL"
        return error
    try:
        body = decoded(answer, MAX_TRACEBACK_CHARS) or b""
    except ValueError:
        body = b""
    own = own_error(answer, body)
    if own.get("message"):
        return error | own
    excerpt = clip(" ".join(body.decode("utf-8", "replace").split()), MAX_EXCERPT_CHARS)
    error["message"] = f"{told}: {excerpt}" if excerpt else told
    return error | own


def own_error(answer: Answer, body: bytes) -> dict[str, str]:
    """
    What a JSON body tells of its error: `{type | name, message, traceback | stack}`, or a problem of RFC
    9457.
    """
    if not is_json(answer.content_type):
        return {}
    try:
        told = orjson.loads(body)
    except ValueError:
        return {}
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        told = told["error"]
    if not isinstance(told, dict):
        return {}
    found = {
        "type": _first_text(told, ("type", "name"), 200),
        "message": _first_text(told, ("message", "detail", "title"), MAX_MESSAGE_CHARS),
        "traceback": _first_text(told, ("traceback", "stack"), MAX_TRACEBACK_CHARS),
    }
    return {name: text for name, text in found.items() if text and text != "about:blank"}


def titled(status: int) -> str:
    """*status* with its name where it has one."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _first_text(told: dict[str, Any], names: tuple[str, ...], most_chars: int) -> str | None:
    found = next((told[name] for name in names if isinstance(told.get(name), str) and told[name]), None)
    return None if found is None else clip(found, most_chars)
