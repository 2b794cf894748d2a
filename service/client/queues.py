"""
Queues and routes, as the client says them and reads them; what is said, without a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict
from urllib.parse import quote, urlencode

import msgspec

from service.client.bulk import Bulk, BulkCount
from service.client.calls import JSON, Calls, Request, Steps, parsed
from service.client.schedule_calls import guarded
from service.client.submission import encode, plain
from service.client.types import View, view

PATH, ROUTES = "/v1/queues", "/v1/routes"


class QueueSettings(TypedDict, total=False):
    """What can be set for a queue; None takes it away. See the contract's `QueueSettings`."""

    description: str | None
    concurrency: int | None
    rate: float | None
    period_seconds: float | None
    burst: int | None
    max_length: int | None
    when_full: Literal["reject", "drop_oldest"] | None
    retries: int | None
    timeout_seconds: float | None
    soft_timeout_seconds: float | None
    retry_for_seconds: float | None
    backoff: Mapping[str, Any] | None
    result_ttl_seconds: float | None
    failure_ttl_seconds: float | None
    callback: Mapping[str, Any] | None


class Queue(View, frozen=True, kw_only=True):
    """
    A queue as it stood when it was read. *oldest_seconds* is None when nothing is queued; *version* goes with a change
    that is to be made only if nobody else has made one.
    """

    name: str
    queued: int = 0
    scheduled: int = 0
    running: int = 0
    oldest_seconds: float | None = None
    version: str = ""
    paused: bool = False
    paused_at: datetime | None = None
    paused_reason: str | None = None
    paused_by: str | None = None
    draining: bool = False
    draining_at: datetime | None = None
    draining_reason: str | None = None
    draining_by: str | None = None
    settings: dict[str, Any] = msgspec.field(default_factory=dict)


class QueueScale(View, frozen=True, kw_only=True):
    """How much work a queue has, and for how many workers: *desired*."""

    name: str
    queued: int
    running: int
    paused: bool
    desired: int
    oldest_seconds: float | None = None


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tasks that name no queue and whose handler or URL is *match* (`*`: any characters) go to *queue*."""

    match: str
    queue: str
    priority: int | None = None


class QueueCalls:
    """The operations on queues of one API. All may be repeated but what begins a purge."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def get(self, name: str) -> Steps[Queue]:
        return (yield from self._calls.read(Queue, Request("GET", queue_path(name))))

    def everything(self) -> Steps[list[Queue]]:
        return (yield from self._calls.everything(Queue, PATH))

    def change(self, name: str, settings: Mapping[str, Any], if_version: str | None) -> Steps[Queue]:
        """Of a change that was made, but whose answer was lost, a guarded repetition would say that another made it."""
        given = {word: None if one is None else plain(word, one) for word, one in settings.items()}
        request = Request("PATCH", queue_path(name), encode(given), JSON | guarded(if_version))
        return view(Queue, parsed((yield from self._calls.ask(request, is_repeatable=if_version is None))))

    def tell(self, name: str, what: str, told: Mapping[str, str | None]) -> Steps[Queue]:
        """Pause, drain or resume it."""
        said = {word: text for word, text in told.items() if text is not None}
        body, headers = (encode(said), JSON) if said else (None, {})
        return (yield from self._calls.read(Queue, Request("POST", f"{queue_path(name)}/{what}", body, headers)))

    def delete(self, name: str) -> Steps[None]:
        yield from self._calls.ask(Request("DELETE", queue_path(name)))

    def count_purge(self, name: str) -> Steps[BulkCount]:
        request = Request("POST", f"{queue_path(name)}/purge", encode({"dry_run": True}), JSON)
        return (yield from self._calls.read(BulkCount, request))

    def purge(self, name: str, rate_per_second: float | None) -> Steps[Bulk]:
        body = {} if rate_per_second is None else {"rate_per_second": rate_per_second}
        request = Request("POST", f"{queue_path(name)}/purge", encode(body), JSON)
        return view(Bulk, parsed((yield from self._calls.ask(request, is_repeatable=False))))

    def scale(self, name: str, bounds: Mapping[str, int | None]) -> Steps[QueueScale]:
        asked = urlencode({word: many for word, many in bounds.items() if many is not None})
        path = f"{queue_path(name)}/scale"
        return (yield from self._calls.read(QueueScale, Request("GET", f"{path}?{asked}" if asked else path)))

    def routes(self) -> Steps[list[Route]]:
        return routes_of(parsed((yield from self._calls.ask(Request("GET", ROUTES)))))

    def put_routes(self, routes: Sequence[Route]) -> Steps[list[Route]]:
        given = {"items": [msgspec.to_builtins(route) for route in routes]}
        request = Request("PUT", ROUTES, encode(given), JSON)
        return routes_of(parsed((yield from self._calls.ask(request))))


def queue_path(name: str) -> str:
    if not name:
        raise ValueError("the name of the queue is needed, not an empty text")
    return f"{PATH}/{quote(name, safe='')}"


def routes_of(answer: Any) -> list[Route]:
    return msgspec.convert(answer["items"], list[Route])
