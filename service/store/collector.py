"""
Group commit: what arrives while a call is in flight goes out together in the next one.

Never a timer: the first arrival on an idle system goes out at once. Knows neither Redis nor tasks;
it is given the call to make.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Given = TypeVar("Given")
Answer = TypeVar("Answer")


class Collector(Generic[Given, Answer]):
    """
    Collects single requests into calls of at most *most* of them and *most_bytes* bytes, one call in flight.

    *call* takes a list and answers a list of the same length; an exception it raises goes to all who wait.
    """

    def __init__(
        self, call: Callable[[list[Given]], Awaitable[list[Answer]]], *, most: int = 128, most_bytes: int = 1 << 20
    ) -> None:
        self.call, self.most, self.most_bytes = call, most, most_bytes
        self.waiting: deque[tuple[Given, int, asyncio.Future[Answer]]] = deque()
        self.sender: asyncio.Task[None] | None = None

    def put(self, given: Given, size: int) -> asyncio.Future[Answer]:
        """A future for the answer; when it is cancelled before *given* went out, *given* never does."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((given, size, future))
        if self.sender is None:
            self.sender = asyncio.create_task(self.send_all())
        return future

    async def send_all(self) -> None:
        """Send until nothing waits."""
        try:
            while self.waiting:
                taken = self.take()
                if taken:
                    await self.send(taken)
        finally:
            self.sender = None

    def take(self) -> list[tuple[Given, asyncio.Future[Answer]]]:
        """The next call's share of what waits, without what nobody waits for any more."""
        taken: list[tuple[Given, asyncio.Future[Answer]]] = []
        total = 0
        while self.waiting and len(taken) < self.most:
            given, size, future = self.waiting[0]
            if taken and total + size > self.most_bytes:
                break
            self.waiting.popleft()
            if not future.cancelled():
                taken.append((given, future))
                total += size
        return taken

    async def send(self, taken: list[tuple[Given, asyncio.Future[Answer]]]) -> None:
        """One call, and its answers to those who wait for them."""
        try:
            answers = await self.call([given for given, _ in taken])
        except BaseException as exc:
            for _, future in taken:
                if not future.done():
                    future.set_exception(exc)
                    future.exception()  # whoever waited may be gone; that is not worth a warning
            if not isinstance(exc, Exception):
                raise
            return
        for (_, future), answer in zip(taken, answers, strict=True):
            if not future.done():
                future.set_result(answer)
