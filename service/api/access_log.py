"""
The access log (`TASKPOST_ACCESS_LOG`): a line for each request, once its answer has ended.

The fact to know: without the setting nothing of this stands in a request's way. What is secret never reaches a line: of
keys it has id and name, of queries what `shown_url` shows, of tokens and URLs in paths nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from time import perf_counter
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.audit import addresses_of
from service.api.auth import Gate
from service.api.callers import Caller
from service.api.protocol import ANSWER, Answer
from service.api.timing import ELSEWHERE, METHODS, ROUTE
from service.apikeys import id_in
from service.contract import contract
from service.redaction import HIDDEN, shown_url

log = logging.getLogger("taskpost.access")

PROBES = ("/livez", "/readyz")  # asked every few seconds; what is well is not worth a line
CLIENT_GONE = 499  # as others write it: no answer had begun when the client went away
MOST_CHARS = 500  # of a path, of a query; and of a header
SECRET_PATH = re.compile(r"(/completions/)[^/]+|(/send/).*", re.DOTALL)
HEADERS = {b"x-request-id": "request_id", b"traceparent": "traceparent", b"user-agent": "user_agent"}


class Seen:
    """Sends, and notes what came of one request. *caller* is None for who was not let in, *key_id* as they gave it."""

    __slots__ = ("began", "caller", "key_id", "send", "size", "status", "write")
    write: Answer

    def __init__(self, send: Send) -> None:
        self.send, self.status, self.size = send, CLIENT_GONE, 0
        self.caller: Caller | None = None
        self.key_id: str | None = None
        self.began = perf_counter()

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind.endswith("response.start"):
            self.status = message["status"]
        elif kind == "websocket.accept":
            self.status = 101
        self.size += len(message.get("body") or message.get("text") or b"")
        await self.send(message)

    def answer(self, head: bytes, body: bytes) -> bool:
        """As `protocol.write_answer`, in whose place it stands."""
        written = self.write(head, body)
        if written:
            self.status, self.size = int(head[9:12]), len(body)
        return written


SEEN: ContextVar[Seen] = ContextVar("SEEN")


class AccessLog:
    """Passes requests on to *app*, and logs what came of them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        log.setLevel(logging.INFO)  # it was asked for, from whatever level on the others log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen, extensions = Seen(send), scope.get("extensions") or {}
        if ANSWER in extensions:
            seen.write = extensions[ANSWER]
            extensions[ANSWER] = seen.answer
        SEEN.set(seen)
        try:
            await self.app(scope, receive, seen)
        finally:
            if scope["path"] not in PROBES or seen.status >= 400:
                tell(scope, seen)


class NotingGate(Gate):
    """A `Gate` that notes for the access log whom it knows, also where they may not do what they ask."""

    async def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        caller = await super().caller(headers)
        SEEN.get().caller = caller
        return caller

    async def holder(self, token: bytes) -> Caller:
        seen = SEEN.get()
        seen.key_id = id_in(token)
        seen.caller = await super().holder(token)
        return seen.caller


def tell(scope: Scope, seen: Seen) -> None:
    """Log a request that has ended."""
    fields = fields_of(scope, seen)
    who = fields["key_name"] or fields["key_id"] or "nobody known"
    log.info(
        "%s %s %d in %.1f ms, %d bytes, to %s by %s", fields["method"], fields["target"], seen.status,
        fields["duration_ms"], seen.size, fields["address"], who, extra=fields,
    )  # fmt: skip


def fields_of(scope: Scope, seen: Seen) -> dict[str, Any]:
    """What a line of JSON has besides; fields of headers only where they were sent."""
    method, route = scope.get("method", "GET"), scope.get(ROUTE) or ELSEWHERE
    given = dict(scope["headers"])
    return {
        "method": method if method in METHODS else ELSEWHERE,
        "route": route,
        "operation": operation_of(route, "GET" if method == "HEAD" else method),
        "target": target_of(scope["path"], scope["query_string"]),
        "status": seen.status,
        "duration_ms": round((perf_counter() - seen.began) * 1000, 3),
        "bytes": seen.size,
        "key_id": seen.caller.id if seen.caller else seen.key_id,
        "key_name": seen.caller.name if seen.caller else None,
        "namespace": seen.caller.namespace if seen.caller else None,
        **addresses_of(scope),
        **{field: given[name].decode("latin-1")[:MOST_CHARS] for name, field in HEADERS.items() if name in given},
    }


@cache
def operation_of(route: str, method: str) -> str | None:
    """Its name in the contract; None for what is none of its operations."""
    operation = contract()["paths"].get(route, {}).get(method.lower(), {})
    return operation.get("operationId") if isinstance(operation, dict) else None


def target_of(path: str, query: bytes) -> str:
    """Path and query on one line, without what is secret in them."""
    shown = SECRET_PATH.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}", path)
    target = quote(shown[:MOST_CHARS], safe="/:[]@,;+~")
    if not query or "/send/" in path:  # where it is the query of the URL, too
        return target
    return shown_url(f"{target}?{quote(query[:MOST_CHARS], safe='%&=+,:;/?@[]~*!()')}")
