"""
How long answers take, by route: noted for the metrics of this process.

The fact to know: what is measured ends with the head of the answer, so that a stream counts by how soon it began.
"""

from __future__ import annotations

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.protocol import ANSWER, Answer
from service.api.runtime import Runtime

ROUTE = "taskpost.route"  # in the scope: the path of the contract that was asked for; missing or empty elsewhere
ELSEWHERE = "other"
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Timing:
    """Passes requests on, and notes what came of them by bounded labels: paths of the contract, classes of statuses."""

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self.app, self.runtime = app, runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timed, extensions = Timed(send), scope.get("extensions") or {}
        if ANSWER in extensions:
            timed.write = extensions[ANSWER]
            extensions[ANSWER] = timed.answer
        try:
            await self.app(scope, receive, timed)
        finally:
            if timed.status:
                method = scope["method"] if scope["method"] in METHODS else ELSEWHERE
                route = scope.get(ROUTE) or ELSEWHERE
                self.runtime.store.meters.meter.observe(
                    "taskpost_request_seconds", method, route, f"{timed.status // 100}xx", value=timed.seconds
                )


class Timed:
    """Sends, and notes when an answer's head was sent, and its status."""

    __slots__ = ("began", "seconds", "send", "status", "write")
    write: Answer

    def __init__(self, send: Send) -> None:
        self.send, self.status, self.seconds = send, 0, 0.0
        self.began = perf_counter()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.seconds = message["status"], perf_counter() - self.began
        await self.send(message)

    def answer(self, head: bytes, body: bytes) -> bool:
        """As `protocol.write_answer`, in whose place it stands."""
        written = self.write(head, body)
        if written:
            self.status, self.seconds = int(head[9:12]), perf_counter() - self.began
        return written
