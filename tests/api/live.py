"""
One who follows events, as tests need it: Server-Sent Events over httpx, read one by one and never waited for in vain.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

DEADLINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as it arrived."""

    kind: str
    id: str
    data: Any

    @property
    def state(self) -> str:
        return str(self.data["state"])


class Reader:
    """The events of one answer. *raw* is every block as it came, comments included."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer, self.raw, self.last_id = answer, list[str](), ""
        self.blocks = self.read()

    async def read(self) -> AsyncIterator[str]:
        text = ""
        async for piece in self.answer.aiter_text():
            text += piece
            while "\n\n" in text:
                block, text = text.split("\n\n", 1)
                self.raw.append(block)
                yield block

    async def next(self) -> Seen:
        """The next event. Raises StopAsyncIteration at the end of the stream."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                block = await anext(self.blocks)
                found = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
                self.last_id = found.get("id", self.last_id)
                if "event" in found:
                    return Seen(found["event"], self.last_id, json.loads(found["data"]))

    async def take(self, many: int) -> list[Seen]:
        return [await self.next() for _ in range(many)]

    async def until(self, claim: Callable[[Seen], bool]) -> list[Seen]:
        """All events up to the first for which *claim* holds."""
        seen = [await self.next()]
        while not claim(seen[-1]):
            seen.append(await self.next())
        return seen

    async def rest(self) -> list[Seen]:
        """All events up to the end of the stream."""
        seen: list[Seen] = []
        while True:
            try:
                seen.append(await self.next())
            except StopAsyncIteration:
                return seen


@asynccontextmanager
async def following(
    http: httpx.AsyncClient, path: str = "/v1/events", last_id: str | None = None, **query: Any
) -> AsyncIterator[Reader]:
    """A stream that has begun: what happens from here on is in it."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with http.stream("GET", path, params=query, headers=headers) as answer:
        assert 200 == answer.status_code, await answer.aread()
        assert "text/event-stream" == answer.headers["content-type"]
        yield Reader(answer)


def told(events: list[Seen]) -> list[tuple[str, str]]:
    """(id of the task, its state) of those that tell of a state."""
    return [(event.data["id"], event.state) for event in events if event.kind == "task"]
