"""
An endpoint to try things against: answers what its query asks for, and tells what it was sent.

    /echo/anything?status=503&delay=2&fail=3&retry_after=30&async=1

Part of the API in development mode only, and what `taskpost listen` serves. Owns nothing: two requests know nothing of
each other, so that `fail` counts by the attempt that the request names.
"""

from __future__ import annotations

import asyncio
import logging
import re
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from service.api import bodies
from service.api.problems import send_body, send_problem
from service.completion import CHARACTERS, PATH
from service.errors import InvalidQuery, Problem
from service.submission import counted

log = logging.getLogger("taskpost.api")

PLACE = "/echo"
MOST_SECONDS = 300.0
NO_BODY = (204, 304)
COMPLETION_SECONDS = 10.0
COMPLETION_URL = re.compile(rf"https?://[!-~]+{PATH}[\w-]{{{CHARACTERS}}}", re.ASCII)
BOUNDS = {
    "status": (200, 599),
    "delay": (0, MOST_SECONDS),
    "fail": (0, 1000),
    "retry_after": (0, 86_400),
    "async": (0, 1),
}


@dataclass(slots=True)
class Heard:
    """A request as it came, and what it is answered."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: int = 200

    def shown(self) -> dict[str, Any]:
        """What the answer tells: the body as JSON where it is some, else as text."""
        try:
            body: Any = orjson.loads(self.body) if self.body else None
        except ValueError:
            body = self.body.decode("utf-8", "replace")
        return {"method": self.method, "path": self.path, "query": self.query, "headers": self.headers, "body": body}


class Echo:
    """
    The endpoint, as raw ASGI. *heard* is told of each request once its answer is known; *query* is asked for where a
    request asks for nothing else.
    """

    def __init__(self, most_bytes: int, heard: Callable[[Heard], None] = lambda _: None, query: str = "") -> None:
        self.most_bytes, self.heard = most_bytes, heard
        self.defaults = asked_of(query.encode())
        self.completing: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            asked = self.defaults | asked_of(scope["query_string"])
            raw = dict(scope["headers"])
            body = await bodies.read_body(receive, raw, self.most_bytes, "body")
        except Problem as problem:
            await send_problem(send, problem, scope)
            return
        except ClientDisconnect:
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        path = scope["raw_path"].decode("latin-1")  # as it came, not decoded
        heard = Heard(scope["method"], path, query, headers, body)
        answer = decided(heard, asked)
        self.heard(heard)
        if heard.status == 202 and asked.get("async"):
            self.complete_later(heard, asked.get("delay", 0))
        elif asked.get("delay"):
            await asyncio.sleep(asked["delay"])
        told = [(b"content-type", b"application/json"), *answer]
        await send_body(send, heard.status, told, b"" if heard.status in NO_BODY else orjson.dumps(said(heard)))

    def complete_later(self, heard: Heard, seconds: float) -> None:
        """Finish the attempt through its completion URL, as an endpoint that took it on would."""
        task = asyncio.get_running_loop().create_task(complete(heard, seconds))
        self.completing.add(task)
        task.add_done_callback(self.completing.discard)


def asked_of(query: bytes) -> dict[str, float]:
    """
    What the query asks for; other parameters are the sender's own.

    Raises:
        InvalidQuery: a value that cannot be.
    """
    asked: dict[str, float] = {}
    faults = []
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in BOUNDS:
            continue
        least, most = BOUNDS[name]
        try:
            asked[name] = float(text)
            if not least <= asked[name] <= most:
                raise ValueError(text)
        except ValueError:
            faults.append({"parameter": name, "detail": f"{text!r} needs to be a number from {least:g} to {most:g}"})
    if faults:
        raise InvalidQuery(counted(faults, "the query"), errors=faults)
    return asked


def decided(heard: Heard, asked: dict[str, float]) -> list[tuple[bytes, bytes]]:
    """Decide on the status of the answer, which is noted in *heard*; the header fields that go with it."""
    attempt = heard.headers.get("taskpost-attempt", "1")
    number = int(attempt) if re.fullmatch("[0-9]{1,9}", attempt) else 1
    again = [(b"retry-after", b"%d" % int(asked["retry_after"]))] if "retry_after" in asked else []
    if "fail" in asked and number <= asked["fail"]:
        heard.status = int(asked.get("status", 503 if again else 500))
        return again
    if asked.get("async"):
        heard.status = 202
        return [(b"taskpost-async", b"1")]
    if "fail" in asked:
        return []
    heard.status = int(asked.get("status", 503 if again else 200))
    return again


def said(heard: Heard) -> dict[str, Any]:
    """The body of the answer: the request, or an error that tells of it."""
    if heard.status < 400:
        return heard.shown()
    return {"type": "EchoFailure", "message": f"asked for {heard.status}", **heard.shown()}


def directly() -> urllib.request.OpenerDirector:
    """Opens http and https and nothing else: no file, no redirect, and no proxy of the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.HTTPHandler, urllib.request.HTTPSHandler, urllib.request.HTTPErrorProcessor,
                    urllib.request.HTTPDefaultErrorHandler):  # fmt: skip
        opener.add_handler(handler())
    return opener


async def complete(heard: Heard, seconds: float) -> None:
    """Report success to the completion URL of *heard*, after *seconds*."""
    url = heard.headers.get("taskpost-completion-url", "")
    if not COMPLETION_URL.fullmatch(url):  # or whoever sends a request here could have any other URL called
        return
    await asyncio.sleep(seconds)
    request = urllib.request.Request(  # noqa: S310 - only what looks as if Taskpost gave it
        f"{url}/complete",
        orjson.dumps({"result": heard.shown()["body"]}),
        {"Content-Type": "application/json"},
        method="POST",
    )
    try:
        await asyncio.to_thread(directly().open, request, None, COMPLETION_SECONDS)
    except OSError as exc:
        log.warning("echo: %s was not completed: %s", url, exc)
