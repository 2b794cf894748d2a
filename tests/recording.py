"""
What the API under test answers, by operation of the contract: each status must be documented there.

Sees what in-process APIs answer. That each status that is documented does come about is the business of
tests/contract/test_every_status.py.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.contract import operations

# Any operation may answer these: a method that is not there, a request that is too slow, a target or headers over the
# bound, a fault of ours.
EVERYWHERE = {405, 408, 414, 431, 500}


@cache
def patterns() -> list[tuple[re.Pattern[str], str]]:
    """Each path of the contract as a pattern, those without parameters first, as they are routed."""
    paths = sorted({path for path, _, _ in operations()}, key=lambda path: ("{" in path, -len(path)))
    return [(re.compile(re.sub(r"{(\w+)}", lambda name: ".+" if name[1] == "url" else "[^/]+", path)), path)
            for path in paths]  # fmt: skip


@cache
def documented() -> dict[tuple[str, str], frozenset[int]]:
    """The statuses of each operation."""
    return {
        (method, path): frozenset(int(status) for status in operation["responses"])
        for path, method, operation in operations()
    }


@cache
def path_of(place: str) -> str | None:
    """The path of the contract that *place* is of; None when there is none."""
    return next((path for pattern, path in patterns() if pattern.fullmatch(place)), None)


def fault_of(method: str, place: str, status: int) -> str | None:
    """What is wrong with an answer: the contract does not tell of its status."""
    path = path_of(place)
    if path is None or (method, path) not in documented():
        return None
    return None if status in documented()[method, path] | EVERYWHERE else f"{method} {path} answered {status}"


class Recorder:
    """An ASGI application that notes what *app* answers; *undocumented* says what it should not have."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.undocumented: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        extensions = scope.get("extensions") or {}
        if (answer := extensions.get("taskpost.answer")) is not None:
            extensions["taskpost.answer"] = lambda head, body: self.note(scope, int(head[9:12])) or answer(head, body)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.note(scope, message["status"])
            await send(message)

        await self.app(scope, receive, noting)

    def note(self, scope: Scope, status: int) -> None:
        if fault := fault_of(scope["method"], scope["path"], status):
            self.undocumented.append(fault)
