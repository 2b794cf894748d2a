"""
Events over a WebSocket (RFC 6455), at the paths of `events.py`: the same events as JSON messages, and a client that may
pause and choose its pace.

Owns who may open one: browsers ask nobody before they do, so a page of another origin is refused here unless it is
among `TASKPOST_CORS_ORIGINS`. The fact to know: what is refused is answered as a problem, before there is a WebSocket.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

import orjson
from starlette.routing import compile_path
from starlette.types import Message, Receive, Scope, Send

from service.api import read_tokens
from service.api.auth import Gate, scope_of
from service.api.callers import Caller
from service.api.cors import Origins
from service.api.events import leave_when
from service.api.feeds import Feed, feed_of_all, feed_of_one
from service.api.follower import Follower
from service.api.problems import MEDIA_TYPE, unexpected
from service.api.protocol import ABORT
from service.api.queries import check_query
from service.api.runtime import Runtime, task_id
from service.api.timing import ROUTE
from service.errors import Forbidden, InvalidRequest, NotFound, Problem
from service.live import Event

ALL, ONE = "/v1/events", read_tokens.EVENTS
PATTERNS = {path: compile_path(path)[0] for path in (ALL, ONE)}
ENDED, AWAY, POLICY, RESTART = 1000, 1001, 1008, 1012
CODES = {"stopping": RESTART, "too-slow": POLICY, "expired": POLICY}
LEAST_RATE, MOST_RATE = 0.1, 1000
NEEDS = 'needs {"pause": true}, {"pause": false}, {"rate": N} with N from 0.1 to 1000, or {"rate": null}'


class Sockets:
    """The endpoint."""

    def __init__(self, runtime: Runtime, gate: Gate, origins: Origins) -> None:
        self.runtime, self.gate, self.origins = runtime, gate, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            headers = dict(scope["headers"])
            caller, feed = await self.begin(scope, headers)
        except Problem as problem:
            await refuse(send, problem)
            return
        except Exception as exc:
            await refuse(send, unexpected(exc, {**scope, "method": "GET"}))
            return
        await send({"type": "websocket.accept"})
        if feed is None:
            await send(close(ENDED, "the task has ended, and its end was told"))
            return
        shutting = asyncio.create_task(leave_when(partial(self.gate.until_shut, caller, headers), feed.follower))
        try:
            await self.run(feed, scope, receive, send)
        finally:
            shutting.cancel()

    async def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[Caller, Feed | None]:
        """Who asks, and what is to be sent. Raises a Problem: it is refused."""
        path, named = path_of(scope["path"])
        scope[ROUTE] = path
        if not self.origins.may_connect(headers):
            raise Forbidden(
                f"pages of {headers[b'origin'].decode('latin-1')[:100]} may not open a WebSocket here; "
                "TASKPOST_CORS_ORIGINS lists those that may"
            )
        caller = await self.caller(scope, path, named, headers)
        query = check_query(scope, path, "GET")
        runtime, last_id = self.runtime.of(caller.namespace), query.get("cursor")
        if path == ALL:
            return caller, await feed_of_all(runtime, query, last_id)
        return caller, await feed_of_one(runtime, task_id(named["id"]), last_id, caller.expires_ms)

    async def caller(self, scope: Scope, path: str, named: dict[str, str], headers: dict[bytes, bytes]) -> Caller:
        raw = scope["headers"]
        if (token := read_tokens.token_in(scope["query_string"], path)) is None:
            return await self.gate.admit(raw, headers, scope_of(path, "GET"))
        self.gate.check_size(raw)
        return await read_tokens.reader(self.runtime, token, named["id"])

    async def run(self, feed: Feed, scope: Scope, receive: Receive, send: Send) -> None:
        follower = feed.follower
        follower.abort = scope.get("extensions", {}).get(ABORT)
        hearing = asyncio.create_task(hear(follower, receive))
        reason = ""
        try:
            await write(send, feed.first)
            async for events in feed.events:
                await write(send, events)
                if events and events[-1].kind == "closing":
                    reason = orjson.loads(events[-1].data)["reason"]
            if not hearing.done():
                await send(close(CODES.get(reason, ENDED), reason or "the task has ended"))
        finally:
            hearing.cancel()
            await feed.events.aclose()  # type: ignore[attr-defined]  # it is a generator
            with contextlib.suppress(asyncio.CancelledError):
                await hearing


def path_of(path: str) -> tuple[str, dict[str, str]]:
    """The path of the contract that *path* is, and what it names. Raises NotFound."""
    for known, pattern in PATTERNS.items():
        if found := pattern.match(path):
            return known, found.groupdict()
    raise NotFound(f"there is no WebSocket at {path[:100]}; there are some at {ALL} and {ONE}")


async def hear(follower: Follower, receive: Receive) -> None:
    """Do what the client says, until it is gone."""
    while (message := await receive())["type"] == "websocket.receive":
        try:
            obey(follower, message)
        except Problem as problem:
            follower.offer([Event("problem", orjson.dumps(problem.document()))])
    follower.leave("")


def obey(follower: Follower, message: Message) -> None:
    """Raises InvalidRequest."""
    try:
        wanted: Any = orjson.loads(message.get("text") or message.get("bytes") or b"")
    except ValueError as exc:
        raise InvalidRequest(f"the message is not JSON; it {NEEDS}") from exc
    if not isinstance(wanted, dict) or not wanted or wanted.keys() - {"pause", "rate"}:
        raise InvalidRequest(f"the message {NEEDS}")
    pause, rate = wanted.get("pause", False), wanted.get("rate")
    is_number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
    if not isinstance(pause, bool) or not (rate is None or (is_number and LEAST_RATE <= rate <= MOST_RATE)):
        raise InvalidRequest(f"the message {NEEDS}")
    if "pause" in wanted:
        follower.pause(pause)
    if "rate" in wanted:
        follower.set_rate(rate)
    settings = {"pause": follower.is_paused, "rate": follower.rate}
    follower.offer([Event("settings", orjson.dumps(settings), follower.cursor)])


async def write(send: Send, events: list[Event]) -> None:
    """A message each; wait until the client's connection takes them."""
    for event in events:
        await send({"type": "websocket.send", "text": event.message()})


def close(code: int, reason: str) -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason}


async def refuse(send: Send, problem: Problem) -> None:
    """Answer with *problem* instead of a WebSocket."""
    body = orjson.dumps(problem.document())
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in problem.headers.items()]
    headers += [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
