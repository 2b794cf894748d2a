"""
Server-Sent Events: `GET /v1/events` and `GET /v1/tasks/{id}/events`.

The fact to know: the server does not tell a stream that it stops, nor a stream that its client is gone; both come to
the follower, which leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from service.api.feeds import Feed, feed_of_all, feed_of_one
from service.api.follower import Follower
from service.api.protocol import ABORT
from service.api.runtime import Asked, task_id
from service.api.waits import until_gone
from service.live import Event

RETRY_MS = 1000  # after a break a browser comes again
MOST_EVENTS = 100  # a write
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
START: Message = {"type": "http.response.start", "status": 200, "headers": HEADERS}


async def stream_events(asked: Asked) -> Response:
    """`GET /v1/events`"""
    if asked.method == "HEAD":
        return EventStream(None)
    return EventStream(await feed_of_all(asked.runtime, asked.query, last_id(asked)))


async def stream_task_events(asked: Asked) -> Response:
    """`GET /v1/tasks/{id}/events`"""
    if asked.method == "HEAD":
        await asked.runtime.task(asked.path["id"])
        return EventStream(None)
    feed = await feed_of_one(asked.runtime, task_id(asked.path["id"]), last_id(asked), asked.caller.expires_ms)
    return Response(status_code=204) if feed is None else EventStream(feed)


def last_id(asked: Asked) -> str | None:
    """The id of the last event that the client got."""
    return asked.headers.get(b"last-event-id", b"").decode("latin-1") or asked.query.get("cursor")


class EventStream(Response):
    """The events of a feed as long as it goes on; without one the head alone."""

    def __init__(self, feed: Feed | None) -> None:
        super().__init__()
        self.feed = feed
        self.until_shut: Callable[[], Awaitable[None]] | None = None  # returns when the client's key has ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(dict(START))
        if self.feed is not None:
            await self.run(self.feed, scope, receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def run(self, feed: Feed, scope: Scope, receive: Receive, send: Send) -> None:
        follower = feed.follower
        follower.abort = scope.get("extensions", {}).get(ABORT)
        leaving = asyncio.create_task(until_gone(receive))
        leaving.add_done_callback(lambda _: follower.leave(""))
        shutting = asyncio.create_task(leave_when(self.until_shut, follower))
        try:
            await write(send, b"retry: %d\n" % RETRY_MS, feed.first)
            async for events in feed.events:
                await write(send, b"", events)
        finally:
            leaving.cancel()
            shutting.cancel()
            await feed.events.aclose()  # type: ignore[attr-defined]  # it is a generator
            with contextlib.suppress(asyncio.CancelledError):
                await leaving


async def leave_when(until_shut: Callable[[], Awaitable[None]] | None, follower: Follower) -> None:
    """Let *follower* go once *until_shut* returns."""
    if until_shut is not None:
        await until_shut()
        follower.leave("expired")


async def write(send: Send, start: bytes, events: list[Event]) -> None:
    """Wait until the client's connection takes *events*."""
    for at in range(0, len(events), MOST_EVENTS):
        body = b"".join([event.text() for event in events[at : at + MOST_EVENTS]])
        await send({"type": "http.response.body", "body": start + body, "more_body": True})
        start = b""
