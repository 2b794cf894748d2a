"""
Many tasks in few requests: windows of submissions, pages of a list.

Owns how submissions are cut into requests and their receipts counted, and how a list is walked. Sends nothing itself.
The fact to know: a window of a stream is one small request, not one endless one. A request that is answered while it
is still being sent deadlocks as soon as one side only writes, and many proxies hold it back until it is whole.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

from service.client.calls import Calls, Request, Steps, parsed
from service.client.errors import NoAnswer, api_error
from service.client.submission import encode
from service.client.types import Receipt, Task, View, view

V = TypeVar("V", bound=View)

MOST_TASKS = 1000
MOST_PAGE = 100
# 64 KiB fit into the buffers between two programs: neither side waits for the other to read.
MOST_BYTES = {"batch": 8 * 1024 * 1024, "stream": 64 * 1024}
MOST_AGE_SECONDS = 0.2  # what a slow producer has collected is sent with its next line


class Window:
    """
    Takes submissions and sends them many at a time: a `batch` as one JSON array, a `stream` as lines.

    With retries each has an idempotency key, so that a whole window may be repeated.
    """

    def __init__(self, calls: Calls, kind: Literal["batch", "stream"]) -> None:
        self._calls, self._kind = calls, kind
        self._bodies: list[bytes] = []
        self._bytes = 0
        self._first = 0
        self._opened = 0.0

    def add(self, submission: Mapping[str, Any]) -> Steps[list[Receipt]]:
        """Take one more; the receipts of those that had to be sent now, often none."""
        body = encode(self._calls.with_key(submission))
        sent: list[Receipt] = []
        if self._bodies and self._bytes + len(body) > MOST_BYTES[self._kind]:
            sent = yield from self.send()
        if not self._bodies:
            self._opened = time.monotonic()
        self._bodies.append(body)
        self._bytes += len(body) + 1
        is_old = self._kind == "stream" and time.monotonic() - self._opened > MOST_AGE_SECONDS
        if len(self._bodies) >= MOST_TASKS or is_old:
            sent += yield from self.send()
        return sent

    def send(self) -> Steps[list[Receipt]]:
        """Send what has been taken; its receipts, in the order given."""
        bodies, first = self._bodies, self._first
        self._bodies, self._bytes, self._first = [], 0, first + len(bodies)
        if not bodies:
            return []
        is_repeatable = self._calls.retries > 0
        answer = yield from self._calls.ask(self._request(bodies), is_repeatable=is_repeatable)
        if self._kind == "batch":
            return receipts(parsed(answer), first, len(bodies))
        return receipts([parsed(answer, line) for line in answer.body.splitlines()], first, len(bodies))

    def _request(self, bodies: list[bytes]) -> Request:
        if self._kind == "batch":
            content = b"[" + b",".join(bodies) + b"]"
            return Request("POST", "/v1/tasks/batch", content, {"content-type": "application/json"})
        headers = {"content-type": "application/x-ndjson", "accept": "application/x-ndjson"}
        return Request("POST", "/v1/tasks/stream", b"\n".join(bodies) + b"\n", headers)


class Listing(Generic[V]):
    """A walk over what matches *query* in the list at *path*, at most *limit* of it (None: all)."""

    def __init__(self, calls: Calls, kind: type[V], path: str, query: Mapping[str, Any], limit: int | None) -> None:
        self._calls, self._kind, self._path, self._query = calls, kind, path, query
        self._left = limit
        self._cursor: str | None = None
        self.is_over = limit is not None and limit <= 0

    def more(self) -> Steps[list[V]]:
        """What the next page holds; maybe nothing, and yet not over."""
        size = MOST_PAGE if self._left is None else min(self._left, MOST_PAGE)
        page = yield from self._calls.page(self._path, {**self._query, "limit": size, "cursor": self._cursor})
        found = [view(self._kind, one) for one in page.items[:size]]
        if self._left is not None:
            self._left -= len(found)
        self._cursor = page.next_cursor
        self.is_over = self._cursor is None or self._left == 0
        return found


def receipts(documents: Any, first: int, expected: int) -> list[Receipt]:
    """The receipts of one request, counted from *first*. Raises NoAnswer when some are missing."""
    if not isinstance(documents, list) or len(documents) != expected:
        count = len(documents) if isinstance(documents, list) else 0
        raise NoAnswer(
            f"{expected} submissions had {count} receipts; the others may be stored or not. "
            "Submit them again with the same idempotency keys"
        )
    return [receipt(one, first) for one in documents]


def receipt(document: dict[str, Any], first: int) -> Receipt:
    task, problem = document.get("task"), document.get("problem")
    return Receipt(
        raw=document,
        index=first + int(document.get("index", 0)),
        status=int(document.get("status", 0)),
        task=None if task is None else view(Task, task),
        problem=None if problem is None else api_error(problem),
    )
