"""
What the answer of a URL means: the table of outcomes, and its body as a result or an error.

Pure. 2xx is success, but for a 202 with `Taskpost-Async: 1`, which promises the end for later. `Taskpost-No-Retry: 1`,
3xx and most of 4xx are a failure for good; 408, 425, 429 and 5xx may be tried again, with `retry_4xx` all of 4xx but
410; 429 and 503 that say when are put off and count nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import orjson

from service.completion import heartbeat_seconds
from service.outcome import Accepted
from service.received import MAX_TRACEBACK_CHARS, clip, is_json, result_of, told_error
from service.redaction import shown_url
from workers.outcome import Deferred, Failed, Outcome, Succeeded, failed
from workers.push.retry_after import retry_after_seconds

RETRIED = frozenset((408, 425, 429))
GONE = 410
MAX_EXCERPT_CHARS = 1000
MAX_HEADER_CHARS = 100
ZLIB_OR_GZIP = zlib.MAX_WBITS | 32  # zlib finds out which of the two
RAW_DEFLATE = -zlib.MAX_WBITS  # what some servers send as deflate


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An answer as read: *headers* by their names in lower case; *body* is what came over the wire, cut where *is_whole*
    is False.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool
    place: str

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")


def outcome_of(answer: Answer, max_result_bytes: int, now: datetime, *, retry_4xx: bool = False) -> Outcome | Accepted:
    """The outcome of the attempt that got *answer* at *now*."""
    if answer.status == 202 and answer.headers.get("taskpost-async", "").strip() == "1":
        return Accepted(heartbeat_seconds(answer.headers.get("taskpost-heartbeat")))
    if 200 <= answer.status < 300:
        return succeeded(answer, max_result_bytes)
    http = {"status": answer.status}
    if answer.headers.get("taskpost-no-retry", "").strip() == "1":
        return Failed(error_of(answer), retry=False, http=http)
    if answer.status in (429, 503) and (header := answer.headers.get("retry-after")):
        after = retry_after_seconds(header, now)
        if after is not None:
            said = f"{titled(answer.status)}, Retry-After: {clip(header, MAX_HEADER_CHARS)}"
            return Deferred(after, f"{answer.place} answered {said}", http)
    return Failed(error_of(answer), retry=is_retried(answer.status, retry_4xx), http=http)


def is_retried(status: int, retry_4xx: bool) -> bool:
    """Whether another attempt may mend what *status* says. 410 is meant to be for ever."""
    return status in RETRIED or status >= 500 or (retry_4xx and status >= 400 and status != GONE)


def succeeded(answer: Answer, max_result_bytes: int) -> Succeeded | Failed:
    """The result of a 2xx answer: JSON as JSON, text as a string, other bytes as `{base64, content_type}`."""
    http = {"status": answer.status}
    result: bytes | None = None
    try:
        if answer.is_whole:
            body = decoded(answer, max_result_bytes)
            result = None if body is None else result_of(body, answer.content_type)
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
        where = clip(shown_url(answer.headers.get("location", "nowhere")), MAX_EXCERPT_CHARS)
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
    """What a JSON body tells of its error; nothing of any other."""
    try:
        return told_error(orjson.loads(body)) if is_json(answer.content_type) else {}
    except ValueError:
        return {}


def titled(status: int) -> str:
    """*status* with its name where it has one."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
