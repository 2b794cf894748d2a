"""
The call that an attempt of a URL task made: what of it is kept, and how it reads.

Pure. Kept are the answer, the times, and the header fields that were sent; method, URL and body are in the submission,
which never changes. The fact to know: secrets are taken out before anything is kept (`redaction`), and sizes are
bounded here: no attempt keeps more than about 10 KiB of its call.
"""

from __future__ import annotations

import codecs
from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import orjson

from service.curl import curl_of
from service.ids import encode_id
from service.redaction import HIDDEN, Redaction, shown_url
from service.request import Delivery, UnusableRequest, request_body, request_headers
from service.task import Snapshot

MOST_BODY_BYTES = 2048
MOST_HEADERS_BYTES = 2048
MOST_VALUE_CHARS = 256
TIMES = ("dns_ms", "connect_ms", "tls_ms", "first_byte_ms", "body_ms", "total_ms")


def bounded(headers: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """(*headers* without what is too much of them, how many fields that is)."""
    kept: dict[str, str] = {}
    left_bytes = MOST_HEADERS_BYTES
    for name, value in headers.items():
        shown = value if len(value) <= MOST_VALUE_CHARS else f"{value[: MOST_VALUE_CHARS - 1]}…"
        left_bytes -= len(name.encode()) + len(shown.encode()) + 4
        if left_bytes < 0:
            break
        kept[name] = shown
    return kept, len(headers) - len(kept)


def excerpt(body: bytes, most_bytes: int = MOST_BODY_BYTES) -> dict[str, str]:
    """The beginning of *body*: `body_text` where it is UTF-8, else `body_base64`; nothing of none."""
    if not body:
        return {}
    start = body[:most_bytes]
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start, final=len(body) <= most_bytes)
        # Control characters take six bytes each in JSON.
        if "\0" not in text and len(orjson.dumps(text)) <= 2 * most_bytes:
            return {"body_text": text}
    except UnicodeDecodeError:
        pass
    return {"body_base64": b64encode(start).decode()}


class CallsOfTask:
    """The calls of one URL task's attempts, as they read. *options* are those in force."""

    def __init__(self, snapshot: Snapshot, options: Mapping[str, Any], redaction: Redaction) -> None:
        self.id, self.record, self.options, self.redaction = snapshot.id, snapshot.record, options, redaction
        self.submission = snapshot.record.submission

    def shown(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The contract's `HttpCall` of a row of attempts; None when it is not known to have made one."""
        http = row.get("http")
        if http is None or "url" not in self.submission:
            return None
        if "times" not in http and "total_ms" not in http:
            return {"status": http.get("status")}
        delivery = self.delivery(row)
        sent = http.get("sent")
        headers = self.headers_of(delivery) if sent is None else sent
        body = self.body_of(delivery)
        request = {
            "method": self.method,
            "url": shown_url(self.submission["url"]),
            "headers": headers,
            **excerpt(body),
            "body_bytes": len(body),
        }
        times = http.get("times") or [*[None] * 5, http.get("total_ms")]
        shown = {
            "status": http.get("status"),
            "address": http.get("address"),
            "reused": http.get("reused"),
            "times": dict(zip(TIMES, times, strict=True)),
            "request": with_left_out(request, http.get("sent_left_out")),
        }
        if "answer" in http:
            shown["response"] = http["answer"]
        shown["curl"] = curl_of(self.method, self.submission["url"], self.whole(headers), body, self.redaction)
        return shown

    @property
    def method(self) -> str:
        return str(self.submission.get("method", "POST"))

    def whole(self, headers: Mapping[str, str]) -> dict[str, str]:
        """*headers* with the submission's own as they are, which may be longer than what is kept."""
        given = self.submission.get("headers") or {}
        return {**headers, **{name: value for name, value in given.items() if not self.redaction.hides(name)}}

    def headers_of(self, delivery: Delivery) -> dict[str, str]:
        """The header fields of a call of which none were kept, as far as the submission tells them."""
        try:
            return bounded(self.redaction.headers(request_headers(self.submission, delivery)))[0]
        except UnusableRequest:
            return {}

    def body_of(self, delivery: Delivery) -> bytes:
        """The body of the call; an envelope is of its attempt."""
        if self.submission.get("envelope"):
            return request_body(self.submission, delivery) or b""
        return self._body

    @cached_property
    def _body(self) -> bytes:
        return request_body(self.submission, self.delivery({})) or b""

    def delivery(self, row: Mapping[str, Any]) -> Delivery:
        """What was told of the attempt, to the endpoint."""
        started_ms = row.get("started_ms", 0)
        return Delivery(
            task_id=encode_id(self.id),
            name=None,
            attempt=row.get("attempt", 0),
            most_attempts=self.options["retries"] + 1,
            sent_ms=started_ms,
            deadline_ms=started_ms + int(self.options["timeout_seconds"] * 1000),
            queue=self.record.queue,
            completion_url=HIDDEN,
        )


def with_left_out(shown: dict[str, Any], many: int | None) -> dict[str, Any]:
    """*shown* with how many header fields were left out, if any were."""
    return {**shown, "headers_left_out": many} if many else shown
