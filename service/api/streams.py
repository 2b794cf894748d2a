"""
`POST /v1/tasks/stream`: lines of submissions in, a receipt line out for each, for as long as the client likes.

Owns the pace: a group is what has arrived, at most 128 lines and 1 MiB; its receipts are taken by the client's
connection before more is read, so a slow reader holds back its own lines and nothing else.
The fact to know: a client that sends for ever and never reads comes to a stop, and is dropped after a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from service.api import bodies
from service.api.auth import Gate, scope_of
from service.api.callers import Caller
from service.api.intake import Intake
from service.api.intakes import Intakes
from service.api.lines import Lines
from service.api.problems import send_problem, unexpected
from service.api.protocol import ABORT
from service.api.submit import shown_receipt
from service.errors import Problem, TooManyRequests

log = logging.getLogger("taskpost.api")

MOST_LINES = 128
MOST_BYTES = 1 << 20
STALL_SECONDS = 60.0
MOST_PAUSE_SECONDS = 5  # a stream that is faster than its key's rate is held back so long, and then refused
LAST_SECONDS = 1.0
LINES = (b"content-type", b"application/x-ndjson")
START: Message = {"type": "http.response.start", "status": 200, "headers": [LINES, (b"x-accel-buffering", b"no")]}


class Stream:
    """The endpoint."""

    def __init__(self, intakes: Intakes, gate: Gate) -> None:
        self.intakes, self.gate, self.runtime = intakes, gate, intakes.runtime
        self.settings = self.runtime.settings
        self.scope = scope_of("/v1/tasks/stream", "POST")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = dict(scope["headers"])
            caller = await self.gate.admit(scope["headers"], headers, self.scope)
            send = self.gate.rates.announced(caller, scope, send)
            bodies.check_media_type(headers, is_lines=True)
            self.runtime.require_store()
        except Problem as problem:
            await send_problem(send, problem, scope)
            return
        try:
            await self.run(caller, headers, receive, send)
        except TimeoutError:
            log.warning("a client did not read the receipts of its stream; the connection is closed")
            # A mere close would wait for the client to read what was written.
            scope.get("extensions", {}).get(ABORT, nothing)()
        except Exception as exc:
            unexpected(exc, scope)
            raise  # the answer has begun: the server can only break the connection

    async def run(self, caller: Caller, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        """Receipts until the client has sent all, is gone, or this process stops."""
        lines, index = Lines(self.settings.max_line_bytes), 0
        reading: asyncio.Future[Any] = asyncio.ensure_future(receive())
        await asyncio.sleep(0)  # lets `receive` say 100 Continue, which must come before the answer
        await send(START)
        more = True
        try:
            while more:
                either: set[asyncio.Future[Any]] = {reading, self.runtime.stopped}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    break
                message = reading.result()
                if message["type"] == "http.disconnect":
                    return
                more = message.get("more_body", False)
                arrived = lines.feed(message.get("body", b""))
                if not more:
                    arrived += lines.end()
                for group in groups(arrived):
                    refusal = await self.refusal(caller, headers, len(group))
                    await self.answer(self.intakes[caller.namespace], send, index, group, refusal)
                    index += len(group)
                if more:
                    reading = asyncio.ensure_future(receive())
        finally:
            reading.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def refusal(self, caller: Caller, headers: dict[bytes, bytes], lines: int) -> Problem | None:
        """Why the next *lines* are not taken: the key was revoked meanwhile, or has used up its rate for a while."""
        while True:
            try:
                await self.gate.again(caller, headers)
                self.gate.rates.count(caller, lines - 1)
                return None
            except TooManyRequests as problem:
                seconds = int(problem.headers["Retry-After"])
                if seconds > MOST_PAUSE_SECONDS or self.runtime.stopped.done():
                    return problem
                await asyncio.wait({self.runtime.stopped}, timeout=seconds)
            except Problem as problem:
                return problem

    async def answer(
        self, intake: Intake, send: Send, index: int, group: list[bytes | None], refusal: Problem | None
    ) -> None:
        """Store a group, or do not because of *refusal*, and send its receipts."""
        submissions = [refusal or self.parse(line) for line in group]
        receipts = await intake.submit_all(await intake.prepare_all(submissions))
        text = b"".join([orjson.dumps(shown_receipt(index + n, one)) + b"\n" for n, one in enumerate(receipts)])
        await self.hand_over(send, text)

    async def hand_over(self, send: Send, text: bytes) -> None:
        """
        Wait until the client's connection takes *text*.

        Raises:
            TimeoutError: it did not for a minute, or for a second after this process was told to stop.
        """
        stopped = self.runtime.stopped
        async with asyncio.timeout(LAST_SECONDS if stopped.done() else STALL_SECONDS) as limit:

            def hurry(_: object) -> None:
                limit.reschedule(asyncio.get_running_loop().time() + LAST_SECONDS)

            stopped.add_done_callback(hurry)
            try:
                await send({"type": "http.response.body", "body": text, "more_body": True})
            finally:
                stopped.remove_done_callback(hurry)

    def parse(self, line: bytes | None) -> Any:
        """The submission of a line, or the Problem that it has."""
        if line is None:
            return bodies.too_large(self.settings.max_line_bytes, "line")
        try:
            return bodies.parse(line, self.settings.max_depth)
        except Problem as problem:
            return problem


def nothing() -> None:
    """What another server does to end a connection: it closes it by itself."""


def groups(lines: list[bytes | None]) -> Iterator[list[bytes | None]]:
    """*lines* in order, in groups of at most 128 and, but for a single longer one, 1 MiB."""
    group: list[bytes | None] = []
    size = 0
    for line in lines:
        length = len(line or b"")
        if group and (len(group) >= MOST_LINES or size + length > MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(line)
        size += length
    if group:
        yield group
