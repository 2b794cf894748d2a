"""
The request that a URL task makes: method, headers and body from the submission, and our own headers.

Pure. `webhook-id` and `webhook-timestamp` are those of Standard Webhooks 1.0: the id is the task's and the
same in each attempt, so that a receiver can tell a repetition.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import orjson

from service.received import is_json
from service.task import rfc3339

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")  # RFC 9110, 5.6.2
VALUE = re.compile(r"[\t -~]{0,8192}")
# They frame the message or belong to the connection; a submission that sets them could send two requests in one.
FRAMING = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
OURS = ("webhook-", "taskpost-")


class UnusableRequest(ValueError):
    """A submission from which no request can be made; another attempt would not help."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """
    What the headers tell of the attempt. Times are ms since the epoch; *most_attempts* is the last that may
    come.
    """

    task_id: str
    name: str | None
    attempt: int
    most_attempts: int
    sent_ms: int
    deadline_ms: int
    queue: str = ""
    traceparent: str | None = None
    completion_url: str | None = None


def request_headers(submission: Mapping[str, Any], delivery: Delivery) -> dict[str, str]:
    """
    All headers of the call: the submission's, and those that tell of the attempt.

    Raises:
        UnusableRequest: a header that HTTP cannot carry, or that is not the submission's to set.
    """
    headers: dict[str, str] = {}
    for name, value in (submission.get("headers") or {}).items():
        check_header(name, value)
        headers[name] = value
    given = {name.lower() for name in headers}
    if ("body" in submission or submission.get("envelope")) and "content-type" not in given:
        headers["Content-Type"] = "application/json"
    if "accept" not in given:
        headers["Accept"] = "application/json, */*;q=0.9"
    if "user-agent" not in given:
        headers["User-Agent"] = "Taskpost"
    if "accept-encoding" not in given:
        headers["Accept-Encoding"] = "identity"  # a small answer is read whole either way, and cannot be a bomb
    headers["webhook-id"] = submission.get("webhook_id", delivery.task_id)
    headers["webhook-timestamp"] = str(delivery.sent_ms // 1000)
    headers["Taskpost-Task"] = delivery.task_id
    if delivery.name:
        headers["Taskpost-Name"] = delivery.name
    headers["Taskpost-Attempt"] = str(delivery.attempt)
    headers["Taskpost-Max-Attempts"] = str(delivery.most_attempts)
    headers["Taskpost-Deadline"] = rfc3339(delivery.deadline_ms)
    if delivery.completion_url:
        headers["Taskpost-Completion-Url"] = delivery.completion_url
    if delivery.traceparent and "traceparent" not in given:
        headers["traceparent"] = delivery.traceparent
    return headers


def child_of(traceparent: str, span: bytes) -> str:
    """The W3C trace context of a call in the trace of *traceparent*: its own span, of 8 bytes."""
    version, trace, _, flags = traceparent.split("-")
    return f"{version}-{trace}-{span.hex()}-{flags}"


def enveloped(submission: Mapping[str, Any], delivery: Delivery) -> bytes:
    """The body within what is known of the task, for endpoints that would rather not read headers."""
    told = {
        "task": delivery.task_id,
        "attempt": delivery.attempt,
        "max_attempts": delivery.most_attempts,
        "deadline": rfc3339(delivery.deadline_ms),
        "queue": delivery.queue,
        "tags": submission.get("tags", []),
        "metadata": submission.get("metadata", {}),
        "completion_url": delivery.completion_url,
        "body": submission.get("body"),
    }
    return orjson.dumps(told)


def request_body(submission: Mapping[str, Any], delivery: Delivery) -> bytes | None:
    """
    The body as JSON, or a string as it stands when the submission names another Content-Type; text and bytes
    to be sent as they are, as they are; None without one. With `envelope` it is one field of an object that tells
    of the task.
    """
    if submission.get("envelope"):
        return enveloped(submission, delivery)
    if "body_text" in submission:
        return str(submission["body_text"]).encode()
    if "body_base64" in submission:
        return b64decode(submission["body_base64"])
    if "body" not in submission:
        return None
    body = submission["body"]
    if isinstance(body, str):
        headers = submission.get("headers") or {}
        given = next((value for name, value in headers.items() if name.lower() == "content-type"), "application/json")
        if not is_json(given):
            return body.encode()
    return orjson.dumps(body)


def check_header(name: str, value: Any) -> None:
    """Raises UnusableRequest when the submission's header *name* cannot be sent."""
    if not TOKEN.fullmatch(name):
        raise UnusableRequest(f"header {name!r}: needs the characters of an RFC 9110 token")
    if name.lower() in FRAMING or name.lower().startswith(OURS):
        raise UnusableRequest(f"header {name!r} is set by Taskpost: leave it out")
    if not isinstance(value, str) or not VALUE.fullmatch(value):
        raise UnusableRequest(f"the value of header {name!r}: needs up to 8192 characters of printable ASCII")


@lru_cache(1024)
def place_of(url: str) -> str:
    """*url* as errors name it: without user, password and query, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the URL"
    return f"{parts.scheme}://{host}{parts.path}"
